"""Layers like Keras's, with the same weights and names, that train with a faster operation of TensorFlow."""

from collections.abc import Iterator
from functools import reduce
from itertools import product

import keras
import tensorflow as tf

from cnnstudy.models import replicas


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's BatchNormalization, with one operation instead of a dozen for batch statistics, scaling and shift.

    The operation saves a seventh to a quarter of a gradient's time (one core; three nets at 64 px). On a CPU it also
    saves time in prediction, where TensorFlow fuses it with the convolution before it.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        """Normalize values [..., C]; in training, update the moving statistics as Keras does."""
        if not (training and self.trainable):
            # Grad-CAM needs a gradient here, and on a GPU the operation has no deterministic one.
            if tf.config.list_physical_devices("GPU"):
                return super().call(inputs, training=training, mask=mask)
            return self._normalized(inputs, self.moving_mean, self.moving_variance)[0]
        outputs, mean, variance = self._normalized(inputs)
        # The operation's variance is an unbiased estimate.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance * tf.maximum(count - 1, 1) / count)
        return outputs

    def by_batch(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalize values [..., C] by batch statistics, without an update of the moving ones."""
        return self._normalized(inputs)[0]

    def _normalized(self, inputs: tf.Tensor, *moments: keras.Variable) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the inputs normalized by the given moments or by those of the batch, and the moments."""
        values = tf.cast(inputs, tf.float32)  # as Keras does under a mixed policy
        channels = values.shape[-1]
        pixels = values if len(values.shape) == 4 else tf.reshape(values, (-1, 1, 1, channels))
        scale = self.gamma if self.scale else tf.ones(channels)
        offset = self.beta if self.center else tf.zeros(channels)
        mean, variance = moments or ([], [])
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=pixels, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=self.epsilon,
            is_training=not moments,
        )  # fmt: skip
        outputs = outputs if len(values.shape) == 4 else tf.reshape(outputs, tf.shape(values))
        return tf.cast(outputs, self.compute_dtype), mean, variance

    def _follow(self, moving: keras.Variable, value: tf.Tensor) -> None:
        # All replicas of a net have the same moving statistics, so that any of them can be saved.
        (value,) = replicas.reduced(tf.distribute.ReduceOp.MEAN, [value])
        moving.assign(moving * self.momentum + value * (1 - self.momentum))


class Conv2D(keras.layers.Conv2D):
    """Keras's Conv2D, but 1 x 1 convolutions are trained as matrix products.

    oneDNN's convolutions reorder the weights in memory, forward and back, which is most of the work of a 1 x 1
    convolution. Without reordering, the gradient of a net of 1 x 1 convolutions takes three quarters of the time in
    bfloat16, and nine tenths in float32. With strides and fewer than 16 channels oneDNN's gradient also writes past its
    memory and crashes the process (uxlfoundation/oneDNN, issue 6035).
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Convolve inputs [B, H, W, C] to [B, H', W', filters]."""
        if not training or self.kernel_size != (1, 1) or self.groups != 1:
            return super().call(inputs)
        if self.strides != (1, 1):
            rows, columns = self.strides
            inputs = inputs[:, ::rows, ::columns]
        outputs = tf.tensordot(inputs, tf.reshape(self.kernel, self.kernel.shape[-2:]), 1)
        return self.activation(outputs + self.bias if self.use_bias else outputs)


class MaxPooling2D(keras.layers.MaxPooling2D):
    """Keras's MaxPooling2D, but trained as a maximum of shifted images; for steps that XLA compiles.

    XLA has no deterministic gradient of TensorFlow's operation on a GPU. The maximum's gradient is deterministic and
    goes to the same pixel, the first of equal ones, and XLA fuses it with the operations around it.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Pool inputs [B, H, W, C] to [B, H', W', C]."""
        if not training or self.data_format != "channels_last":
            return super().call(inputs)
        windows = _shifted(inputs, self.pool_size, self.strides, self.padding, inputs.dtype.min)
        return reduce(tf.maximum, (window for _, window in windows))


class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """Keras's DepthwiseConv2D, but trained as a sum of shifted products; for steps that XLA compiles.

    XLA compiles the sum and its gradients to few operations, where TensorFlow's own gradients are slow on a GPU.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Convolve inputs [B, H, W, C] to [B, H', W', C]; products are summed in float32."""
        is_plain = self.data_format == "channels_last" and self.depth_multiplier == 1
        if not training or not is_plain or self.dilation_rate != (1, 1):
            return super().call(inputs)
        kernel = tf.cast(self.kernel, tf.float32)[..., 0]
        windows = _shifted(inputs, self.kernel_size, self.strides, self.padding, 0)
        products = (tf.cast(window, tf.float32) * kernel[place] for place, window in windows)
        outputs = tf.cast(reduce(tf.add, products), inputs.dtype)
        return self.activation(outputs + self.bias if self.use_bias else outputs)


def _shifted(
    images: tf.Tensor, size: tuple[int, int], strides: tuple[int, int], padding: str, outside: float
) -> Iterator[tuple[tuple[int, int], tf.Tensor]]:
    """Yield each place in a window, row by row, and the pixels [B, H', W', C] that are there in all windows.

    With the padding `same`, `outside` is the value around the images [B, H, W, C], as TensorFlow places it.
    """
    sides = images.shape[1:3]
    counts = [
        -(-side // stride) if padding == "same" else (side - length) // stride + 1
        for side, length, stride in zip(sides, size, strides, strict=True)
    ]
    if padding == "same":
        missing = [
            max((count - 1) * stride + length - side, 0)
            for count, stride, length, side in zip(counts, strides, size, sides, strict=True)
        ]
        around = [[0, 0], *([each // 2, each - each // 2] for each in missing), [0, 0]]
        images = tf.pad(images, around, constant_values=tf.cast(outside, images.dtype))
    (rows, columns), (down, across) = counts, strides
    for top, left in product(range(size[0]), range(size[1])):
        bottom, right = top + (rows - 1) * down + 1, left + (columns - 1) * across + 1
        yield (top, left), images[:, top:bottom:down, left:right:across]
