"""The devices that a net trains on, and what is left to them: compiled steps, images in their memory, several steps."""

from functools import cache
from pathlib import Path

import tensorflow as tf

from cnnstudy.config.schema import Jit
from cnnstudy.errors import UserError

# The most bytes of a data set in a GPU's memory: 21,000 images of 128 px.
HELD = 1 << 30
# Training steps that a GPU runs in a row: enough to hide Python, and few enough for a checkpoint to be on time.
STEPS = 16


@cache  # several strategies in one process mix up their sums
def strategy(devices: tuple[tf.config.LogicalDevice, ...] = ()) -> tf.distribute.Strategy:
    """Return TensorFlow's default strategy, or for several devices (all visible GPUs) one with a replica on each.

    A replica trains on its share of every batch, with BatchNorm's statistics of that share; the gradients are summed.
    """
    names = [device.name for device in devices or tf.config.list_logical_devices("GPU")]
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()


def compiles(setting: Jit) -> bool:
    """Return whether XLA compiles the training steps.

    `auto` compiles on a GPU, where a step is otherwise hundreds of small operations, and not on a CPU, where a compiled
    step takes 4 to 7 times as long.

    Raises:
        UserError: the setting is `on`, and there are several GPUs.
    """
    if strategy().num_replicas_in_sync > 1:
        # Keras gives XLA the step of all replicas as one program, which can't have variables of several devices.
        if setting == "on":
            raise UserError("params.yaml: compute.jit: on found; allowed: auto or off on several GPUs")
        return False
    return has_gpu() if setting == "auto" else setting == "on"


def holds(images: Path) -> bool:
    """Return whether the training device keeps all images of a data set, those in a file, in its memory."""
    return has_gpu() and strategy().num_replicas_in_sync == 1 and images.stat().st_size <= HELD


def steps_at_once() -> int:
    """Return the number of training steps that the device runs without waiting for Python."""
    return STEPS if has_gpu() and strategy().num_replicas_in_sync == 1 else 1


def has_gpu() -> bool:
    """Return whether TensorFlow sees a GPU."""
    return bool(tf.config.list_logical_devices("GPU"))
