"""The results of the stage `export` and of `cnnstudy latency`."""

import json
from typing import Any

from cnnstudy.export.litert import PRECISIONS
from cnnstudy.workspace import paths

# Bytes of a decimal megabyte.
MB = 1_000_000


def read_numbers(run: str) -> dict[str, dict[str, float]]:
    """Return the numbers of a run's LiteRT files by precision.

    These are `size_mb`; `largest_difference` from Keras; of a net with classes `accuracy`, `accuracy_change` from
    Keras's, and `agreement`; of a net with values `<value>_rmse` and `<value>_rmse_change`; and `latency_ms` and
    `latency_p95_ms` if the run was timed with images of the same size.
    """
    content = json.loads(paths.export_metrics(run).read_text(encoding="utf-8"))
    times = _read_latency()["runs"].get(run, {})
    is_timed = times.get("side") == content["side"]
    return {
        precision: _numbers(content[precision], content["keras"], times[precision] if is_timed else {})
        for precision in PRECISIONS
    }


def read_machine() -> dict[str, str]:
    """Return the facts of the machine on which latencies were measured, such as `cpu`; {} if none were measured."""
    machine: dict[str, str] = _read_latency()["machine"]
    return machine


def _numbers(measured: dict[str, Any], keras: dict[str, float], times: dict[str, float]) -> dict[str, float]:
    numbers = {"size_mb": measured["bytes"] / MB}
    for name, value in keras.items():
        numbers |= {name: measured[name], f"{name}_change": measured[name] - value}
    if "agreement" in measured:
        numbers["agreement"] = measured["agreement"]
    numbers["largest_difference"] = measured["largest_difference"]
    return numbers | ({"latency_ms": times["median_ms"], "latency_p95_ms": times["p95_ms"]} if times else {})


def _read_latency() -> dict[str, Any]:
    if not paths.LATENCY.is_file():
        return {"machine": {}, "runs": {}}
    content: dict[str, Any] = json.loads(paths.LATENCY.read_text(encoding="utf-8"))
    return content
