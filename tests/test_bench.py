"""What the benchmarks count."""

from pathlib import Path

import pytest

from cnnstudy.nets import specs

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def _bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCH)


@pytest.mark.usefixtures("_bench")
def test_operations_are_counted_by_layer() -> None:
    import steps

    layers = (
        specs.Conv(4, 3, stride=2),
        specs.BatchNorm(),
        specs.Relu(),
        specs.Depthwise(),
        specs.Flatten(),
        specs.Dense(2),
    )
    forward = 16 * 9 * 3 * 4 + 16 * 9 * 4 + 64 * 2
    assert steps.operations(layers, 8) == 3 * 2 * forward
