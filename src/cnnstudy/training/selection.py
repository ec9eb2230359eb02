"""Which epoch of a training is the best, measured on the validation split as the net will predict in the end.

With BatchNorm's moving statistics that is the validation that Keras makes. Where they are re-estimated after training,
those say nothing: after few updates a net answers one class for everything with them. Then each epoch is measured with
the statistics of validation batches, dropout off, which costs a pass over the split and comes close to re-estimation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from cnnstudy.config.schema import BatchNormMode, Training
from cnnstudy.data.samples import Dataset
from cnnstudy.nets.build import class_probabilities
from cnnstudy.training import batchnorm
from cnnstudy.training.pipeline import at_once, scaled

SPLIT = "val"
# Keras's bounds of a probability in a cross-entropy.
SMALLEST = 1e-7


@dataclass(frozen=True)
class Score:
    """Accuracy and mean cross-entropy on the validation split after an epoch, which counts from 1."""

    epoch: int
    accuracy: float
    loss: float

    def is_better(self, other: "Score | None") -> bool:
        """Whether it beats an earlier epoch's; of equals the earlier one stays."""
        # Accuracy is what a run is judged by; on a few hundred images it often ties, and the loss says who is surer.
        return other is None or (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


def compares(settings: Training) -> bool:
    """Whether epochs are compared at all."""
    return settings.selection == "best" or settings.patience > 0


def is_over(epochs: int, best: Score | None, patience: int) -> bool:
    """Whether `patience` of the `epochs` so far have gone by since the best one; never where patience is 0."""
    return patience > 0 and best is not None and epochs - best.epoch >= patience


def scorer(
    model: keras.Sequential, dataset: Dataset, mode: BatchNormMode, seed: int
) -> Callable[[dict[str, float]], Score]:
    """A function that takes an epoch's row of the history to its score, while the model is as the epoch left it.

    For batch statistics the split is mixed by `seed`, since batches of one class would give the answer away, and cut in
    equal parts, since a small one has poor statistics.
    """
    if mode == "moving":
        return lambda row: Score(int(row["epoch"]), row["val_accuracy"], row["val_loss"])
    infer = tf.function(
        lambda images: batchnorm.forward_with_batch_statistics(model.layers, images),
        autograph=False,
        reduce_retracing=True,
    )
    ids = np.random.Generator(np.random.Philox(key=seed)).permutation(dataset.ids(SPLIT))
    batches = np.array_split(ids, -(-len(ids) // at_once(model)))

    return lambda row: Score(int(row["epoch"]), *_validated(infer, dataset, ids, batches))


def validator(model: keras.Sequential, dataset: Dataset) -> Callable[[], tuple[float, float]]:
    """Return a function for the accuracy and the mean cross-entropy on the validation split, with moving statistics."""
    infer = tf.function(lambda images: model(images, training=False), autograph=False, reduce_retracing=True)
    ids = dataset.ids(SPLIT)
    return lambda: _validated(infer, dataset, ids, np.array_split(ids, -(-len(ids) // at_once(model))))


def _validated(
    infer: Callable[[tf.Tensor], tf.Tensor], dataset: Dataset, ids: np.ndarray, batches: list[np.ndarray]
) -> tuple[float, float]:
    outputs = [infer(tf.convert_to_tensor(scaled(dataset.images[some]))).numpy() for some in batches]
    return _accuracy_and_loss(class_probabilities(np.concatenate(outputs)), dataset.labels[ids])


def _accuracy_and_loss(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses = -np.log(np.clip(right, SMALLEST, 1 - SMALLEST))
    return float((probabilities.argmax(axis=1) == labels).mean()), float(losses.mean())
