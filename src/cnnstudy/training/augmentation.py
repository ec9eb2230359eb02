"""Augmentation of a batch on the training GPU: one transform rotates, shifts and flips each image."""

import keras
import numpy as np
import tensorflow as tf


class Augmentation(keras.layers.Layer):
    """A layer that scales uint8 images [B, H, W, 3] to float32 in [0, 1], and in training applies their transforms.

    The transforms [B, 8] are those of cnnstudy.data.augment. Pixels outside an image take the value of the nearest
    pixel. XLA lacks this operation: if XLA compiles, the four neighbours of each point are gathered instead. If the
    layer is given all images of the data set, uint8 [N, H, W, 3], it keeps them in the device's memory and takes ids,
    int32 [B], instead of images.
    """

    def __init__(self, is_augmenting: bool, is_compiled: bool, held: np.ndarray | None = None) -> None:
        super().__init__(dtype="float32", autocast=False)
        self.is_augmenting = is_augmenting
        # A constant, not a weight: checkpoints leave it out.
        self.held = None if held is None else tf.constant(held)
        self.transform = transformed_by_gathering if is_compiled else transformed

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Scale the images, and in training apply the transforms."""
        images, transforms = inputs
        if self.held is not None:
            images = tf.gather(self.held, images)
        scaled = tf.cast(images, tf.float32) / 255.0
        return self.transform(scaled, transforms) if training and self.is_augmenting else scaled


def transformed(images: tf.Tensor, transforms: tf.Tensor) -> tf.Tensor:
    """Return float images [B, H, W, C], each after its transform [B, 8], which maps output to input pixels."""
    outputs = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.ensure_shape(outputs, images.shape)


def transformed_by_gathering(images: tf.Tensor, transforms: tf.Tensor) -> tf.Tensor:
    """Return the result of `transformed`, for affine transforms only, by operations that XLA can compile."""
    height, width, channels = images.shape[1:]
    y, x = tf.meshgrid(tf.range(height, dtype=tf.float32), tf.range(width, dtype=tf.float32), indexing="ij")
    rows = transforms[:, :, None, None]
    across = tf.clip_by_value(rows[:, 0] * x + rows[:, 1] * y + rows[:, 2], 0.0, width - 1.0)
    down = tf.clip_by_value(rows[:, 3] * x + rows[:, 4] * y + rows[:, 5], 0.0, height - 1.0)
    left, top = tf.floor(across), tf.floor(down)
    pixels = tf.reshape(images, (-1, height * width, channels))

    def row_at(row: tf.Tensor) -> tf.Tensor:
        def at(column: tf.Tensor) -> tf.Tensor:
            places = tf.cast(row * width + tf.minimum(column, width - 1.0), tf.int32)
            return tf.gather(pixels, places, batch_dims=1)

        share = (across - left)[..., None]
        return (1 - share) * at(left) + share * at(left + 1)

    share = (down - top)[..., None]
    return (1 - share) * row_at(top) + share * row_at(tf.minimum(top + 1, height - 1.0))
