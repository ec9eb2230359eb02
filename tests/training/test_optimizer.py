"""Our Adam against Keras's."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnnstudy.training.optimizer import Adam


def steps(optimizer: keras.optimizers.Optimizer, n: int = 20) -> list[np.ndarray]:
    """What some variables are after n steps along fixed gradients, one of which is huge at first."""
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=shape).astype(np.float32)) for shape in ((3, 4), (5,))]
    optimizer.build(variables)
    update = tf.function(lambda gradients: optimizer.apply(gradients, variables), jit_compile=False)
    for step in range(n):
        scale = 1e3 if step == 0 else 1.0
        update([tf.constant(scale * rng.normal(size=each.shape), tf.float32) for each in variables])
    return [each.numpy() for each in variables]


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 0.001},
        {"learning_rate": 0.004, "beta_1": 0.95, "beta_2": 0.99, "epsilon": 1e-3},
        {"learning_rate": keras.optimizers.schedules.CosineDecay(0.0, 15, warmup_target=0.01, warmup_steps=5)},
    ],
)
def test_it_steps_as_keras_does(settings: dict[str, Any]) -> None:
    for ours, theirs in zip(steps(Adam(**settings)), steps(keras.optimizers.Adam(**settings)), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)


def test_its_loss_can_be_scaled() -> None:
    scaled = steps(keras.optimizers.LossScaleOptimizer(Adam(0.01), initial_scale=1.0, dynamic_growth_steps=10**6))
    for ours, plain in zip(scaled, steps(Adam(0.01)), strict=True):
        assert ours == pytest.approx(plain)
