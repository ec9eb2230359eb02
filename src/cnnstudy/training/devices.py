"""The devices that a net trains on, and whether XLA compiles its training steps."""

from functools import cache

import tensorflow as tf

from cnnstudy.config.schema import Jit
from cnnstudy.errors import UserError
from cnnstudy.models.assemble import Design, kinds


@cache  # several strategies in one process mix up their sums
def strategy(devices: tuple[tf.config.LogicalDevice, ...] = ()) -> tf.distribute.Strategy:
    """Return TensorFlow's default strategy, or for several devices (all visible GPUs) one with a replica on each.

    A replica trains on its share of every batch, with BatchNorm's statistics of that share; the gradients are summed.
    """
    names = [device.name for device in devices or tf.config.list_logical_devices("GPU")]
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()


def compiles(setting: Jit, design: Design) -> bool:
    """Return whether XLA compiles a net's training steps.

    `auto` compiles nothing on a CPU, where a compiled step takes 4 to 7 times as long. On a GPU it compiles nets
    without max pooling, whose gradient is not deterministic in XLA, and without depthwise convolutions: with these, a
    step of 100 images of 128 px on an H200 took 13 ms in float32 (rounded to TF32) and in bfloat16, but 61 and 44 ms
    when compiled.

    Raises:
        UserError: the setting is `on`, for a net with max pooling on a GPU, or for any net on several GPUs.
    """
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    if strategy().num_replicas_in_sync > 1:
        # Keras gives XLA the step of all replicas as one program, which can't have variables of several devices.
        if setting == "on":
            raise UserError("params.yaml: compute.jit: on found; allowed: auto or off on several GPUs")
        return False
    if not has_gpu:
        return setting == "on"
    layers = kinds(design)
    pools = any(name.startswith("MaxPooling") for name in layers)
    if setting == "on" and pools:
        raise UserError(
            "params.yaml: compute.jit: on found; allowed: auto or off on a GPU for a net with max pooling, "
            "whose gradient is not deterministic in XLA"
        )
    if setting != "auto":
        return setting == "on"
    return not pools and not any("Depthwise" in name or "Separable" in name for name in layers)
