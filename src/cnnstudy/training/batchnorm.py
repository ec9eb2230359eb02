"""BatchNorm's statistics: re-estimated after training, or taken from the batch with dropout off.

A net trained for few updates can have learnt its task and still answer one class for everything, because its moving
averages have not settled. Re-estimation puts the exact statistics of the training images in their place.
"""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

Batches = Callable[[], Iterator[np.ndarray | tf.Tensor]]

# Activations of the whole training set are kept between layers where they take at most this much, else computed anew:
# enough for a thousand small images, and too little for memory to grow with the data.
KEPT_BYTES = 160 << 20


def recalibrate(model: keras.Sequential, batches: Batches) -> np.ndarray:
    """Set every BatchNorm's mean and variance to those of the training images, in place, weights untouched.

    `batches` starts a pass over the training images, float32 [B, H, W, 3]. Layer by layer from the input up, since the
    statistics of a layer depend on the corrected layers before it; dropout is off; sums are streamed in float64.
    Frozen layers keep theirs, which what comes after them was trained with.

    Returns:
        What the net then answers to those images, float32 [n, outputs].
    """
    start = 0
    for index, layer in enumerate(model.layers):
        if not _takes_batch_statistics(layer):
            continue
        moments = _Moments()
        kept: list[tf.Tensor] | None = []
        for batch in batches():
            inputs = forward(model.layers[start:index], batch)
            moments.add(inputs)
            kept = _kept(kept, inputs)
        layer.moving_mean.assign(moments.mean)
        layer.moving_variance.assign(moments.variance)
        if kept is not None:
            batches, start = kept.__iter__, index
    return np.concatenate([forward(model.layers[start:], batch).numpy() for batch in batches()])


def statistics(model: keras.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of every BatchNorm."""
    return [(each.moving_mean.numpy(), each.moving_variance.numpy()) for each in _norms(model)]


def put_statistics(model: keras.Sequential, moments: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Set mean and variance of every BatchNorm."""
    for layer, (mean, variance) in zip(_norms(model), moments, strict=True):
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


def _norms(model: keras.Sequential) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def forward(layers: list[keras.Layer], inputs: np.ndarray | tf.Tensor) -> tf.Tensor:
    """Inference through some layers, one after another."""
    outputs = tf.convert_to_tensor(inputs)
    for layer in layers:
        outputs = layer(outputs, training=False)
    return outputs


def forward_with_batch_statistics(layers: list[keras.Layer], inputs: np.ndarray | tf.Tensor) -> tf.Tensor:
    """As in training: BatchNorm takes mean and variance from the batch; but dropout is off and nothing is updated."""
    outputs = tf.convert_to_tensor(inputs)
    for layer in layers:
        is_by_batch = _takes_batch_statistics(layer)
        outputs = layer.by_batch(outputs) if is_by_batch else layer(outputs, training=False)
    return outputs


def in_graph(function: Callable[..., tf.Tensor], *inputs: tf.TensorSpec) -> Callable[..., tf.Tensor]:
    """The function as one graph, traced once however many images come at a time.

    TensorFlow joins in it what it does one by one outside: a convolution, its bias, BatchNorm and ReLU.
    """
    # Without AutoGraph, which has nothing to rewrite here and needs room on the disk for what it writes.
    graph: Callable[..., tf.Tensor] = tf.function(function, input_signature=inputs, autograph=False)
    return graph


def _takes_batch_statistics(layer: keras.Layer) -> bool:
    """Whether it is a BatchNorm that does so in training: frozen ones take the moving statistics there too."""
    return isinstance(layer, keras.layers.BatchNormalization) and layer.trainable


class _Moments:
    """Mean and (population) variance of the last axis, streamed by Chan et al.'s update."""

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
    """The mean over all axes but the last, float64; along an image's rows, which are short, in float32."""
    if len(values.shape) > 2:
        values = tf.reduce_mean(values, axis=-2)
    values = tf.cast(values, tf.float64)
    return tf.reduce_mean(values, axis=list(range(len(values.shape) - 1)))


def _kept(kept: list[tf.Tensor] | None, inputs: tf.Tensor) -> list[tf.Tensor] | None:
    """`kept` and `inputs`, or None where they would take too much."""
    if kept is None:
        return None
    kept.append(inputs)
    return kept if sum(tensor.dtype.size * int(tf.size(tensor)) for tensor in kept) <= KEPT_BYTES else None
