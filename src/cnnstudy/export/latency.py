"""The latency of LiteRT files for one image, on one thread of this machine."""

import json
import platform
import time
from importlib.metadata import version
from typing import Any

import numpy as np

from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.export.litert import PRECISIONS, LiteRtNet, open_net
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.machine import cpu_line

# The numbers of images predicted before the measurement and during it.
WARM_UP, TIMED = 50, 500


def write_latency(params: Params) -> dict[str, Any]:
    """Measure every LiteRT file, and write metrics/export/latency.json, which git tracks.

    The file is not a DVC output, since latencies depend on the machine and differ from one measurement to the next.

    Returns:
        The file's content: `machine`, and by run `side` (of the input, in pixels) and by precision `median_ms` and
        `p95_ms`.

    Raises:
        UserError: no run is exported, or a LiteRT file is missing.
    """
    if not params.exported:
        raise UserError("params.yaml: exported: {} found; allowed: at least one run")
    runs = {
        run: {precision: open_net(paths.lite(run, precision)) for precision in PRECISIONS} for run in params.exported
    }
    content = {
        "machine": machine(),
        "runs": {
            run: {"side": nets["float32"].side} | {precision: summary(timed(net)) for precision, net in nets.items()}
            for run, nets in runs.items()
        },
    }
    files.write_text(paths.LATENCY, json.dumps(content, indent=2) + "\n")
    return content


def timed(net: LiteRtNet) -> np.ndarray:
    """Return the seconds for each of `TIMED` images, from pixels to probabilities: float64 [TIMED]."""
    image = np.random.default_rng(0).integers(0, 256, (1, net.side, net.side, 3), np.uint8)
    seconds = np.empty(WARM_UP + TIMED)
    for i in range(len(seconds)):
        start = time.perf_counter()
        net.outputs(image)
        seconds[i] = time.perf_counter() - start
    return seconds[WARM_UP:]


def summary(seconds: np.ndarray) -> dict[str, float]:
    """Return the median and the 95th percentile in milliseconds, rounded to microseconds."""
    median, high = 1000 * np.quantile(seconds, [0.5, 0.95])
    return {"median_ms": round(float(median), 3), "p95_ms": round(float(high), 3)}


def machine() -> dict[str, str]:
    """Return the facts of this machine that latencies depend on."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": cpu_line("model name") or platform.processor(),
        "ai-edge-litert": version("ai-edge-litert"),
    }
