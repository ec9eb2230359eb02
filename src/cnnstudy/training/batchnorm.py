"""BatchNorm's statistics: re-estimated after training, or taken from the batch with dropout off.

A net trained for few updates can have learnt its task and still predict one class for every image, because its moving
averages have not converged. Re-estimation replaces them by the exact statistics of the training images.
"""

from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from cnnstudy.models import graph
from cnnstudy.models.graph import Graph, Step, Values

# Activations are cached between layers up to this many bytes, and otherwise computed again: enough for two thousand
# small images, and too little for memory to grow with the data.
CACHED_BYTES = 320 << 20


def recalibrate(net: Graph, batches: Sequence[Callable[[], np.ndarray]]) -> np.ndarray:
    """Set every BatchNorm's mean and variance, in place, to those of the training images; weights do not change.

    `batches` are functions that load a batch of training images, float32 [B, H, W, 3]. Layers are processed in order
    from the input up, since the statistics of a layer depend on the corrected layers before it. Dropout is off, and
    sums are streamed in float64. Frozen layers keep their statistics, since the later layers were trained with these.

    Returns:
        The net's outputs for the training images after the re-estimation, float32 [n, outputs].
    """
    activations = _Activations(net, batches)
    for index, step in enumerate(net.steps):
        if not _takes_batch_statistics(step):
            continue
        moments = _Moments()
        for values in activations.before(index):
            moments.add(values[step.inputs[0]])
        step.operation.moving_mean.assign(moments.mean)
        step.operation.moving_variance.assign(moments.variance)
    return np.concatenate([values[net.output].numpy() for values in activations.before(len(net.steps))])


def statistics(model: keras.Model) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the moving mean and variance of every BatchNorm."""
    return [(layer.moving_mean.numpy(), layer.moving_variance.numpy()) for layer in _norms(model)]


def set_statistics(model: keras.Model, moments: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Set the moving mean and variance of every BatchNorm."""
    for layer, (mean, variance) in zip(_norms(model), moments, strict=True):
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


def _norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def forward_with_batch_statistics(net: Graph, inputs: tf.Tensor) -> tf.Tensor:
    """Return the outputs with BatchNorm's mean and variance from the batch, as in training.

    Unlike in training dropout is off, and no variable is updated.
    """

    def by_batch(step: Step, values: Values) -> tf.Tensor | None:
        return step.operation.by_batch(values[step.inputs[0]]) if _takes_batch_statistics(step) else None

    return graph.run(net.steps, {net.input: inputs}, {net.output}, by_batch)[net.output]


def in_graph(function: Callable[..., tf.Tensor], *inputs: tf.TensorSpec) -> Callable[..., tf.Tensor]:
    """Return a function as one TensorFlow graph, traced once for every batch size.

    In a graph TensorFlow fuses a convolution, its bias, BatchNorm and ReLU; otherwise these are separate operations.
    """
    # AutoGraph has nothing to rewrite here, and needs space on the disk for the code that it writes.
    traced: Callable[..., tf.Tensor] = tf.function(function, input_signature=inputs, autograph=False)
    return traced


def _takes_batch_statistics(step: Step) -> bool:
    """Return whether a step is a BatchNorm that uses batch statistics in training: one that is not frozen."""
    return isinstance(step.operation, keras.layers.BatchNormalization) and step.operation.trainable


class _Activations:
    """The activations of all batches before a step; up to `CACHED_BYTES` are cached to compute later ones from."""

    def __init__(self, net: Graph, batches: Sequence[Callable[[], np.ndarray]]) -> None:
        self.net, self.batches = net, batches
        self.kept: dict[int, tuple[int, Values]] = {}  # by batch number: a step, and the values before it
        self.bytes = 0

    def before(self, index: int) -> Iterator[Values]:
        """Yield for each batch the values that the steps from `index` on need; `index` must grow from call to call."""
        needed = self.net.needed(index)
        for number, load in enumerate(self.batches):
            start, values = self.kept.get(number) or (0, {self.net.input: tf.convert_to_tensor(load())})
            freed = _bytes(values) if start else 0
            values = graph.run(self.net.steps[start:index], values, needed)
            if self.bytes - freed + _bytes(values) <= CACHED_BYTES:
                self.bytes += _bytes(values) - freed
                self.kept[number] = index, values
            yield values


class _Moments:
    """Mean and population variance along the last axis, streamed by the update of Chan et al."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: np.ndarray | float = 0.0
        self.squares: np.ndarray | float = 0.0

    def add(self, batch: tf.Tensor) -> None:
        count = int(tf.size(batch)) // batch.shape[-1]
        mean = _mean(batch)
        squares = _mean(tf.math.squared_difference(batch, tf.cast(mean, batch.dtype))).numpy() * count
        delta, total = mean.numpy() - self.mean, self.count + count
        self.squares = self.squares + squares + delta**2 * (self.count * count / total)
        self.mean = self.mean + delta * (count / total)
        self.count = total

    @property
    def variance(self) -> np.ndarray:
        assert self.count
        return np.asarray(self.squares / self.count)


def _mean(values: tf.Tensor) -> tf.Tensor:
    """Return the mean over all axes but the last, in float64, except along the short rows of images (float32)."""
    if len(values.shape) > 2:
        values = tf.reduce_mean(values, axis=-2)
    values = tf.cast(values, tf.float64)
    return tf.reduce_mean(values, axis=list(range(len(values.shape) - 1)))


def _bytes(values: Values) -> int:
    return sum(tensor.dtype.size * int(tf.size(tensor)) for tensor in values.values())
