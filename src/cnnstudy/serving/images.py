"""Predictions for image files: images are decoded on all cores while the net predicts earlier batches.

All requests of a process share the decoding threads, so that many requests at once take no more memory.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image

from cnnstudy.data import sources
from cnnstudy.data.decode import FORMATS, Finder, UnreadableError, read_content, read_image
from cnnstudy.serving.net import Net

# Images of a batch, and how many decoded batches wait for the net.
BATCH, AHEAD = 32, 2
# The number of decoding threads.
DECODERS = os.cpu_count() or 1
# Images with more pixels than this are decoded one at a time: decoding takes up to 24 bytes a pixel.
LARGE = 4_000_000

# A function from a side and a finder of the part to use to the pixels of an image, uint8 [side, side, 3]; it may raise
# UnreadableError.
Decoder = Callable[[int, Finder | None], np.ndarray]


@dataclass(frozen=True)
class Prediction:
    """Probabilities, float32 [classes], and values, float32 [k]; either may be empty.

    `is_unlike` says whether the image is unlike the training images, None where that is unknown.
    """

    probabilities: np.ndarray
    is_unlike: bool | None
    values: np.ndarray


# A prediction, or why the image can't be read.
Answer = Prediction | UnreadableError


def in_file(path: Path, problem: str = "") -> Decoder:
    """Return the decoder of an image file; a `problem` is a reason not to open the file."""
    return partial(_file_pixels, path, problem)


def in_bytes(content: bytes, most: int) -> Decoder:
    """Return the decoder of an image file's content; it refuses an image of more than `most` pixels."""
    return partial(_content_pixels, content, most)


def find(places: Iterable[Path]) -> Iterator[tuple[str, Decoder]]:
    """Yield the printable name and decoder of each file, and of all files of folders, sorted within a folder."""
    for place in places:
        if place.is_dir():
            for path in sources.files(place):
                yield sources.written(str(path)), in_file(path, sources.file_problem(place, path))
        else:
            # A pipe or a device might be read without end.
            is_other = place.exists() and not place.is_file()
            yield sources.written(str(place)), in_file(place, "not a regular file" if is_other else "")


def predictions(net: Net, decoders: Iterable[Decoder]) -> Iterator[Answer]:
    """Yield a net's prediction for each image, in order; only a few batches are in memory."""
    left = iter(decoders)
    waiting: deque[Future[list[np.ndarray | UnreadableError]]] = deque()
    try:
        while True:
            while len(waiting) < DECODERS + AHEAD and (batch := list(islice(left, BATCH))):
                waiting.append(_pool().submit(_decoded, batch, net))
            if not waiting:
                return
            yield from _predicted(net, waiting.popleft().result())
    finally:  # after a failure nobody needs the remaining batches
        for future in waiting:
            future.cancel()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(DECODERS, thread_name_prefix="decoder")


def _predicted(net: Net, decoded: list[np.ndarray | UnreadableError]) -> list[Answer]:
    readable = [image for image in decoded if isinstance(image, np.ndarray)]
    answers = iter(_answers(net, np.stack(readable)) if readable else ())
    return [next(answers) if isinstance(image, np.ndarray) else image for image in decoded]


def _answers(net: Net, images: np.ndarray) -> list[Prediction]:
    unlike = net.familiarity.are_unlike(images).tolist() if net.familiarity else [None] * len(images)
    count = len(net.classes)
    return [
        Prediction(each[:count], is_unlike, each[count:])
        for each, is_unlike in zip(net.outputs(images), unlike, strict=True)
    ]


def _decoded(batch: list[Decoder], net: Net) -> list[np.ndarray | UnreadableError]:
    return [_pixels(decoder, net) for decoder in batch]


def _pixels(decoder: Decoder, net: Net) -> np.ndarray | UnreadableError:
    try:
        return decoder(net.size, net.crop)
    except UnreadableError as reason:
        return reason


def _file_pixels(path: Path, problem: str, size: int, crop: Finder | None) -> np.ndarray:
    if problem:
        raise UnreadableError(problem)
    return read_image(path, size, crop).pixels


_one_large = Lock()


def _content_pixels(content: bytes, most: int, size: int, crop: Finder | None) -> np.ndarray:
    count = _count(content)
    if count > most:
        raise UnreadableError(f"{count} pixels; allowed: at most {most}")
    with _one_large if count > LARGE else nullcontext():
        return read_content(content, size, crop).pixels


def _count(content: bytes) -> int:
    """Return an image's number of pixels by its header; 0 for a file that `read_content` refuses with a reason."""
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            return image.width * image.height
    except Exception:  # as in `read_content`: a broken file may raise any error
        return 0
