"""What the benchmarks count."""

import json
import os
import subprocess
import sys
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


def test_a_stage_s_time_is_found_by_what_its_stack_shows(tmp_path: Path) -> None:
    """All of it, and most of it where it was spent, of each of two processes that a stage has."""
    stage = tmp_path / "cnnstudy" / "export" / "busy.py"
    stage.parent.mkdir(parents=True)
    stage.write_text(
        "import sys, time\n"
        "def busy():\n    while time.process_time() < 1:\n        sum(range(1000))\n"
        "busy()\nprint(time.process_time())\n"
    )
    environment = {"PYTHONPATH": str(BENCH / "hook"), "CNNSTUDY_BENCH": str(tmp_path), "DVC_STAGE": "busy"}
    command = [sys.executable, str(stage), "one"]
    took = [
        float(subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True).stdout)
        for _ in range(2)
    ]
    found = [json.loads(file.read_text()) for file in tmp_path.glob("busy *.json")]
    assert sum(sum(each.values()) for each in found) == pytest.approx(sum(took), abs=0.6)
    assert [each["export for phones"] > 0.6 for each in found] == [True, True]
