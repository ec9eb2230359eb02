"""Checks that `make` does before it starts anything."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an environment that `make setup` has just made there."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/pyvenv.cfg").write_text(f"version = 3.11\ncommand = /usr/bin/python3 -m venv {tmp_path}/.venv\n")
    (tmp_path / ".venv/ready").touch()
    return tmp_path


def would(folder: Path) -> str:
    """Return the commands and messages of a dry run of `make setup`."""
    command = ["make", "--dry-run", "--no-print-directory", "setup"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_an_environment_that_is_there_is_left_alone(folder: Path) -> None:
    assert "Nothing to be done" in would(folder)


def test_one_that_was_moved_is_made_again_from_nothing(folder: Path) -> None:
    moved = folder.rename(folder.with_name("moved"))
    for _ in range(2):  # the second time too, where the first one was stopped
        lines = would(moved).splitlines()
        assert lines[0].startswith(".venv was made in another folder and does not work here")
        assert "python3 -m venv --clear .venv" in lines


def test_one_that_something_else_made_is_kept(folder: Path) -> None:
    (folder / ".venv/pyvenv.cfg").write_text("uv = 0.9\n")
    (folder / ".venv/ready").unlink()
    said = would(folder)
    assert "-m venv" in said
    assert "--clear" not in said
