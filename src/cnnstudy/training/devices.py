"""On which devices a net trains, and whether XLA compiles its steps."""

from functools import cache

import tensorflow as tf

from cnnstudy.config.schema import Jit
from cnnstudy.errors import UserError
from cnnstudy.nets import specs


@cache  # several in a process mistake one another's sums
def strategy(devices: tuple[tf.config.LogicalDevice, ...] = ()) -> tf.distribute.Strategy:
    """TensorFlow's default; where there are several devices (all GPUs that it sees), a copy of the net on each.

    A copy takes its share of every batch, and BatchNorm's statistics from that share; the gradients are summed.
    """
    names = [each.name for each in devices or tf.config.list_logical_devices("GPU")]
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()


def compiles(setting: Jit, layers: tuple[specs.Layer, ...]) -> bool:
    """Whether XLA compiles a net's steps.

    `auto` never does on a CPU, where a step takes 4 to 7 times as long then. On a GPU it does for nets without max
    pooling, whose gradient is not deterministic in XLA, and without depthwise convolutions: mobilenet's step of 100
    images of 128 px took an H200 13 ms in float32 (rounded to TF32) and in bfloat16, compiled 61 and 44. Each of the
    studies' nets has one or the other.

    Raises:
        UserError: `on`, for a net with max pooling on a GPU, or for any on several.
    """
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    if strategy().num_replicas_in_sync > 1:
        # Keras gives XLA the step of all copies as one program, which can't have variables of several devices.
        if setting == "on":
            raise UserError("params.yaml: compute.jit: on found; allowed: auto or off on several GPUs")
        return False
    pools = any(isinstance(each, specs.MaxPool) for each in layers)
    if setting == "on" and has_gpu and pools:
        raise UserError(
            "params.yaml: compute.jit: on found; allowed: auto or off on a GPU for a net with max pooling, "
            "of which XLA has no deterministic gradient"
        )
    if setting != "auto":
        return setting == "on"
    return has_gpu and not pools and not any(isinstance(each, specs.Depthwise) for each in layers)
