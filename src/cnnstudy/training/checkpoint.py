"""Checkpoints: a training that was killed is resumed from its checkpoint and gives the same bytes."""

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
from cnnstudy.workspace.terminal import say

LIBRARY = Path(__file__).parents[1]
# The code and packages that a training's result depends on, besides its parameters and data.
CODE = ("models", "training", "explain/gradcam.py", "data/augment.py", "data/samples.py")
PACKAGES = ("tensorflow", "keras", "numpy")
# Seconds in which a worker of a cluster ends with the training that it runs.
PATIENCE = 60
# The variable that names a folder of seeds that other processes have trained.
SEEDS = "CNNSTUDY_SEEDS"
# A function that is called with the history's row of every completed epoch.
Report = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Progress:
    """Progress of a training: completed epochs, completed batches of the next epoch, history and best epoch.

    `rows` has the history's row of every completed epoch. `best` is None if epochs are not compared.
    """

    epoch: int = 0
    batch: int = 0
    rows: tuple[dict[str, float], ...] = ()
    best: Score | None = None


def _ignore(row: dict[str, float]) -> None:
    """Ignore an epoch's row."""


class Checkpoint(keras.callbacks.Callback):
    """A callback that saves a training to `file` every `seconds` seconds, and resumes the training saved there.

    A checkpoint holds the weights, the optimizer, BatchNorm's statistics, dropout's seeds, the sums of the epoch's
    metrics, and the best epoch with its weights. The order of the images follows from seed, epoch and batch and is not
    saved. `report` is given the history's row of every epoch, beginning with those in the checkpoint.
    """

    def __init__(self, file: Path, seconds: float, report: Report = _ignore) -> None:
        super().__init__()
        self.file, self.seconds, self.report = file, seconds, report
        self.metrics: list[keras.metrics.Metric] = []
        self.first = self.batches = 0
        self.progress, self.best_weights = _read_progress(file)
        self.is_resumed = self.progress == Progress()
        self.last = time.monotonic()
        for row in self.progress.rows:
            report(row)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Restore the state of the checkpoint, after Keras has reset the metrics."""
        self.resume()

    def resume(self) -> None:
        """Restore the state of the checkpoint, once."""
        if not self.is_resumed:
            with np.load(self.file) as stored:
                for name, variable in self._variables().items():
                    variable.assign(stored[name])
            self.is_resumed = True
            say(f"resumed from epoch {self.progress.epoch + 1}, batch {self.progress.batch + 1}")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Save a checkpoint if one is due and this is not the epoch's last batch.

        Keras counts batches from the first one of this process, and may count further than there are batches.
        """
        self.progress = replace(self.progress, batch=min(self.first + batch + 1, self.batches))
        if self.progress.batch < self.batches and self._is_due():
            self._save()

    def begin_epoch(self, batches: int) -> None:
        """Set the number of batches of the next epoch, which may have been begun before."""
        self.first, self.batches = self.progress.batch, batches

    def set_best(self, best: Score, weights: list[np.ndarray]) -> None:
        """Make the current epoch's score the best so far, with its weights if they will be restored."""
        self.progress, self.best_weights = replace(self.progress, best=best), weights

    def end_epoch(self, row: dict[str, float]) -> None:
        """Add the row of an epoch to the history, and save a checkpoint if one is due."""
        progress = self.progress
        self.progress = replace(progress, epoch=progress.epoch + 1, batch=0, rows=(*progress.rows, row))
        if self._is_due():
            self.model.reset_metrics()
            self._save()
        self.report(row)

    def _is_due(self) -> bool:
        return time.monotonic() - self.last >= self.seconds

    def _save(self) -> None:
        try:
            with files.replacing(self.file) as aside, ZipFile(aside, "w") as archive:
                for name, array in self._arrays():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, array, allow_pickle=False)
        except OSError as error:  # a training that can't be resumed is better than none
            cause = error.strerror or error
            say(f"warning: {self.file}: {cause}; the training continues without a checkpoint", sys.stderr)
        self.last = time.monotonic()

    def _arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        yield "progress", np.array(json.dumps(asdict(self.progress)))
        for name, variable in self._variables().items():
            yield name, _array(variable)
        for i, weight in enumerate(self.best_weights):
            yield f"best{i}", weight

    def _variables(self) -> dict[str, Any]:
        variables = [*self.model.variables, *self.model.optimizer.variables]
        variables += [variable for metric in self.metrics for variable in metric.variables]
        return {f"variable{i}": variable for i, variable in enumerate(variables)}


def key(settings: dict[str, Any], data: Iterable[Path]) -> str:
    """Return 16 hexadecimal digits of a hash of the settings, data, code and packages of a training."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(json.dumps({name: version(name) for name in PACKAGES}).encode())
    code = [path for name in CODE for path in sorted((LIBRARY / name).rglob("*.py")) or [LIBRARY / name]]
    for path in (*code, *data):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _array(variable: Any) -> np.ndarray:
    """Return a view of a variable's values in TensorFlow's memory: the largest nets leave no room for a copy."""
    return np.asarray(memoryview(tf.convert_to_tensor(variable)))


@contextmanager
def working_folder(root: Path, name: str) -> Iterator[Path]:
    """Yield the folder root/name, removed when the block succeeds; when the block fails, removed only if empty.

    If another process uses that folder, for example an experiment with the same settings, yield a temporary folder. On
    a cluster that may be a training that is about to be killed, for which this waits.
    """
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / f"{name}.lock")
    try:
        lock.acquire(timeout=PATIENCE if SEEDS in os.environ else 0)
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


def take_seeds(folder: Path) -> None:
    """Move what the folder that `SEEDS` names holds, seeds and facts of other processes, into a phase's folder."""
    given = os.environ.get(SEEDS)
    for path in sorted(Path(given).iterdir()) if given else ():
        target = folder / "done" / path.name if path.is_dir() else folder / path.name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            shutil.move(path, target)


def _read_progress(file: Path) -> tuple[Progress, list[np.ndarray]]:
    """Return the progress in a checkpoint, and the best epoch's weights; empty if there is no such file."""
    if not file.exists():
        return Progress(), []
    with np.load(file) as stored:
        content = json.loads(str(stored["progress"]))
        weights = [stored[f"best{i}"] for i in range(sum(name.startswith("best") for name in stored.files))]
    best = Score(**content["best"]) if content["best"] else None
    return Progress(content["epoch"], content["batch"], tuple(content["rows"]), best), weights
