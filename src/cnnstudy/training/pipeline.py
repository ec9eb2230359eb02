"""Training images as the net sees them: from the memory map, through the plan, to batches."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tensorflow as tf

from cnnstudy.data import plans
from cnnstudy.data.samples import Dataset


@dataclass(frozen=True)
class TrainingSet:
    """The rows of a plan that belong to one split, n of them.

    `images` is the memory map, uint8 [N, H, W, 3]; `ids` and `labels` are int64 [n]; `rows` are the plan's rows.
    """

    images: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    rows: pd.DataFrame

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_random(self) -> bool:
        """Whether any image is changed anew every epoch."""
        return bool(self.rows[["rotation", "shift", "flip"]].to_numpy(float).any())

    def copies(self, rows: np.ndarray) -> np.ndarray:
        """The images of some rows, exact operations applied: uint8 [len(rows), H, W, 3]."""
        operations = self.rows["operation"].to_numpy()[rows]
        batch = self.images[self.ids[rows]]
        for i in np.flatnonzero(operations != "original"):
            batch[i] = plans.apply_exact(batch[i], operations[i])
        return batch

    def transforms(self, seed: int, epoch: int) -> np.ndarray:
        """One epoch's random transforms, float32 [n, 8]."""
        rotation, shift, flip = (self.rows[name].to_numpy() for name in ("rotation", "shift", "flip"))
        return plans.random_transforms((seed, epoch), (rotation, shift, flip), self.images.shape[1])


def training_set(dataset: Dataset, plan: pd.DataFrame, split: str) -> TrainingSet:
    """The part of a plan that trains on `split`."""
    rows = plan[plan["split"] == split].reset_index(drop=True)
    ids = rows["id"].to_numpy(np.int64)
    return TrainingSet(dataset.images, ids, dataset.labels[ids], rows)


def training_batches(data: TrainingSet, batch_size: int, seed: int, epoch: int, first: int = 0) -> tf.data.Dataset:
    """One epoch's shuffled, augmented batches, from batch `first` on: float32 [B, H, W, 3] in [0, 1], labels [B, 1].

    Order and augmentation depend on (seed, epoch, row) alone, so that a training can be taken up at any batch.
    """

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(len(data))
        transforms = data.transforms(seed, epoch) if data.is_random else np.zeros((len(data), 8), np.float32)
        for start in range(first * batch_size, len(data), batch_size):
            rows = order[start : start + batch_size]
            yield data.copies(rows), transforms[rows], data.labels[rows, None].astype(np.float32)

    side = data.images.shape[1]
    transforms = tf.TensorSpec((None, 8), tf.float32)
    images, labels = _signature(side)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=(images, transforms, labels))
    count = tf.data.experimental.assert_cardinality(-(-len(data) // batch_size) - first)
    return dataset.map(_augmented if data.is_random else _unchanged).apply(count).prefetch(2)


def labelled_batches(dataset: Dataset, split: str, batch_size: int) -> tf.data.Dataset:
    """A split's unchanged images, float32 [B, H, W, 3] in [0, 1], with float32 labels [B, 1]."""
    ids = dataset.ids(split)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(ids), batch_size):
            some = ids[start : start + batch_size]
            yield dataset.images[some], dataset.labels[some, None].astype(np.float32)

    raw = tf.data.Dataset.from_generator(batches, output_signature=_signature(dataset.images.shape[1]))
    count = tf.data.experimental.assert_cardinality(-(-len(ids) // batch_size))
    return raw.map(lambda images, labels: (tf.cast(images, tf.float32) / 255.0, labels)).apply(count).prefetch(2)


def copy_batches(data: TrainingSet, batch_size: int) -> Iterator[np.ndarray]:
    """The plan's images in order, without random changes: float32 [B, H, W, 3] in [0, 1]."""
    for start in range(0, len(data), batch_size):
        yield scaled(data.copies(np.arange(start, min(start + batch_size, len(data)))))


def scaled(images: np.ndarray) -> np.ndarray:
    """Uint8 to float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def _signature(side: int) -> tuple[tf.TensorSpec, tf.TensorSpec]:
    images = tf.TensorSpec((None, side, side, 3), tf.uint8)
    return images, tf.TensorSpec((None, 1), tf.float32)


def _unchanged(images: tf.Tensor, transforms: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(images, tf.float32) / 255.0, labels


def _augmented(images: tf.Tensor, transforms: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32) / 255.0,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return moved, labels
