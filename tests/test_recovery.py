"""DVC's files, torn by a kill, are mended so that `dvc repro` starts."""

from pathlib import Path

import pytest
from workspace import Workspace, clone

from cnnstudy import recovery
from cnnstudy.paths import LOCK, RWLOCK

ENTRY = "schema: '2.0'\nstages:\n  check:\n    cmd: python src/check.py\n    outs:\n    - path: data/check.ok\n"
TORN_LOCKS = (
    ENTRY[:-9],
    ENTRY[:20],
    "schema: '2.0'\nstages:\n  check:\n    cm",
    ENTRY + "    outs:\n      x\n   y: 1\n",
)


def test_whole_and_absent_files_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(recovery.mend()) == []
    RWLOCK.parent.mkdir(parents=True)
    RWLOCK.write_text('{"read": {}, "write": {}}')
    LOCK.write_text(ENTRY)
    assert list(recovery.mend()) == []
    assert LOCK.read_text() == ENTRY
    assert RWLOCK.exists()


@pytest.mark.parametrize("torn", TORN_LOCKS)
def test_a_torn_lock_is_seen(torn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    LOCK.write_text(torn)
    assert not recovery.lock_is_whole()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return clone(tmp_path_factory.mktemp("clone"))


def test_dvc_starts_again_after_its_files_were_torn(workspace: Workspace) -> None:
    workspace.run("dvc", "repro", "check")
    whole = (workspace.path / LOCK).read_bytes()
    (workspace.path / LOCK).write_bytes(whole[:-9])
    (workspace.path / RWLOCK).write_text('{"read": {"')
    workspace.run("dvc", "repro", "check", code=255)
    said = workspace.run("cnnstudy", "check").splitlines()
    assert [line.split(":")[0] for line in said] == [str(LOCK), str(RWLOCK)]
    assert "cached - skipping run" in workspace.run("dvc", "repro", "check")
    assert (workspace.path / LOCK).read_bytes() == whole


def test_a_lock_that_git_has_is_put_back(workspace: Workspace) -> None:
    workspace.run("dvc", "repro", "check")
    whole = (workspace.path / LOCK).read_bytes()
    workspace.run("git", "add", str(LOCK))
    workspace.run("git", "commit", "--quiet", "--message=lock")
    (workspace.path / LOCK).write_bytes(whole[:-9])
    assert "put back as git has it" in workspace.run("cnnstudy", "check")
    assert (workspace.path / LOCK).read_bytes() == whole


def test_bad_params_stop_it(workspace: Workspace) -> None:
    workspace.compose("faces.epochs=0")
    assert "params.yaml: faces.epochs: 0 found; allowed: " in workspace.run("cnnstudy", "check", code=2)
