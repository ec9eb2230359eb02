"""What the stage `export` and `cnnstudy latency` found, together."""

import json
from typing import Any

from cnnstudy.export.litert import PRECISIONS
from cnnstudy.workspace import paths

# Bytes of what phones and shops call a megabyte.
MB = 1_000_000


def read_numbers(run: str) -> dict[str, dict[str, float]]:
    """By precision `size_mb`, `accuracy` on val, `accuracy_change` from Keras's, `agreement`, `largest_difference`.

    And `latency_ms` and `latency_p95_ms`, where the run was timed with pictures of the same size.
    """
    content = json.loads(paths.export_metrics(run).read_text(encoding="utf-8"))
    times = _read_latency()["runs"].get(run, {})
    is_timed = times.get("side") == content["side"]
    return {
        each: _numbers(content[each], content["keras"]["accuracy"], times[each] if is_timed else {})
        for each in PRECISIONS
    }


def read_machine() -> dict[str, str]:
    """What the nets were timed on: `cpu` and others; {} where they were not."""
    machine: dict[str, str] = _read_latency()["machine"]
    return machine


def _numbers(measured: dict[str, Any], keras: float, times: dict[str, float]) -> dict[str, float]:
    found = {
        "size_mb": measured["bytes"] / MB,
        "accuracy": measured["accuracy"],
        "accuracy_change": measured["accuracy"] - keras,
        "agreement": measured["agreement"],
        "largest_difference": measured["largest_difference"],
    }
    return found | ({"latency_ms": times["median_ms"], "latency_p95_ms": times["p95_ms"]} if times else {})


def _read_latency() -> dict[str, Any]:
    if not paths.LATENCY.is_file():
        return {"machine": {}, "runs": {}}
    content: dict[str, Any] = json.loads(paths.LATENCY.read_text(encoding="utf-8"))
    return content
