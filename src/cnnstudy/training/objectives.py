"""The loss and the metrics of nets that predict values, alone or beside classes; an image may lack either.

A target is [label, value 1, ... value k], float32 [B, 1 + k]: the label is `samples.NO_CLASS` for an image of no
class, and a missing value is NaN. Outputs are float32 [B, c + k]: the classes' probabilities, or one of the second
class, or none (c = 0), then the values.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cnnstudy.config.schema import Training
from cnnstudy.data.samples import Dataset

# The smallest probability in Keras's cross-entropy, and what keeps a quotient of moments finite.
SMALLEST, EPSILON = 1e-7, 1e-6


@dataclass(frozen=True)
class Objective:
    """The loss of a net that predicts values; see `Training` for the settings.

    `values` is k. `weights` are the classes' weights in the cross-entropy, float32 [classes], or () for equal weights.
    """

    values: int
    loss: str
    weight: float
    smoothing: float
    weights: tuple[float, ...] = ()

    def __call__(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Return the loss of a batch, [1]: that of the values, plus the cross-entropy if there are classes.

        Both are means over the images that have a class, or that value. It is no scalar, since Keras does not divide
        scalars by the number of replicas.
        """
        targets, outputs = tf.cast(targets, tf.float32), tf.cast(outputs, tf.float32)
        values = self._values(targets[:, 1:], outputs[:, -self.values :])
        if outputs.shape[1] == self.values:
            return tf.reshape(values, [1])
        classes = self._cross_entropy(targets[:, 0], outputs[:, : -self.values])
        return tf.reshape(classes + self.weight * values, [1])

    def _values(self, truth: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
        """Return the mean squared error, and with `ccc` 1 - Lin's coefficient (1989) added, as means over values."""
        present, truth = _present(truth)
        count = tf.maximum(tf.reduce_sum(present, axis=0), 1.0)
        squared = tf.reduce_sum(present * tf.square(predicted - truth), axis=0) / count
        if self.loss == "mse":
            return tf.reduce_mean(squared)
        means = [tf.reduce_sum(present * each, axis=0) / count for each in (truth, predicted)]
        rests = [present * (each - mean) for each, mean in zip((truth, predicted), means, strict=True)]
        products = tf.reduce_sum(rests[0] * rests[1], axis=0) / count
        spread = sum(tf.reduce_sum(tf.square(rest), axis=0) / count for rest in rests)
        concordance = 2 * products / (spread + tf.square(means[0] - means[1]) + EPSILON)
        return tf.reduce_mean(squared + 1 - concordance)

    def _cross_entropy(self, labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        probabilities, classes = _of_every_class(probabilities)
        present = tf.cast(labels >= 0, tf.float32)
        numbers = tf.cast(tf.maximum(labels, 0.0), tf.int32)
        shares = tf.one_hot(numbers, classes) * (1 - self.smoothing) + self.smoothing / classes
        losses = -tf.reduce_sum(shares * tf.math.log(tf.clip_by_value(probabilities, SMALLEST, 1.0)), axis=1)
        if self.weights:
            losses *= tf.gather(tf.constant(self.weights, tf.float32), numbers)
        return tf.reduce_sum(present * losses) / tf.maximum(tf.reduce_sum(present), 1.0)


def objective(dataset: Dataset, settings: Training, weights: dict[int, float] | None) -> Objective | None:
    """Return what a net trained on a data set with values minimises; None for a data set without values."""
    if dataset.values is None:
        return None
    each = tuple(weights.get(label, 0.0) for label in range(len(dataset.classes))) if weights else ()
    count = len(dataset.value_names)
    return Objective(count, settings.value_loss, settings.value_weight, settings.label_smoothing, each)


def quality(dataset: Dataset) -> str:
    """Return the name of the metric by which epochs are compared: ccc where a net predicts values, else accuracy."""
    return "accuracy" if dataset.values is None else "ccc"


def metrics(objective: Objective, outputs: int) -> list[keras.metrics.Metric]:
    """Return the metrics of a net with `outputs` outputs: the accuracy, if it predicts classes, and the mean CCC."""
    found: list[keras.metrics.Metric] = [Concordance(objective.values)]
    return [LabelledAccuracy(objective.values), *found] if outputs > objective.values else found


class LabelledAccuracy(keras.metrics.Metric):
    """The accuracy on the images that have a class."""

    def __init__(self, values: int, name: str = "accuracy") -> None:
        super().__init__(name=name)
        self.values = values
        self.right = self.add_variable((), "zeros", name="right")
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count the right predictions of a batch."""
        labels, (probabilities, _) = tf.cast(y_true[:, 0], tf.int64), _of_every_class(y_pred[:, : -self.values])
        present = tf.cast(labels >= 0, tf.float32)
        right = tf.cast(tf.argmax(probabilities, axis=1) == labels, tf.float32)
        self.right.assign_add(tf.reduce_sum(present * right))
        self.count.assign_add(tf.reduce_sum(present))

    def result(self) -> Any:
        """Return the share of right predictions."""
        return self.right / tf.maximum(self.count, 1.0)


class Concordance(keras.metrics.Metric):
    """The mean over the values of Lin's concordance correlation coefficient, over all images that have the value."""

    def __init__(self, values: int, name: str = "ccc") -> None:
        super().__init__(name=name)
        self.values = values
        # The count, and the sums of truth, prediction, their squares and their product, for each value.
        self.sums = self.add_variable((6, values), "zeros", name="sums")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add the moments of a batch."""
        present, truth = _present(tf.cast(y_true[:, 1:], tf.float32))
        predicted = tf.cast(y_pred[:, -self.values :], tf.float32)
        terms = (tf.ones_like(truth), truth, predicted, truth**2, predicted**2, truth * predicted)
        self.sums.assign_add(tf.stack([tf.reduce_sum(present * term, axis=0) for term in terms]))

    def result(self) -> Any:
        """Return the mean coefficient."""
        sums = tf.convert_to_tensor(self.sums)
        count = tf.maximum(sums[0], 1.0)
        true, predicted, true2, predicted2, product = (sums[i] / count for i in range(1, 6))
        spread = true2 - true**2 + predicted2 - predicted**2
        return tf.reduce_mean(2 * (product - true * predicted) / (spread + (true - predicted) ** 2 + EPSILON))


def measured(objective: Objective, targets: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Return the metrics and the loss of predictions for whole splits, by name."""
    found = {}
    for metric in metrics(objective, outputs.shape[1]):
        metric.update_state(tf.constant(targets), tf.constant(outputs))
        found[metric.name] = float(metric.result())
    return found | {"loss": float(objective(tf.constant(targets), tf.constant(outputs))[0])}


def _present(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return which values are there, as 1.0 and 0.0, and the values with 0 in place of NaN."""
    is_there = tf.math.is_finite(values)
    return tf.cast(is_there, tf.float32), tf.where(is_there, values, tf.zeros_like(values))


def _of_every_class(probabilities: tf.Tensor) -> tuple[tf.Tensor, int]:
    """Return the probability of every class, [B, classes], and the number of classes."""
    if probabilities.shape[1] == 1:
        return tf.concat([1 - probabilities, probabilities], axis=1), 2
    return probabilities, int(probabilities.shape[1])
