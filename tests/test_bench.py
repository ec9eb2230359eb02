"""Counts in the benchmarks."""

from pathlib import Path

import keras
import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def _bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCH)


@pytest.mark.usefixtures("_bench")
def test_operations_are_counted_by_layer() -> None:
    import steps

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, 2, "same"),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    forward = 16 * 9 * 3 * 4 + 16 * 9 * 4 + 64 * 2
    assert steps.operations(model) == 3 * 2 * forward
