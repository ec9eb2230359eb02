"""Our Adam against Keras's, and Muon against the formulas."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnnstudy.training import optimizers as module
from cnnstudy.training.optimizers import Adam, Muon, _by_squares, _directly, is_matrix, orthogonal


def steps(optimizer: keras.optimizers.Optimizer, n: int = 20) -> list[np.ndarray]:
    """Return variables after n steps along fixed gradients, one of which is huge at first."""
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


@pytest.mark.parametrize("made", [lambda: Adam(0.01), lambda: Muon(0.01, 0.9, 0.99, 1e-3, 5.0)])
def test_its_loss_can_be_scaled(made: Callable[[], Adam]) -> None:
    scaled = steps(keras.optimizers.LossScaleOptimizer(made(), initial_scale=1.0, dynamic_growth_steps=10**6))
    for one, plain in zip(scaled, steps(made()), strict=True):
        assert one == pytest.approx(plain)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
def test_a_matrix_is_made_orthogonal(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    left, values, right = np.linalg.svd(orthogonal(tf.constant(matrix), "float32").numpy(), full_matrices=False)
    assert 0.6 < values.min() <= values.max() < 1.3
    whole = np.linalg.svd(matrix, full_matrices=False)
    np.testing.assert_allclose(left @ right, whole.U @ whole.Vh, atol=1e-3)
    half = orthogonal(tf.constant(matrix), "bfloat16").numpy()
    assert np.abs(half - left * values @ right).max() < 0.1


@pytest.mark.parametrize("shape", [(40, 8), (8, 40)])
def test_a_long_matrix_is_made_orthogonal_by_its_squares_as_directly(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape) @ np.diag(np.geomspace(1, 1e-4, shape[1]))
    start = tf.constant(matrix / np.linalg.norm(matrix), tf.float32)
    is_tall = shape[0] > shape[1]
    directly, by_squares = _directly(start[None], is_tall)[0], _by_squares(start[None], is_tall)[0]
    np.testing.assert_allclose(by_squares, directly, atol=1e-3)


@pytest.mark.parametrize("shape", [(20, 24), (20, 21), (9, 30)])
def test_a_wide_matrix_is_made_orthogonal_block_by_block(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 8)
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = orthogonal(tf.constant(matrix), "float32").numpy()
    assert found.shape == shape
    wide = -(-shape[1] // -(-shape[1] // 8))
    for start in range(0, shape[1], wide):
        alone = orthogonal(tf.constant(matrix[:, start : start + wide]), "float32").numpy()
        np.testing.assert_allclose(found[:, start : start + wide], alone, atol=1e-4)


def test_a_matrix_that_is_not_longer_than_a_block_is_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = tf.constant(np.random.default_rng(0).normal(size=(8, 40)), tf.float32)
    whole = orthogonal(matrix, "float32").numpy()
    monkeypatch.setattr(module, "BLOCK", 8)
    np.testing.assert_array_equal(orthogonal(matrix, "float32"), whole)


def test_only_long_matrices_go_by_their_squares_and_only_where_products_have_the_digits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long, square = tf.ones((40, 8)), tf.ones((8, 8))
    monkeypatch.setattr("cnnstudy.training.optimizers._by_squares", lambda matrix, is_tall: 0 * matrix)
    assert not orthogonal(long, "float32").numpy().any()
    assert orthogonal(square, "float32").numpy().any()
    assert orthogonal(long, "bfloat16").numpy().any()


def test_kernels_are_turned_and_all_else_is_adam_s() -> None:
    shapes = (3, 3, 4, 6), (4, 6), (3, 3, 5, 1), (6,)
    assert [is_matrix(shape) for shape in shapes] == [True, True, False, False]
    rng = np.random.default_rng(0)
    first = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    gradients = [tf.constant(rng.normal(size=shape), tf.float32) for shape in shapes]
    after = []
    for optimizer in (Adam(0.01, 0.9, 0.99, 1e-3), Muon(0.01, 0.9, 0.99, 1e-3, 5.0)):
        variables = [keras.Variable(value) for value in first]
        optimizer.build(variables)
        optimizer.apply(gradients, variables)
        after.append([each.numpy() for each in variables])
    for shape, start, gradient, adam, muon in zip(shapes, first, gradients, *after, strict=True):
        if is_matrix(shape):
            step = orthogonal(tf.reshape(gradient, (-1, shape[-1])), "float32").numpy().reshape(shape)
            expected = start - 0.05 * np.linalg.norm(start) * step / np.linalg.norm(step)
            np.testing.assert_allclose(muon, expected, atol=1e-5)
        else:
            np.testing.assert_array_equal(muon, adam)


def test_it_makes_a_function_small() -> None:
    target = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    kernel = keras.Variable(np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32))
    optimizer = Muon(keras.optimizers.schedules.CosineDecay(0.02, 100), 0.9, 0.99, 1e-3, 5.0)
    optimizer.build([kernel])
    for _ in range(100):
        optimizer.apply([tf.constant(kernel.numpy() - target)], [kernel])
    assert np.abs(kernel.numpy() - target).max() < 0.1
