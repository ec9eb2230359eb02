"""A training that was stopped goes on where it was, and ends with the bytes of one that was not."""

import dataclasses
import errno
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from training.small_net import ADAM, SCHEDULE, bright_or_dark, doubtful, small, trained, training

from cnnstudy.config.schema import Training
from cnnstudy.data.samples import Dataset
from cnnstudy.training import checkpoint
from cnnstudy.training.checkpoint import Checkpoint, Progress


def with_noise() -> keras.Model:
    """Dropout draws from a generator of its own that goes on from epoch to epoch."""
    return small((keras.layers.Dropout(0.4), keras.layers.GaussianDropout(0.2)))


class Stopping(Checkpoint):
    """Stores after every batch and epoch, and stops the training after some of these."""

    def __init__(self, file: Path, stores: int) -> None:
        super().__init__(file, 0)
        self.left = stores

    def _save(self) -> None:
        super()._save()
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return doubtful()


Undisturbed = Callable[[Training, str], tuple[bytes, str]]


@pytest.fixture(scope="module")
def undisturbed(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The result of an undisturbed training, cached by its settings."""
    folder = tmp_path_factory.mktemp("undisturbed")

    @cache
    def made(settings: Training, policy: str) -> tuple[bytes, str]:
        data = training(dataset, rotation=20)
        return result(*trained(dataset, data, with_noise, None, settings, policy, RECALIBRATED), folder)

    return made


def result(model: keras.Model, history: pd.DataFrame, folder: Path) -> tuple[bytes, str]:
    model.save_weights(folder / "model.weights.h5")
    return (folder / "model.weights.h5").read_bytes(), history.to_csv()


COSINE = ADAM.model_copy(update={"schedule": "cosine"})
# The third epoch is the best, and the training ends after the fifth of six.
IMPATIENT = ADAM.model_copy(update={"learning_rate": 0.006, "label_smoothing": 0.1, "selection": "best", "patience": 2})
RECALIBRATED = dataclasses.replace(SCHEDULE, batchnorm="recalibrated")


# 40 images in batches of 16: batches 1 and 2 store, the third ends the epoch.
@pytest.mark.parametrize(
    ("stores", "progress", "settings", "policy"),
    [
        ((1,), (0, 1), ADAM, "float32"),
        ((3,), (1, 0), COSINE, "float32"),
        pytest.param((8,), (2, 2), COSINE, "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param((8,), (2, 2), ADAM, "mixed_float16", marks=pytest.mark.slow),
        pytest.param((2, 1, 3, 5), (3, 2), ADAM, "float32", marks=pytest.mark.slow),
        pytest.param((15,), (5, 0), ADAM, "float32", marks=pytest.mark.slow),
        pytest.param((7, 4), (3, 2), IMPATIENT, "mixed_bfloat16", marks=pytest.mark.slow),
        pytest.param((12, 3), (5, 0), IMPATIENT, "float32", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_training_ends_with_the_same_bytes(
    dataset: Dataset,
    undisturbed: Undisturbed,
    tmp_path: Path,
    stores: tuple[int, ...],
    progress: tuple[int, int],
    settings: Training,
    policy: str,
) -> None:
    def train(checkpoint: Checkpoint) -> tuple[bytes, str]:
        return result(*trained(dataset, data, with_noise, checkpoint, settings, policy, RECALIBRATED), tmp_path)

    data, file = training(dataset, rotation=20), tmp_path / "seed1.npz"
    for number in stores:
        with pytest.raises(KeyboardInterrupt):
            train(Stopping(file, number))
    kept = Checkpoint(file, math.inf)
    assert (kept.progress.epoch, kept.progress.batch) == progress
    assert [row["epoch"] for row in kept.progress.rows] == list(range(1, progress[0] + 1))
    assert train(kept) == undisturbed(settings, policy)


@pytest.mark.parametrize(("number", "progress"), [(1, (0, 2)), (2, (1, 0)), (3, (1, 2))])
def test_a_training_of_several_steps_at_once_resumes_between_them(
    dataset: Dataset, undisturbed: Undisturbed, tmp_path: Path, number: int, progress: tuple[int, int]
) -> None:
    schedule = dataclasses.replace(RECALIBRATED, steps_at_once=2)

    def train(checkpoint: Checkpoint) -> tuple[bytes, str]:
        return result(*trained(dataset, data, with_noise, checkpoint, ADAM, "float32", schedule), tmp_path)

    data, file = training(dataset, rotation=20), tmp_path / "seed1.npz"
    with pytest.raises(KeyboardInterrupt):
        train(Stopping(file, number))
    kept = Checkpoint(file, math.inf)
    assert (kept.progress.epoch, kept.progress.batch) == progress
    assert train(kept) == undisturbed(ADAM, "float32")


def test_a_training_is_stored_by_time(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    stored: list[Progress] = []

    def clock() -> float:
        nonlocal now
        now += 60  # a minute a look at the clock, which every batch but an epoch's last and every epoch takes
        return now

    def store(kept: Checkpoint) -> None:
        stored.append(kept.progress)
        kept.last = now

    monkeypatch.setattr(checkpoint.time, "monotonic", clock)
    monkeypatch.setattr(Checkpoint, "_save", store)
    trained(dataset, training(dataset), checkpoint=Checkpoint(tmp_path / "seed1.npz", 300))
    assert [(progress.epoch, progress.batch) for progress in stored] == [(1, 2), (3, 1), (5, 0)]


def test_a_full_disk_costs_the_checkpoint_not_the_training(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    file = tmp_path / "seed1.npz"
    _, history = trained(dataset, training(dataset), checkpoint=Checkpoint(file, 0))
    assert len(history) == 6
    warnings = set(capsys.readouterr().err.splitlines())
    assert warnings == {f"warning: {file}: No space left on device; the training continues without a checkpoint"}
    assert not list(tmp_path.iterdir())


def test_a_key_follows_settings_and_data(tmp_path: Path) -> None:
    data = tmp_path / "images.npy"
    data.write_bytes(b"one")
    keys = [checkpoint.key({"epochs": 1}, [data]), checkpoint.key({"epochs": 1}, [data])]
    keys.append(checkpoint.key({"epochs": 2}, [data]))
    data.write_bytes(b"two")
    keys.append(checkpoint.key({"epochs": 1}, [data]))
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_a_key_follows_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in checkpoint.CODE:
        path = tmp_path / (name if name.endswith(".py") else f"{name}/module.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("one")
    monkeypatch.setattr(checkpoint, "LIBRARY", tmp_path)
    keys = [checkpoint.key({}, [])]
    for path in sorted(tmp_path.rglob("*.py")):
        path.write_text("two")
        keys.append(checkpoint.key({}, []))
    assert len(set(keys)) == 1 + len(checkpoint.CODE)
    assert all((Path(checkpoint.__file__).parents[1] / name).exists() for name in checkpoint.CODE)


def work(root: Path, stop: bool) -> list[str]:
    """Work in a kept folder, which may be interrupted; return the earlier contents of the folder."""
    with checkpoint.working_folder(root, "alexnet-base-1") as folder:
        found = sorted(path.name for path in folder.iterdir())
        (folder / "seed0.npz").write_bytes(b"state")
        if stop:
            raise KeyboardInterrupt
    return found


def test_a_folder_goes_when_its_work_is_done_and_stays_when_it_is_not(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        work(root, stop=True)
    assert [path.relative_to(root).as_posix() for path in root.rglob("*.npz")] == ["alexnet-base-1/seed0.npz"]
    assert work(root, stop=False) == ["seed0.npz"]
    assert not root.exists()


def test_two_processes_with_the_same_training_do_not_share_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    with checkpoint.working_folder(root, "alexnet-base-1") as first:
        (first / "seed1.npz").write_bytes(b"state")
        assert work(root, stop=False) == []
    assert not root.exists()


def test_a_training_stopped_after_its_last_epoch_keeps_its_weights(tmp_path: Path) -> None:
    dataset = bright_or_dark()
    data = training(dataset)
    file = tmp_path / "seed0.npz"
    ended, history = trained(dataset, data, checkpoint=Checkpoint(file, 0))
    again, same = trained(dataset, data, checkpoint=Checkpoint(file, 0))
    assert same.to_dict() == history.to_dict()
    for one, other in zip(ended.get_weights(), again.get_weights(), strict=True):
        assert (one == other).all()
