"""Measure a GPU in about ten minutes: `make bench-gpu`.

- steps: training steps in float32, TF32 and bfloat16, against PyTorch eager and compiled;
- trainings: whole epochs as a stage trains them, images on the GPU, and whether a repetition gives the same bytes;
- report: a training of `profile=report` by DVC in a clone, from the images to the predictions.

Every result is printed and saved when it is there, so that a run that is cut off has the results before.
"""

import hashlib
import json
import math
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import cast

import common
import steps

from cnnstudy.config.schema import Precision
from cnnstudy.training import environment

WAYS = steps.WAYS | {f"{steps.THEIRS}, compiled": ("torch_step.py", "compiled")}
# In this order, since a run may be cut off.
PRECISIONS = ("bfloat16", "float32", "tf32")
ROUNDS = 5
# Images and epochs of a training, a few of them for validation.
COUNT, EPOCHS, VALIDATION = 6_300, 6, 100
# The net that is trained under `profile=report`.
REPORTED = "alexnet"


@dataclass(frozen=True)
class Step:
    """Images a second of a training step, by way, and the share of a large matrix product's operations a second.

    A way that failed is missing.
    """

    net: str
    precision: str
    images_per_second: dict[str, float]
    share_of_product: float

    def ratio(self, *ways: str) -> str:
        """Return cnnstudy's rate over the best rate of some ways, or '-' where one of the two is missing."""
        rates = [self.images_per_second[way] for way in ways if way in self.images_per_second]
        ours = self.images_per_second.get(steps.OURS)
        return f"{ours / max(rates):.2f}" if ours and rates else "-"


def main(limit: str = "570", *nets: str) -> None:
    """Measure nets, all four where none is named; no part begins after `limit` seconds."""
    end = time.monotonic() + float(limit)
    found: dict[str, object] = {"gpus": environment.gpus(), "steps": [], "trainings": []}
    print(f"{'net':10} {'precision':9} {'images/s':>9} {'eager':>6} {'compile':>7} {'of peak':>7}", flush=True)
    for precision in PRECISIONS:
        for net in nets or steps.NETS:
            if time.monotonic() > end:
                return
            made = measured_step(net, precision)
            eager = [way for way in steps.WAYS if way != steps.OURS]
            rate = made.images_per_second.get(steps.OURS, math.nan)
            ratios = f"{made.ratio(*eager):>6} {made.ratio(f'{steps.THEIRS}, compiled'):>7}"
            print(f"{net:10} {precision:9} {rate:9.0f} {ratios} {made.share_of_product:7.3f}", flush=True)
            cast(list[object], found["steps"]).append(asdict(made))
            common.save("gpu", found)
    for net in nets or steps.NETS:
        if time.monotonic() > end:
            return
        command = [sys.executable, "-W", "ignore", __file__, "train", net, PRECISIONS[0]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        words = done.stdout.splitlines()[-1] if done.returncode == 0 else (done.stderr.splitlines() or ["?"])[-1]
        print(f"train {net}: {words}", flush=True)
        cast(list[object], found["trainings"]).append(json.loads(words) if done.returncode == 0 else {"failed": words})
        common.save("gpu", found)
    if time.monotonic() < end:
        found["report"] = {"net": REPORTED, "seconds": round(reported().wall, 1)}
        print(f"profile=report: {found['report']}", flush=True)
        common.save("gpu", found)


def measured_step(net: str, precision: str) -> Step:
    """Return the rates of a net's steps in a precision; all ways start at once and then take turns."""
    batch, *_ = steps.NETS[net]
    with ExitStack() as stack:
        workers = {}
        for name, (script, *more) in WAYS.items():
            workers[name] = steps.Worker(script, net, precision, str(batch), "1", *more)
            stack.callback(workers[name].end)
        ready = {name: worker for name, worker in workers.items() if worker.is_ready()}
        seconds = common.alternate({name: worker.seconds for name, worker in ready.items()}, ROUNDS)
        share = 0.0
        if steps.OURS in ready:
            share = steps.operations_of(net) * batch / seconds[steps.OURS] / ready[steps.OURS].peak()
    return Step(net, precision, {name: round(batch / each, 1) for name, each in seconds.items()}, round(share, 3))


def reported() -> common.Used:
    """Return what a training of `profile=report` takes in a clone, its data included."""
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name, "clone")
        subprocess.run(["git", "clone", "--quiet", common.ROOT, clone], check=True)
        common.measured(["cnnstudy", "params", f"model={REPORTED}", "profile=report"], clone)
        return common.measured(["dvc", "repro", f"train@{REPORTED}"], clone)


def train(net: str, precision: str) -> None:
    """Train a net twice on random images as a stage does, and print a line of JSON."""
    environment.configure(1)
    import keras

    from cnnstudy.models import assemble
    from cnnstudy.training import devices, loop
    from cnnstudy.training import precision as precisions
    from cnnstudy.training.checkpoint import Checkpoint

    batch, side, classes = steps.NETS[net]
    splits = "train " * (COUNT - VALIDATION) + "val " * VALIDATION
    dataset, data = common.random_data(side, classes, splits, rotation=20, shift=0.1, flip=True)
    policy, is_compiled = precisions.policy(cast(Precision, precision)), devices.compiles("auto")
    has_gpu = devices.has_gpu()
    schedule = loop.Schedule(
        batch, EPOCHS, "none", 0, policy, "moving", is_compiled, has_gpu, has_gpu, devices.steps_at_once()
    )
    hashes, times = set(), [0.0]
    for _ in range(2):
        keras.backend.clear_session()
        model = assemble.build(steps.design(net), 0, policy, is_compiled=is_compiled)
        progress = Checkpoint(Path("none.npz"), math.inf, lambda row: times.append(time.perf_counter()))
        with precisions.products(policy):
            loop.fit(model, data, dataset, common.adam(), schedule, progress)
        hashes.add(hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest())
    # The first epoch includes the compilation.
    epoch = median(after - before for before, after in pairwise(times[1 : EPOCHS + 1]))
    rate = {"net": net, "precision": policy, "images_per_second": round(len(data) / epoch)}
    print(json.dumps(rate | {"repeats_to_the_byte": len(hashes) == 1}))


if __name__ == "__main__":
    train(*sys.argv[2:]) if sys.argv[1:2] == ["train"] else main(*sys.argv[1:])
