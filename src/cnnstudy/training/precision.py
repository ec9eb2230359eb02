"""Which numbers a net is trained in. What is kept, and what predicts, is float32 always."""

import keras
import tensorflow as tf

from cnnstudy.config.schema import Precision
from cnnstudy.nets import copies
from cnnstudy.nets.build import CONVOLUTIONS
from cnnstudy.training.environment import cpu_features

# Features of a CPU that multiplies bfloat16, and trains convolutions faster in it. Milliseconds of a step for 16 images
# of 64 px on one core, in float32 and with convolutions in bfloat16: with AMX alexnet 47 and 30, vggnet 63 and 45,
# mobilenet 82 and 62, xraynet of five layers 210 and 100; with AVX-512's BF16 alone 44 and 36, 50 and 41, 66 and 58,
# 164 and 104.
BFLOAT16 = {"amx_bf16", "avx512_bf16"}


def policy(setting: Precision) -> str:
    """The policy of cnnstudy.nets.build that a setting means on this machine; variables are float32 under each.

    `auto` is mixed_bfloat16 on GPUs of compute capability 8 and above, mixed_float16 on those from 7, bfloat16 on CPUs
    with arithmetic for it; else float32. On a CPU bfloat16 is for convolutions alone: all else is not faster in it.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if setting == "bfloat16" and not gpus:
        return CONVOLUTIONS
    if setting != "auto":
        return setting if setting == "float32" else f"mixed_{setting}"
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return gpu_policy(min(each.get("compute_capability", (0, 0)) for each in details))
    return "float32" if BFLOAT16.isdisjoint(cpu_features()) else CONVOLUTIONS


def gpu_policy(capability: tuple[int, int]) -> str:
    """The policy that `auto` means on GPUs of a compute capability."""
    return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16" if capability >= (7, 0) else "float32"


def of_products(policy: str) -> str:
    """What products of kernels are computed in under a policy: bfloat16 where that is faster, else float32.

    A CPU needs AMX for that: with AVX-512's BF16 alone, convolutions in bfloat16, a step with Muon takes 346 ms for
    xray-depth1 and 121 ms for xray-aug4, and 207 and 104 with its products in float32 (as above).
    """
    is_faster = tf.config.list_physical_devices("GPU") or "amx_bf16" in cpu_features()
    return "bfloat16" if "bfloat16" in policy and is_faster else "float32"


def scaled(optimizer: keras.optimizers.Optimizer, policy: str) -> keras.optimizers.Optimizer:
    """The optimizer, with its loss scaled where small gradients would vanish (Micikevicius et al. 2018)."""
    return LossScale(optimizer) if policy == "mixed_float16" else optimizer


class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras's, which asks the first replica alone whether gradients are numbers: here they are averaged before that."""

    def apply(self, grads: list[tf.Tensor], trainable_variables: list[keras.Variable] | None = None) -> None:
        """Average the replicas' gradients, and go on as Keras does, which takes the sum of these over the replicas.

        A step with an overflow is so skipped by all of them.
        """
        super().apply(copies.reduced(tf.distribute.ReduceOp.MEAN, grads), trainable_variables)
