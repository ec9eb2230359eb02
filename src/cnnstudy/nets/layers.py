"""Keras's layers where TensorFlow has a faster operation for what they do in training; the same weights and names."""

import keras
import tensorflow as tf

from cnnstudy.nets import copies


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's, in one operation for a batch's statistics, the scaling and the shift instead of a dozen.

    Of a gradient's time it saves a seventh to a quarter (one core; alexnet, vggnet and mobilenet at 64 px); of an
    answer's too, without a GPU, where TensorFlow joins it with the convolution before it.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        """Normalize [..., C], and in training follow the population's moments as Keras does."""
        if not (training and self.trainable):
            # On a GPU the operation has no deterministic gradient here, which Grad-CAM needs.
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
        """Normalize [..., C] by its own moments, and follow nothing."""
        return self._normalized(inputs)[0]

    def _normalized(self, inputs: tf.Tensor, *moments: keras.Variable) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Normalized by moments that are given or by the batch's; and those."""
        values = tf.cast(inputs, tf.float32)  # as Keras does where a net computes in half the bits
        pixels = values if len(values.shape) == 4 else values[:, None, None, :]
        mean, variance = moments or ([], [])
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=pixels, scale=self.gamma, offset=self.beta, mean=mean, variance=variance, epsilon=self.epsilon,
            is_training=not moments,
        )  # fmt: skip
        outputs = outputs if len(values.shape) == 4 else outputs[:, 0, 0, :]
        return tf.cast(outputs, self.compute_dtype), mean, variance

    def _follow(self, moving: keras.Variable, value: tf.Tensor) -> None:
        # All copies of a net follow the same, whichever is stored.
        (value,) = copies.reduced(tf.distribute.ReduceOp.MEAN, [value])
        moving.assign(moving * self.momentum + value * (1 - self.momentum))


class Conv2D(keras.layers.Conv2D):
    """Keras's; one of a single pixel is trained as the matrix product that it is.

    oneDNN's convolutions change the order of the weights in memory, forward and back, which for these is most of the
    work: without it mobilenet's gradient takes three quarters of the time in bfloat16, nine tenths in float32.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """[B, H, W, C] to [B, H', W', filters]."""
        is_plain = not self.use_bias and self.activation is keras.activations.linear
        if not (training and is_plain and self.kernel_size == self.strides == (1, 1)):
            return super().call(inputs)
        return tf.tensordot(inputs, tf.reshape(self.kernel, self.kernel.shape[-2:]), 1)
