"""Output of `cnnstudy latency`, without any measured time."""

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import params_with, write_export

from cnnstudy.errors import UserError
from cnnstudy.export import latency, results
from cnnstudy.export.litert import PRECISIONS, LiteRtNet
from cnnstudy.workspace import paths


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_net_of_params_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "open_net", lambda path: LiteRtNet(None, 32, 8))
    monkeypatch.setattr(latency, "timed", lambda net: np.arange(101) / 1000)
    latency.write_latency(params_with(("alexnet", "xray-aug0")))
    content = json.loads(paths.LATENCY.read_text())
    times = {each: {"median_ms": 50.0, "p95_ms": 95.0} for each in PRECISIONS}
    assert content["runs"] == {"alexnet": {"side": 32} | times}
    assert {"system", "machine", "cpu"} <= set(content["machine"])


def test_the_first_pictures_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(LiteRtNet, "outputs", lambda net, images: asked.append(images.shape))
    assert latency.timed(LiteRtNet(None, 16, 8)).shape == (latency.TIMED,)
    assert asked == [(1, 16, 16, 3)] * (latency.WARM_UP + latency.TIMED)


def test_without_a_file_nothing_is_written() -> None:
    with pytest.raises(UserError, match=r"exports/alexnet/float32\.tflite: no such file"):
        latency.write_latency(params_with(("alexnet",)))
    with pytest.raises(UserError, match=r"exported: \{\} found; allowed: at least one run"):
        latency.write_latency(params_with(("xray-aug0",)))
    assert not paths.LATENCY.exists()


def test_times_of_another_size_of_pictures_are_not_taken() -> None:
    write_export("alexnet", side=64)
    assert results.read_numbers("alexnet")["int8"]["latency_ms"] == 1.25
    write_export("alexnet", side=128)
    assert "latency_ms" not in results.read_numbers("alexnet")["int8"]
    paths.LATENCY.unlink()
    assert "latency_ms" not in results.read_numbers("alexnet")["int8"]
    assert results.read_machine() == {}
