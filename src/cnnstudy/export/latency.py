"""How long a net in a LiteRT file takes for a picture, on one thread of this machine."""

import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.export.litert import PRECISIONS, Net, open_net
from cnnstudy.workspace import files, paths

# Pictures before the clock counts, and those that it counts.
WARM_UP, TIMED = 50, 500


def write_latency(params: Params) -> dict[str, Any]:
    """Measure every file of the fine-tuned runs, and write metrics/export/latency.json, which git holds.

    It is no output of DVC, since it says how long something took, and where.

    Returns:
        Its content: `machine`, and by run `side` (of the input, in pixels) and by precision `median_ms` and `p95_ms`.

    Raises:
        UserError: there is no run for phones, or it has no file.
    """
    if not params.finetuned:
        raise UserError("params.yaml: finetuned: {} found; allowed: a run of the study faces, for nets on a phone")
    runs = {run: {each: open_net(paths.lite(run, each)) for each in PRECISIONS} for run in params.finetuned}
    content = {
        "machine": machine(),
        "runs": {
            run: {"side": nets["float32"].side} | {each: summary(timed(net)) for each, net in nets.items()}
            for run, nets in runs.items()
        },
    }
    files.write_text(paths.LATENCY, json.dumps(content, indent=2) + "\n")
    return content


def timed(net: Net) -> np.ndarray:
    """Seconds of each of `TIMED` pictures, from pixels to probabilities: float64 [TIMED]."""
    picture = np.random.default_rng(0).integers(0, 256, (1, net.side, net.side, 3), np.uint8)
    seconds = np.empty(WARM_UP + TIMED)
    for i in range(len(seconds)):
        start = time.perf_counter()
        net.probabilities(picture)
        seconds[i] = time.perf_counter() - start
    return seconds[WARM_UP:]


def summary(seconds: np.ndarray) -> dict[str, float]:
    """The median and the 95th percentile in milliseconds, to the microsecond."""
    median, high = 1000 * np.quantile(seconds, [0.5, 0.95])
    return {"median_ms": round(float(median), 3), "p95_ms": round(float(high), 3)}


def machine() -> dict[str, str]:
    """What times depend on."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "ai-edge-litert": version("ai-edge-litert"),
    }


def _cpu() -> str:
    """The processor's name, as Linux or else Python has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
