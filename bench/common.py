"""Shared parts of the benchmarks: alternating rounds, medians, peak memory of processes, and JSON results."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from cnnstudy.config.schema import Training
    from cnnstudy.data.samples import Dataset
    from cnnstudy.training.pipeline import TrainingSet

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
# Seconds between two looks at a process's memory.
LOOK = 0.05


@dataclass(frozen=True)
class Benched:
    """A net as the report has it: the side of its images, its classes, and its options."""

    side: int
    classes: int
    options: tuple[tuple[str, Any], ...] = ()


NETS = {
    "alexnet": Benched(128, 8),
    "vggnet": Benched(128, 8),
    "mobilenet": Benched(128, 8),
    "xraynet": Benched(150, 2, (("depth", 5), ("widths", "report"))),
}


def random_data(side: int, classes: int, split: str, **policy: Any) -> "tuple[Dataset, TrainingSet]":
    """Return random images as a data set with some splits, and the set to train on under an augmentation policy.

    `split` has a word for each image: its split.
    """
    import numpy as np
    import pandas as pd

    from cnnstudy.config.schema import Policy
    from cnnstudy.data import augment
    from cnnstudy.data.samples import Dataset
    from cnnstudy.training.pipeline import training_set

    splits = np.array(split.split())
    images = np.random.default_rng(0).integers(0, 256, (len(splits), side, side, 3), np.uint8)
    labels = np.arange(len(splits)) % classes
    dataset = Dataset(images, labels, splits, tuple(f"class {number}" for number in range(classes)))
    table = augment.make(
        Policy(**{"level": 0, "rotation": 0, "shift": 0.0, "flip": False} | policy),
        pd.DataFrame({"id": range(len(splits)), "split": splits}),
    )
    return dataset, training_set(dataset, table, "train")


def adam() -> "Training":
    """Return the settings of a training by Adam without anything else."""
    from cnnstudy.config.schema import Training

    return Training(
        optimizer="adam", relative_update=5.0, augmentation=1.0, head_dropout=0.0,
        learning_rate=1e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-8, schedule="constant", dropout=1.0,
        label_smoothing=0.0, selection="last", patience=0,
    )  # fmt: skip


def alternate(tasks: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return the median of each task's results; every round runs all tasks once, in turn."""
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            found[name].append(task())
    return {name: median(values) for name, values in found.items()}


def seconds(task: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Used:
    """Resources that a process used: wall and CPU seconds, and peak memory in MB.

    `anonymous` leaves out what is mapped from files, as the images are, which the system may drop at any time.
    """

    wall: float
    cpu: float
    anonymous: float
    resident: float


def measured(command: list[str], folder: Path, **environment: str) -> Used:
    """Run a command to its end, with the interpreter and the packages of this process."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    before, start = os.times(), time.perf_counter()
    anonymous = resident = 0.0
    with subprocess.Popen(
        command, cwd=folder, env=os.environ | {"PATH": path} | environment, stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            memory = _memory(process.pid)
            anonymous, resident = max(anonymous, memory[0]), max(resident, memory[1])
            time.sleep(LOOK)
    assert process.returncode == 0, command
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Used(time.perf_counter() - start, cpu, anonymous, resident)


def _memory(pid: int) -> tuple[float, float]:
    """Return the anonymous and the resident memory of a process in MB; 0 if the process has ended."""
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.NoSuchProcess:
        return 0.0, 0.0
    return (memory.rss - getattr(memory, "shared", 0)) / 1e6, memory.rss / 1e6


def save(name: str, content: dict[str, Any]) -> None:
    """Write a benchmark's result, with the machine it was made on."""
    machine = {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine, **content}, indent=2) + "\n")


def _cpu() -> str:
    from cnnstudy.training.environment import facts

    return str(facts(1)["cpu"])
