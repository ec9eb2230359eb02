"""A net's training step as cnnstudy makes it; a worker of bench/steps.py."""

import sys
from typing import cast

import steps

from cnnstudy.config.schema import Precision
from cnnstudy.training import environment


def main(net: str, dtype: str, batch: str, threads: str) -> None:
    """Serve steps of a net in a precision."""
    environment.configure(int(threads))
    import numpy as np
    import tensorflow as tf

    from cnnstudy.models import assemble
    from cnnstudy.training import devices, precision
    from cnnstudy.training.optimizers import Adam

    design, count = steps.design(net), int(batch)
    policy = precision.policy(cast(Precision, dtype))
    tf.config.experimental.enable_tensor_float_32_execution(dtype == "tf32")
    rng = np.random.default_rng(0)
    images = tf.constant(rng.random((count, design.side, design.side, 3), np.float32))
    labels = tf.constant(rng.integers(0, 2, (count, 1)).astype(np.float32))
    compiled = devices.compiles("auto")
    model = assemble.build(design, 0, policy, is_compiled=compiled)
    loss = "binary_crossentropy" if net == "xraynet" else "sparse_categorical_crossentropy"
    model.compile(Adam(1e-3), loss, jit_compile=compiled)
    step = tf.function(lambda: model.train_step((images, labels)), jit_compile=compiled, autograph=False)

    gpus = tf.config.list_physical_devices("GPU")
    side = 8192 if gpus else 2048
    square = tf.cast(tf.random.normal((side, side)), tf.float32 if dtype == "float32" else tf.bfloat16)

    def peak() -> float:
        return steps.peak_of(lambda: (square @ square)[0, 0].numpy(), side)

    steps.serve(lambda: step()["loss"], float, peak)


if __name__ == "__main__":
    main(*sys.argv[1:])
