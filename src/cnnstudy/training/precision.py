"""The numeric precision of training. Stored weights and predictions are always float32."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from cnnstudy.config.schema import Precision
from cnnstudy.models import replicas
from cnnstudy.models.assemble import CONVOLUTIONS, TF32
from cnnstudy.training.environment import cpu_features

# Features of CPUs with instructions for bfloat16, on which convolutions train faster in bfloat16. With these a step of
# 16 images of 64 px on one core takes 0.48 to 0.76 of its time in float32 with AMX, and 0.63 to 0.88 with AVX-512's
# BF16 alone (the four nets of the report).
BFLOAT16 = {"amx_bf16", "avx512_bf16"}


def policy(setting: Precision) -> str:
    """Return the dtype policy (see cnnstudy.models.assemble) that a setting means on this machine.

    `auto` is mixed_bfloat16 on GPUs of compute capability 8 and above, mixed_float16 on GPUs from 7, bfloat16 on CPUs
    with instructions for it, and otherwise float32. On a CPU only convolutions use bfloat16, since nothing else is
    faster in it. `tf32` is float32 whose products a GPU rounds to 10 bits; a CPU has none. Variables are float32 under
    every policy.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if setting == "bfloat16" and not gpus:
        return CONVOLUTIONS
    if setting == "tf32":
        return TF32 if gpus else "float32"
    if setting != "auto":
        return setting if setting == "float32" else f"mixed_{setting}"
    if gpus:
        devices = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return gpu_policy(min(details.get("compute_capability", (0, 0)) for details in devices))
    return "float32" if BFLOAT16.isdisjoint(cpu_features()) else CONVOLUTIONS


@contextmanager
def products(policy: str) -> Iterator[None]:
    """Let a GPU multiply in TF32 within the block, if the policy is `TF32`."""
    tf.config.experimental.enable_tensor_float_32_execution(policy == TF32)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(False)


def gpu_policy(capability: tuple[int, int]) -> str:
    """Return the dtype policy that `auto` means on GPUs of a compute capability."""
    return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16" if capability >= (7, 0) else "float32"


def product_dtype(policy: str) -> str:
    """Return the dtype of Muon's products of kernels under a policy: bfloat16 if that is faster, otherwise float32.

    On a CPU only AMX makes them faster: with AVX-512's BF16 alone, and convolutions in bfloat16, a step with Muon takes
    346 ms for a net of one convolution and 121 ms for one of five, but 207 and 104 ms with products in float32.
    """
    is_faster = tf.config.list_physical_devices("GPU") or "amx_bf16" in cpu_features()
    return "bfloat16" if "bfloat16" in policy and is_faster else "float32"


def scaled(optimizer: keras.optimizers.Optimizer, policy: str) -> keras.optimizers.Optimizer:
    """Return the optimizer, with loss scaling if small gradients would vanish (Micikevicius et al. 2018)."""
    return LossScale(optimizer) if policy == "mixed_float16" else optimizer


class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras's loss scaling, but with the mean of the replicas' gradients.

    Keras checks only the first replica's gradients for overflow; the mean shows an overflow in any replica.
    """

    def apply(self, grads: list[tf.Tensor], trainable_variables: list[keras.Variable] | None = None) -> None:
        """Average the gradients over the replicas, then apply them as Keras does, which sums them over the replicas.

        All replicas then skip a step with an overflow.
        """
        super().apply(replicas.reduced(tf.distribute.ReduceOp.MEAN, grads), trainable_variables)
