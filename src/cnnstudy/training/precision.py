"""Which numbers a net is trained in. What is kept, and what predicts, is float32 always."""

import keras
import tensorflow as tf

from cnnstudy.nets.build import CONVOLUTIONS
from cnnstudy.params import Net, Precision
from cnnstudy.training.environment import cpu_features

# Nets whose convolutions a CPU with this feature trains faster in bfloat16. Milliseconds of a step for 16 images of
# 64 px on one core with AMX, in float32 and with convolutions in bfloat16: alexnet 47 and 30; vggnet 63 and 45;
# mobilenet 82 and 62; xraynet of five layers 210 and 100. With AVX-512 BF16 alone, on two cores, before BatchNorm and
# pointwise convolutions were faster, float32 and all in bfloat16: xraynet 254 and 102; alexnet 56 and 63, vggnet 127
# and 105, mobilenet 127 and 127.
FASTER_IN_BFLOAT16 = {"amx_bf16": {"alexnet", "vggnet", "mobilenet", "xraynet"}, "avx512_bf16": {"xraynet"}}


def policy(setting: Precision, net: Net) -> str:
    """The policy of cnnstudy.nets.build that a setting means on this machine; variables are float32 under each.

    `auto` is mixed_bfloat16 on GPUs of compute capability 8 and above, mixed_float16 on those from 7, and on CPUs
    with bfloat16 arithmetic bfloat16 for the nets that gain by it; else float32. On a CPU bfloat16 is for convolutions:
    all else is not faster in it, or slower.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if setting == "bfloat16" and not gpus:
        return CONVOLUTIONS
    if setting != "auto":
        return setting if setting == "float32" else f"mixed_{setting}"
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return gpu_policy(min(each.get("compute_capability", (0, 0)) for each in details))
    gaining = [FASTER_IN_BFLOAT16.get(feature, set()) for feature in cpu_features()]
    return CONVOLUTIONS if net in set().union(*gaining) else "float32"


def gpu_policy(capability: tuple[int, int]) -> str:
    """The policy that `auto` means on GPUs of a compute capability."""
    return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16" if capability >= (7, 0) else "float32"


def scaled(optimizer: keras.optimizers.Optimizer, policy: str) -> keras.optimizers.Optimizer:
    """The optimizer, with its loss scaled where small gradients would vanish (Micikevicius et al. 2018)."""
    return LossScale(optimizer) if policy == "mixed_float16" else optimizer


class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras's, which asks the first replica alone whether gradients are numbers: here they are summed before that."""

    def apply(self, grads: list[tf.Tensor], trainable_variables: list[keras.Variable] | None = None) -> None:
        """Sum the replicas' gradients, and go on as Keras does: a step with an overflow is skipped by all of them."""
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            grads = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, grads)
            self.inner_optimizer.is_summed = True
        super().apply(grads, trainable_variables)
