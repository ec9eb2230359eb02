"""Which numbers a net is trained in. What is kept, and what predicts, is float32 always."""

import keras
import tensorflow as tf

from cnnstudy.params import Net, Precision
from cnnstudy.training.environment import cpu_features

# bfloat16 arithmetic: AVX-512 BF16 and AMX.
BFLOAT16_FEATURES = {"avx512_bf16", "amx_bf16"}
# Nets that it trains faster on a CPU. Milliseconds a step of 16 images of 64 px on 2 cores with AVX-512 BF16, float32
# and bfloat16: xraynet of five layers 254 and 102, of one 151 and 139; alexnet 56 and 63, vggnet 127 and 105,
# mobilenet 127 and 127.
FASTER_IN_BFLOAT16 = {"xraynet"}


def policy(setting: Precision, net: Net) -> str:
    """The Keras policy that a setting means on this machine; variables are float32 under each.

    `auto` is mixed_bfloat16 on GPUs of compute capability 8 and above, mixed_float16 on those from 7, and on CPUs
    with bfloat16 arithmetic mixed_bfloat16 for the nets that gain by it; else float32.
    """
    if setting != "auto":
        return setting if setting == "float32" else f"mixed_{setting}"
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return gpu_policy(min(each.get("compute_capability", (0, 0)) for each in details))
    is_faster = net in FASTER_IN_BFLOAT16 and BFLOAT16_FEATURES & set(cpu_features())
    return "mixed_bfloat16" if is_faster else "float32"


def gpu_policy(capability: tuple[int, int]) -> str:
    """The policy that `auto` means on GPUs of a compute capability."""
    return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16" if capability >= (7, 0) else "float32"


def scaled(optimizer: keras.optimizers.Optimizer, policy: str) -> keras.optimizers.Optimizer:
    """The optimizer, with its loss scaled where small gradients would vanish (Micikevicius et al. 2018)."""
    return keras.optimizers.LossScaleOptimizer(optimizer) if policy == "mixed_float16" else optimizer
