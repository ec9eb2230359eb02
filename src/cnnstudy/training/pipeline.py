"""Training images from the memory map, through the plan, to batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from cnnstudy.data import plans
from cnnstudy.data.samples import Dataset
from cnnstudy.nets import specs

# ((images, transforms), labels)
Batch = tuple[tuple[np.ndarray, np.ndarray], np.ndarray]


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

    @property
    def split(self) -> str:
        """The split that all rows belong to."""
        return str(self.rows["split"][0])

    def originals(self, ids: np.ndarray) -> np.ndarray:
        """The rows of some of the split's images as they are, int64 [len(ids)]; every image has one."""
        rows = np.flatnonzero(self.rows["operation"] == "original")
        by_id = pd.Series(rows, index=self.ids[rows])
        return by_id.loc[ids].to_numpy()

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


def training_set(dataset: Dataset, plan: pd.DataFrame, split: str, strength: float = 1.0) -> TrainingSet:
    """The part of a plan that trains on `split`, its ranges of rotations and shifts multiplied by `strength`."""
    rows = plan[plan["split"] == split].reset_index(drop=True)
    rows = rows.assign(rotation=rows["rotation"] * strength, shift=rows["shift"] * strength)
    ids = rows["id"].to_numpy(np.int64)
    return TrainingSet(dataset.images, ids, dataset.labels[ids], rows)


def steps_of(count: int, batch_size: int) -> int:
    """How many batches an epoch of `count` images has."""
    return -(-count // batch_size)


def training_batches(
    data: TrainingSet,
    batch_size: int,
    seed: int,
    epoch: int,
    first: int = 0,
    is_moved: bool = True,
    multiple: int = 1,
) -> tf.data.Dataset:
    """One epoch's shuffled batches, from batch `first` on: ((uint8 [B, H, W, 3], transforms [B, 8]), labels [B, 1]).

    The transforms, float32, are those of cnnstudy.data.plans; zeros where nothing is random. `is_moved` says whether
    they have been applied, which on a CPU is quicker here than in the net. Order and transforms depend on (seed,
    epoch, row) alone, so that a training can be taken up at any batch. Batches are of one size, to within an image:
    BatchNorm would take poor statistics from the few that an epoch may have left over.

    Every batch has a multiple of `multiple` images, one share for each replica; an epoch leaves out the rest, less than
    `multiple` images, which are others in every epoch.
    """

    def batches() -> Iterator[Batch]:
        order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(len(data))
        transforms = data.transforms(seed, epoch) if data.is_random else np.zeros((len(data), 8), np.float32)
        shares = order[: len(order) // multiple * multiple].reshape(-1, multiple)
        for rows in map(np.ravel, np.array_split(shares, steps)[first:]):
            images = data.copies(rows)
            if data.is_random and is_moved:
                move(images, transforms[rows])
            yield (images, transforms[rows]), data.labels[rows, None].astype(np.float32)

    steps = steps_of(len(data), batch_size)
    return _dataset(batches, steps - first, data.images.shape[1])


def move(images: np.ndarray, transforms: np.ndarray) -> None:
    """Move uint8 images [B, H, W, 3] in place, each by its transform; outside of an image is its nearest pixel."""
    size = images.shape[2], images.shape[1]
    for i, transform in enumerate(transforms):
        matrix = transform[:6].reshape(2, 3)  # from output to input pixels
        images[i] = cv2.warpAffine(
            images[i], matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )


def labelled_batches(dataset: Dataset, split: str, batch_size: int) -> tf.data.Dataset:
    """A split's images as `training_batches` has them, in order."""
    ids = dataset.ids(split)

    def batches() -> Iterator[Batch]:
        for start in range(0, len(ids), batch_size):
            some = ids[start : start + batch_size]
            images = dataset.images[some]
            yield (images, np.zeros((len(some), 8), np.float32)), dataset.labels[some, None].astype(np.float32)

    return _dataset(batches, steps_of(len(ids), batch_size), dataset.images.shape[1])


def at_once(model: keras.Sequential) -> int:
    """How many images a net that is not trained meanwhile takes at once."""
    return specs.images_at_once(layer.output.shape[1:] for layer in model.layers)


def sample_rows(data: TrainingSet, most: int, seed: int) -> np.ndarray:
    """Return at most about `most` of a training set's rows, each class in proportion: int64 [m], ascending."""
    if len(data) <= most:
        return np.arange(len(data))
    rng, rows = np.random.Generator(np.random.Philox(key=seed)), []
    for label in np.unique(data.labels):
        of_class = np.flatnonzero(data.labels == label)
        rows.append(rng.choice(of_class, max(1, round(most * len(of_class) / len(data))), replace=False))
    return np.sort(np.concatenate(rows))


def copy_batches(data: TrainingSet, batch_size: int, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """The plan's images, or those of some rows, without random changes: float32 [B, H, W, 3] in [0, 1]."""
    rows = np.arange(len(data)) if rows is None else rows
    for start in range(0, len(rows), batch_size):
        yield scaled(data.copies(rows[start : start + batch_size]))


def scaled(images: np.ndarray) -> np.ndarray:
    """Uint8 to float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def _dataset(batches: Callable[[], Iterator[Batch]], count: int, side: int) -> tf.data.Dataset:
    images, transforms = tf.TensorSpec((None, side, side, 3), tf.uint8), tf.TensorSpec((None, 8), tf.float32)
    signature = ((images, transforms), tf.TensorSpec((None, 1), tf.float32))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    # There is nothing to tune, and at the end of an epoch TensorFlow now and then waits seconds for what tunes.
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2).with_options(options)
