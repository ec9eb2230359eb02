"""Selection of the best epoch, by predictions on the validation split in the BatchNorm mode of the trained net.

With moving statistics Keras's validation is used. If the statistics are re-estimated after training, the moving ones
are no guide: after few updates a net predicts one class for every image with them. Each epoch is then measured with the
statistics of validation batches, dropout off, which costs a pass over the split and comes close to re-estimation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from cnnstudy.config.schema import BatchNormMode, Training
from cnnstudy.data.samples import Dataset
from cnnstudy.models import graph
from cnnstudy.models.assemble import class_probabilities
from cnnstudy.training import batchnorm
from cnnstudy.training.objectives import Objective, measured, quality
from cnnstudy.training.pipeline import inference_batch_size, scaled

SPLIT = "val"
# The smallest probability in Keras's cross-entropy.
SMALLEST = 1e-7


@dataclass(frozen=True)
class Score:
    """Accuracy (or mean CCC) and loss on the validation split after an epoch; epochs count from 1."""

    epoch: int
    quality: float
    loss: float

    def is_better(self, other: "Score | None") -> bool:
        """Return whether this score beats that of an earlier epoch; of equal scores the earlier is better."""
        # A run is judged by its accuracy, or CCC; on a few hundred images accuracies often tie, and the loss decides.
        return other is None or (self.quality, -self.loss) > (other.quality, -other.loss)


def compares(settings: Training) -> bool:
    """Return whether the epochs of a training are compared."""
    return settings.selection == "best" or settings.patience > 0


def is_over(epochs: int, best: Score | None, patience: int) -> bool:
    """Return whether `patience` of the `epochs` so far have passed since the best one; never if patience is 0."""
    return patience > 0 and best is not None and epochs - best.epoch >= patience


def scorer(
    model: keras.Model, dataset: Dataset, mode: BatchNormMode, seed: int, objective: Objective | None = None
) -> Callable[[dict[str, float]], Score]:
    """Return a function from an epoch's row of the history to its score, to be called right after the epoch.

    For batch statistics the split is shuffled by `seed`, since batches of one class would give the labels away, and
    divided into equal parts, since a small batch has poor statistics.
    """
    name = quality(dataset)
    if mode == "moving":
        return lambda row: Score(int(row["epoch"]), row[f"val_{name}"], row["val_loss"])
    net = graph.trace(model)
    infer = tf.function(
        lambda images: batchnorm.forward_with_batch_statistics(net, images),
        autograph=False,
        reduce_retracing=True,
    )
    ids = np.random.Generator(np.random.Philox(key=seed)).permutation(dataset.ids(SPLIT))
    batches = np.array_split(ids, -(-len(ids) // inference_batch_size(model)))

    def score(row: dict[str, float]) -> Score:
        found = _validated(infer, dataset, ids, batches, objective)
        return Score(int(row["epoch"]), found[name], found["loss"])

    return score


def validator(
    model: keras.Model, dataset: Dataset, objective: Objective | None = None
) -> Callable[[], dict[str, float]]:
    """Return a function for the metrics and the loss on the validation split, with moving statistics."""
    infer = tf.function(lambda images: model(images, training=False), autograph=False, reduce_retracing=True)
    ids = dataset.ids(SPLIT)
    batches = np.array_split(ids, -(-len(ids) // inference_batch_size(model)))
    return lambda: _validated(infer, dataset, ids, batches, objective)


def _validated(
    infer: Callable[[tf.Tensor], tf.Tensor],
    dataset: Dataset,
    ids: np.ndarray,
    batches: list[np.ndarray],
    objective: Objective | None,
) -> dict[str, float]:
    outputs = np.concatenate([infer(tf.convert_to_tensor(scaled(dataset.images[batch]))).numpy() for batch in batches])
    if objective:
        return measured(objective, dataset.targets(ids), outputs)
    return _accuracy_and_loss(class_probabilities(outputs), dataset.labels[ids])


def _accuracy_and_loss(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses = -np.log(np.clip(right, SMALLEST, 1 - SMALLEST))
    return {"accuracy": float((probabilities.argmax(axis=1) == labels).mean()), "loss": float(losses.mean())}
