"""The input pipeline: batches of augmented training images, read from the memory map."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod

import cv2
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from cnnstudy.data import augment
from cnnstudy.data.samples import Dataset

# Columns of an augmentation table with the ranges that a recipe's `augmentation` multiplies.
SCALED = ("rotation", "shift", "crop", *augment.PIXELS)
# The largest batch in prediction, and the largest size in bytes of a layer's output for a batch: enough for 100 images
# of 128 px, and too little for memory to grow with the square of an image's side.
BATCH, LAYER_BYTES = 100, 200 << 20

# ((images or ids, transforms), labels)
Batch = tuple[tuple[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class TrainingSet:
    """The n rows of an augmentation table that belong to one split, with their images and labels.

    A phase may also train on a part of another split; these rows come after the first split's.

    `images` is the memory map, uint8 [N, H, W, 3]; `ids` and `labels` are int64 [n]; `rows` are the table's rows;
    `values` float32 [n, k] are the images' values, if there are any.
    """

    images: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    rows: pd.DataFrame
    values: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_random(self) -> bool:
        """Return whether any image is augmented at random, differently in every epoch."""
        return bool(self.rows[list(augment.RANGES)].to_numpy(float).any())

    @property
    def has_copies(self) -> bool:
        """Return whether any row is a rotated or flipped copy."""
        return bool((self.rows["operation"] != "original").any())

    @property
    def changes_pixels(self) -> bool:
        """Return whether any image is changed in more than its geometry."""
        return bool(self.rows[[*augment.PIXELS, "mixing"]].to_numpy(float).any())

    @property
    def is_mixed(self) -> bool:
        """Return whether images are mixed with others, and their labels with them."""
        return bool(self.rows["mixing"].any())

    @property
    def split(self) -> str:
        """The split of all rows, or of the first rows if there are several splits."""
        return str(self.rows["split"][0])

    @property
    def is_one_split(self) -> bool:
        """Return whether all rows are of one split."""
        return self.rows["split"].nunique() == 1

    def joined(self, other: "TrainingSet", rows: np.ndarray) -> "TrainingSet":
        """Return this training set followed by some rows, int [m], of another one of the same images."""
        ids, labels = (
            np.concatenate([own, more[rows]]) for own, more in ((self.ids, other.ids), (self.labels, other.labels))
        )
        values = None
        if self.values is not None and other.values is not None:
            values = np.concatenate([self.values, other.values[rows]])
        table = pd.concat([self.rows, other.rows.iloc[rows]], ignore_index=True)
        return TrainingSet(self.images, ids, labels, table, values)

    @property
    def width(self) -> int:
        """The number of columns of `targets`."""
        return 1 if self.values is None else 1 + self.values.shape[1]

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """Return what a net is to predict for some rows, as `Dataset.targets` does."""
        labels = self.labels[rows, None].astype(np.float32)
        return labels if self.values is None else np.hstack([labels, self.values[rows]])

    def originals(self, ids: np.ndarray) -> np.ndarray:
        """Return the rows of the original images with these ids, int64 [len(ids)]; every image of the split has one."""
        rows = np.flatnonzero(self.rows["operation"] == "original")
        by_id = pd.Series(rows, index=self.ids[rows])
        return by_id.loc[ids].to_numpy()

    def exact_copies(self, rows: np.ndarray) -> np.ndarray:
        """Return the images of some rows with the exact operations applied: uint8 [len(rows), H, W, 3]."""
        operations = self.rows["operation"].to_numpy()[rows]
        batch = self.images[self.ids[rows]]
        for i in np.flatnonzero(operations != "original"):
            batch[i] = augment.apply_exact(batch[i], operations[i])
        return batch

    def transforms(self, seed: int, epoch: int) -> np.ndarray:
        """Return the random geometric transforms of one epoch, float32 [n, 8]."""
        rotation, shift, flip, crop = (self.rows[name].to_numpy() for name in augment.PLACES)
        size = self.images.shape[1]
        transforms = augment.random_transforms((seed, epoch), (rotation, shift, flip), size)
        return augment.crop(transforms, (seed, epoch), crop, size) if crop.any() else transforms

    def transforms_of_originals(self, seed: int, epoch: int) -> np.ndarray:
        """Return transforms, float32 [n, 8], that turn an original image into its row's copy, transformed at random."""
        exact = augment.exact_transforms(self.rows["operation"].to_numpy(), self.images.shape[1])
        return augment.composed(exact, self.transforms(seed, epoch)) if self.is_random else exact

    def changed(self, rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Return the images of some rows, with the epoch's random changes of pixels: uint8 [len(rows), H, W, 3]."""
        ranges = {name: self.rows[name].to_numpy() for name in augment.PIXELS}
        return augment.change_pixels(self.exact_copies(rows), (seed, epoch), rows, ranges)

    def mixed(self, rows: np.ndarray, seed: int, epoch: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the images of some rows, each mixed with that of a partner row, and their labels.

        The images are uint8 [b, H, W, 3]. The labels are float32 [b, outputs] for a net with `outputs` outputs: the
        share of each class, or for one output the share of the second class.
        """
        partners, shares = augment.mixing((seed, epoch), self.rows["mixing"].to_numpy())
        partner, share = partners[rows], shares[rows]
        own = self.changed(rows, seed, epoch).astype(np.float32)
        other = self.changed(partner, seed, epoch).astype(np.float32)
        weights = share[:, None, None, None].astype(np.float32)
        images = np.rint(weights * own + (1 - weights) * other).astype(np.uint8)
        labels = np.zeros((len(rows), max(outputs, 2)), np.float32)
        np.add.at(labels, (np.arange(len(rows)), self.labels[rows]), share)
        np.add.at(labels, (np.arange(len(rows)), self.labels[partner]), 1 - share)
        return images, labels[:, -outputs:]


def training_set(dataset: Dataset, table: pd.DataFrame, split: str, strength: float = 1.0) -> TrainingSet:
    """Return the training set of `split` from an augmentation table, with the ranges multiplied by `strength`."""
    rows = table[(table["split"] == split) & (dataset.splits[table["id"]] == split)].reset_index(drop=True)
    rows = rows.assign(**{name: rows[name] * strength for name in SCALED})
    ids = rows["id"].to_numpy(np.int64)
    values = None if dataset.values is None else dataset.values[ids]
    return TrainingSet(dataset.images, ids, dataset.labels[ids], rows, values)


def steps_of(count: int, batch_size: int) -> int:
    """Return the number of batches in an epoch of `count` images."""
    return -(-count // batch_size)


def training_batches(
    data: TrainingSet,
    batch_size: int,
    seed: int,
    epoch: int,
    first: int = 0,
    applies_transforms: bool = True,
    multiple: int = 1,
    outputs: int = 1,
    sends_ids: bool = False,
) -> tf.data.Dataset:
    """Return an epoch's shuffled batches from batch `first` on: ((images, transforms), labels).

    Images are uint8 [B, H, W, 3]; transforms, float32 [B, 8], are those of cnnstudy.data.augment, or zeros if nothing
    is random; labels are float32 [B, 1], or [B, outputs] of mixed images (see `TrainingSet.mixed`). With `sends_ids`
    the ids of the original images, int32 [B], take the place of the images, and the transforms include exact copies.
    `applies_transforms` applies the transforms here, which on a CPU is quicker than in the net. Order and transforms
    depend on (seed, epoch, row) alone, so that a training can be resumed at any batch. Batch sizes differ by at most an
    image: a small last batch would give BatchNorm poor statistics.

    Every batch has a multiple of `multiple` images, an equal share for each replica. An epoch leaves out the remaining
    images, fewer than `multiple`, which differ from epoch to epoch.
    """

    def batches() -> Iterator[Batch]:
        order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(len(data))
        if sends_ids:
            transforms = data.transforms_of_originals(seed, epoch)
        else:
            transforms = data.transforms(seed, epoch) if data.is_random else np.zeros((len(data), 8), np.float32)
        shares = order[: len(order) // multiple * multiple].reshape(-1, multiple)
        for rows in map(np.ravel, np.array_split(shares, steps)[first:]):
            if sends_ids:
                yield (data.ids[rows].astype(np.int32), transforms[rows]), data.targets(rows)
                continue
            if data.is_mixed:
                images, labels = data.mixed(rows, seed, epoch, outputs)
            else:
                images, labels = data.changed(rows, seed, epoch), data.targets(rows)
            if data.is_random and applies_transforms:
                transform_images(images, transforms[rows])
            yield (images, transforms[rows]), labels

    steps = steps_of(len(data), batch_size)
    side = None if sends_ids else data.images.shape[1]
    return _dataset(batches, steps - first, side, outputs if data.is_mixed else data.width)


def transform_images(images: np.ndarray, transforms: np.ndarray) -> None:
    """Transform uint8 images [B, H, W, 3] in place; pixels outside an image take the value of the nearest pixel."""
    size = images.shape[2], images.shape[1]
    for i, transform in enumerate(transforms):
        matrix = transform[:6].reshape(2, 3)  # from output to input pixels
        images[i] = cv2.warpAffine(
            images[i], matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )


def labelled_batches(
    dataset: Dataset, split: str, batch_size: int, shares: int = 1, sends_ids: bool = False
) -> tf.data.Dataset:
    """Return the images of a split in order, in batches like those of `training_batches` but without augmentation.

    If `shares` is more than 1, labels are one-hot over that many classes.
    """
    ids = dataset.ids(split)

    def batches() -> Iterator[Batch]:
        for start in range(0, len(ids), batch_size):
            batch = ids[start : start + batch_size]
            images = batch.astype(np.int32) if sends_ids else dataset.images[batch]
            targets = dataset.targets(batch)
            one_hot = np.eye(shares, dtype=np.float32)[dataset.labels[batch]] if shares > 1 else targets
            yield (images, np.zeros((len(batch), 8), np.float32)), one_hot

    width = shares if shares > 1 else dataset.targets(ids[:0]).shape[1]
    return _dataset(batches, steps_of(len(ids), batch_size), None if sends_ids else dataset.images.shape[1], width)


def inference_batch_size(model: keras.Model) -> int:
    """Return the batch size with which a net predicts."""
    return images_at_a_time(layer.output.shape[1:] for layer in model.layers)


def images_at_a_time(shapes: Iterable[tuple[int, ...]]) -> int:
    """Return the prediction batch size of a net with these layer output shapes (float32, without the batch axis)."""
    return max(1, min(BATCH, LAYER_BYTES // (4 * max(map(prod, shapes)))))


def sample_rows(data: TrainingSet, most: int, seed: int) -> np.ndarray:
    """Return about `most` rows of a training set, or all if fewer, each class in proportion: int64 [m], ascending."""
    if len(data) <= most:
        return np.arange(len(data))
    rng, rows = np.random.Generator(np.random.Philox(key=seed)), []
    for label in np.unique(data.labels):
        of_class = np.flatnonzero(data.labels == label)
        rows.append(rng.choice(of_class, max(1, round(most * len(of_class) / len(data))), replace=False))
    return np.sort(np.concatenate(rows))


def exact_batches(data: TrainingSet, batch_size: int, rows: np.ndarray | None = None) -> list[Callable[[], np.ndarray]]:
    """Return functions that load the training images, or those of some rows, without random augmentation, in batches.

    A batch is float32 [B, H, W, 3] in [0, 1].
    """
    rows = np.arange(len(data)) if rows is None else rows

    def load(start: int) -> np.ndarray:
        return scaled(data.exact_copies(rows[start : start + batch_size]))

    return [partial(load, start) for start in range(0, len(rows), batch_size)]


def scaled(images: np.ndarray) -> np.ndarray:
    """Return uint8 images as float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def _dataset(batches: Callable[[], Iterator[Batch]], count: int, side: int | None, width: int) -> tf.data.Dataset:
    """Return a dataset of `count` batches of images of a side, or of ids if that is None, with labels of a width."""
    images = tf.TensorSpec((None, side, side, 3), tf.uint8) if side else tf.TensorSpec((None,), tf.int32)
    transforms = tf.TensorSpec((None, 8), tf.float32)
    signature = ((images, transforms), tf.TensorSpec((None, width), tf.float32))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    # There is nothing to tune, and TensorFlow's tuner sometimes takes seconds to stop at the end of an epoch.
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2).with_options(options)
