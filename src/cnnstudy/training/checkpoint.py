"""What a long training has reached, so that one that was killed goes on from there and gives the same bytes."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import keras
import numpy as np
import tensorflow as tf
from filelock import FileLock, Timeout

from cnnstudy.training.selection import Score
from cnnstudy.workspace import files

LIBRARY = Path(__file__).parents[1]
# What a training's result depends on beside its parameters and data.
CODE = ("nets", "training", "data/plans.py", "data/samples.py")
PACKAGES = ("tensorflow", "keras", "numpy")
# What is done with the history's row of an epoch that has ended.
Report = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Progress:
    """Whole epochs, batches of the epoch after them, the history's row of every whole epoch, and the best of these.

    `best` is None where epochs are not compared.
    """

    epoch: int = 0
    batch: int = 0
    rows: tuple[dict[str, float], ...] = ()
    best: Score | None = None


def _ignore(row: dict[str, float]) -> None:
    """Do nothing with an epoch."""


class Checkpoint(keras.callbacks.Callback):
    """Stores a training in `file` every `seconds` seconds, and takes up the one that is stored there.

    Stored are weights, optimizer, BatchNorm's statistics, dropout's seeds, the sums of the epoch's metrics, and the
    best epoch with its weights. The order of the images needs no storing: it follows from seed, epoch and batch.
    `report` is given the history's row of every epoch, those first that were stored.
    """

    def __init__(self, file: Path, seconds: float, report: Report = _ignore) -> None:
        super().__init__()
        self.file, self.seconds, self.report = file, seconds, report
        self.metrics: list[keras.metrics.Metric] = []
        self.batches = 0
        self.progress, self.best_weights = _stored(file)
        self.taken_up = self.progress == Progress()
        self.last = time.monotonic()
        for row in self.progress.rows:
            report(row)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Put the stored state in place, when Keras has reset the metrics."""
        self.take_up()

    def take_up(self) -> None:
        """Put the stored state in place, once."""
        if not self.taken_up:
            with np.load(self.file) as stored:
                for name, variable in self._variables().items():
                    variable.assign(stored[name])
            self.taken_up = True
            print(f"goes on from epoch {self.progress.epoch + 1}, batch {self.progress.batch + 1}", flush=True)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Store, where it is time and the epoch goes on."""
        self.progress = replace(self.progress, batch=self.progress.batch + 1)
        if self.progress.batch < self.batches and self._is_time():
            self._store()

    def begin_epoch(self, batches: int) -> None:
        """Say how many batches the next epoch has."""
        self.batches = batches

    def keep(self, best: Score, weights: list[np.ndarray]) -> None:
        """Take the score of the epoch that is about to end, the best so far, and its weights if they will be needed."""
        self.progress, self.best_weights = replace(self.progress, best=best), weights

    def end_epoch(self, row: dict[str, float]) -> None:
        """Take the epoch's row, and store where it is time."""
        progress = self.progress
        self.progress = replace(progress, epoch=progress.epoch + 1, batch=0, rows=(*progress.rows, row))
        if self._is_time():
            self.model.reset_metrics()
            self._store()
        self.report(row)

    def _is_time(self) -> bool:
        return time.monotonic() - self.last >= self.seconds

    def _store(self) -> None:
        try:
            with files.replacing(self.file) as aside, ZipFile(aside, "w") as archive:
                for name, array in self._arrays():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, array, allow_pickle=False)
        except OSError as error:  # a training that can't be taken up is better than none
            cause = error.strerror or error
            print(f"warning: {self.file}: {cause}; the training goes on without", file=sys.stderr, flush=True)
        self.last = time.monotonic()

    def _arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        yield "progress", np.array(json.dumps(asdict(self.progress)))
        for name, variable in self._variables().items():
            yield name, _array(variable)
        for i, weight in enumerate(self.best_weights):
            yield f"best{i}", weight

    def _variables(self) -> dict[str, Any]:
        found = [*self.model.variables, *self.model.optimizer.variables]
        found += [variable for metric in self.metrics for variable in metric.variables]
        return {f"variable{i}": variable for i, variable in enumerate(found)}


def key(settings: dict[str, Any], data: Iterable[Path]) -> str:
    """16 hexadecimal digits of all that a training's result follows from: settings, data, code and packages."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(json.dumps({name: version(name) for name in PACKAGES}).encode())
    code = [path for name in CODE for path in sorted((LIBRARY / name).rglob("*.py")) or [LIBRARY / name]]
    for path in (*code, *data):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _array(variable: Any) -> np.ndarray:
    """In the memory that TensorFlow has it in: the largest nets leave no room for a copy."""
    return np.asarray(memoryview(tf.convert_to_tensor(variable)))


@contextmanager
def kept_folder(root: Path, name: str) -> Iterator[Path]:
    """The folder root/name, which goes when its work is done and stays, unless it is empty, when that fails.

    Where another process works in it, for example an experiment with the same settings, it is one of its own instead.
    """
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=root) as own:
            yield Path(own)
        return
    folder = root / name
    folder.mkdir(exist_ok=True)
    try:
        yield folder
        shutil.rmtree(folder)
    finally:
        with suppress(OSError):
            folder.rmdir()
        os.unlink(lock.lock_file)
        lock.release()
        with suppress(OSError):
            root.rmdir()


def _stored(file: Path) -> tuple[Progress, list[np.ndarray]]:
    """What a file says of the progress, and the best epoch's weights in it."""
    if not file.exists():
        return Progress(), []
    with np.load(file) as stored:
        content = json.loads(str(stored["progress"]))
        weights = [stored[f"best{i}"] for i in range(sum(name.startswith("best") for name in stored.files))]
    best = Score(**content["best"]) if content["best"] else None
    return Progress(content["epoch"], content["batch"], tuple(content["rows"]), best), weights
