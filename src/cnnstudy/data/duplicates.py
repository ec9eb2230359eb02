"""Detection of copies: the same image re-saved, resized or lightly retouched.

A perceptual hash (64 bits: the signs of the lowest 8 x 8 terms of the cosine transform of a grey thumbnail) finds
candidates, and pixels confirm them, so that images that merely look alike, such as centred portraits, don't chain into
one family. Copies that are rotated, mirrored or cropped are not found.
"""

from collections.abc import Iterator
from typing import Protocol

import cv2
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Candidates agree on one of four bands of 16 bits, and differ in at most 8 of the 64.
BANDS, LARGEST_DISTANCE = 4, 8
# An image is compared with at most this many following images of its bucket, sorted by hash.
WINDOW = 300
# Mean difference in grey levels between 32 x 32 thumbnails of equal contrast: copies of fair quality differ by 1 to 5,
# different images by 7 or more. Copies at half the size or quality 30 differ by up to 9, and some of them are missed.
SIDE, LARGEST_DIFFERENCE = 32, 6.0
# An image with less contrast than this is blank; blank images all look alike, so they are not compared.
BLANK = 4.0


class Images(Protocol):
    """Images, uint8 [H, W, 3], such as an array of them."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, number: int, /) -> np.ndarray:
        """Return an image."""


def copies(sha256: pd.Series, images: Images) -> np.ndarray:
    """Return a number for each image, int [N], shared by images that are copies, directly or through other copies.

    The N `images` are read a few at a time.
    """
    hashes, contrast = _hashes(images)
    seen = np.flatnonzero(contrast >= BLANK)
    pairs = [pair for pair in _candidates(hashes, seen) if _same(images, *pair)]
    left, right = (np.array([pair[side] for pair in pairs], int) for side in (0, 1))
    first = pd.Series(range(len(images))).groupby(sha256.to_numpy()).transform("first").to_numpy()
    left, right = np.concatenate([left, first]), np.concatenate([right, np.arange(len(images))])
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(len(images), len(images)))
    return connected_components(graph, directed=False)[1]


def _hashes(images: Images) -> tuple[np.ndarray, np.ndarray]:
    """Return perceptual hashes, uint64 [N], and the standard deviation of grey values [N]."""
    hashes, contrast = np.zeros(len(images), np.uint64), np.zeros(len(images), np.float32)
    for i in range(len(images)):
        grey = _grey(images[i])
        contrast[i] = grey.std()
        terms = cv2.dct(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA))[:8, :8].ravel()
        terms[0] = 0  # the mean
        hashes[i] = np.packbits(terms > 0).view(np.uint64)[0]
    return hashes, contrast


def _candidates(hashes: np.ndarray, seen: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield, once each, the pairs of images in `seen` whose hashes are close, the lower number first."""
    found: set[tuple[int, int]] = set()
    for band in range(BANDS):
        keys = (hashes[seen] >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = seen[np.lexsort((hashes[seen], keys))]
        keys = np.sort(keys)
        for bucket in np.split(order, np.flatnonzero(np.diff(keys)) + 1):
            for step in range(1, min(len(bucket), WINDOW + 1)):
                one, other = bucket[:-step], bucket[step:]
                close = np.bitwise_count(hashes[one] ^ hashes[other]) <= LARGEST_DISTANCE
                found.update(
                    (min(pair), max(pair)) for pair in zip(one[close].tolist(), other[close].tolist(), strict=True)
                )
    yield from sorted(found)


def _same(images: Images, one: int, other: int) -> bool:
    difference = _standard(images[one]) - _standard(images[other])
    return bool(np.abs(difference).mean() <= LARGEST_DIFFERENCE)


def _standard(image: np.ndarray) -> np.ndarray:
    """Return a grey thumbnail with mean 0 and standard deviation 50."""
    small = cv2.resize(_grey(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return (small - small.mean()) * (50 / max(float(small.std()), 1.0))


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32)
