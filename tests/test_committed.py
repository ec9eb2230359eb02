"""A dvc.lock that differs from the last commit by a machine's last bits alone is told from one of other inputs."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnnstudy.workspace import committed, paths


def lock(net: str = "1", page: str = "2", code: str = "3", epochs: int = 4) -> dict[str, dict[str, Any]]:
    """The stages of a dvc.lock: one trains, and one writes a page from the first one's folder."""
    train = {
        "cmd": "python train.py",
        "deps": [{"path": "train.py", "md5": code}],
        "params": {"params.yaml": {"epochs": epochs}},
        "outs": [{"path": "models/net", "md5": net}],
    }
    report = {
        "cmd": "python report.py",
        "deps": [{"path": "models", "md5": f"folder of {net}"}, {"path": "report.py", "md5": "5"}],
        "outs": [{"path": "page.html", "md5": page}],
    }
    return {"train": train, "report": report}


@pytest.mark.parametrize(
    ("after", "count"),
    [
        (lock(), 0),
        (lock(net="1b"), 1),
        (lock(net="1b", page="2b"), 2),
        (lock(net="1b", code="3b"), 0),
        (lock(net="1b", epochs=5), 0),
        ({"train": lock(net="1b")["train"]}, 0),
    ],
)
def test_stages_with_other_bits_are_counted_where_the_same_went_in(after: committed.Stages, count: int) -> None:
    assert committed.other_bits(lock(), after) == count


def write(stages: dict[str, Any], accuracy: float) -> None:
    paths.LOCK.write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    paths.SUMMARY.parent.mkdir(exist_ok=True)
    paths.SUMMARY.write_text(json.dumps({"net": {"test_accuracy": accuracy}}))


@pytest.fixture
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git repository with a commit of the lock file and the accuracies."""
    monkeypatch.chdir(tmp_path)
    write(lock(), 0.5)
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for arguments in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "start")):
        subprocess.run(["git", *arguments], check=True)


@pytest.mark.usefixtures("_repository")
def test_one_line_calls_it_normal_and_says_how_far_accuracies_moved() -> None:
    assert committed.machine_note() == ""
    write(lock(net="1b"), 0.5)
    note = committed.machine_note()
    assert note.startswith("dvc.lock differs from the last commit in 1 of 2 stages, though code, data and parameters")
    assert "normal on another machine" in note
    assert "; all accuracies are equal." in note
    write(lock(net="1b"), 0.475)
    assert "; accuracies differ by 0.025 at most." in committed.machine_note()
    write(lock(net="1b", epochs=5), 0.475)
    assert committed.machine_note() == ""


def test_without_a_commit_there_is_nothing_to_compare_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(lock(), 0.5)
    assert committed.machine_note() == ""
