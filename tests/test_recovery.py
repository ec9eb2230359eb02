"""DVC's files, torn by a kill, are mended so that `dvc repro` starts."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from workspace import Workspace, clone

from cnnstudy.errors import UserError
from cnnstudy.workspace import recovery
from cnnstudy.workspace.paths import KEPT_LOCK, LOCK, RWLOCK

ENTRY = "schema: '2.0'\nstages:\n  check:\n    cmd: python src/check.py\n    outs:\n    - path: data/check.ok\n"
OTHER = "  split@xray:\n    cmd: python src/split.py xray\n"
TORN_LOCKS = (
    "",
    ENTRY[:-9],
    ENTRY[:20],
    "schema: '2.0'\nstages:\n  check:\n    cm",
    "schema: '2.0'\nstages:\n  check:\n    cmd: python src/check.py\n    outs:\n",
    ENTRY + "    outs:\n      x\n   y: 1\n",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_whole_and_absent_files_are_left_alone() -> None:
    assert list(recovery.mend()) == []
    RWLOCK.parent.mkdir(parents=True)
    RWLOCK.write_text('{"read": {}, "write": {}}')
    LOCK.write_text(ENTRY)
    assert list(recovery.mend()) == []
    assert LOCK.read_text() == ENTRY
    assert RWLOCK.exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("torn", TORN_LOCKS)
def test_a_torn_lock_is_put_back_as_it_was_kept(torn: str) -> None:
    LOCK.write_text(ENTRY)
    recovery.keep_lock()
    LOCK.write_text(torn)
    (said,) = recovery.mend()
    assert said.startswith("dvc.lock: torn by a killed dvc; restored as it was after the last finished stage")
    assert LOCK.read_text() == ENTRY


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("torn", TORN_LOCKS)
def test_a_torn_lock_whose_copy_is_torn_too_is_removed(torn: str) -> None:
    LOCK.write_text(torn)
    recovery.keep_lock()
    (said,) = recovery.mend()
    assert said.startswith("dvc.lock: torn by a killed dvc; removed")
    assert not LOCK.exists()


def held_by(*pids: int) -> str:
    users = [{"pid": pid, "cmd": "dvc repro"} for pid in pids]
    return json.dumps({"read": {"params.yaml": users}, "write": {"data/check.ok": users[0]}})


@pytest.mark.usefixtures("folder")
def test_a_list_of_files_that_names_no_process_that_runs_is_removed() -> None:
    RWLOCK.parent.mkdir(parents=True)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(ended.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    RWLOCK.write_text(held_by(ended.pid, os.getpid()))
    assert list(recovery.mend()) == []
    RWLOCK.write_text(held_by(ended.pid))
    (said,) = recovery.mend()
    assert said.endswith("named only processes that have ended; removed")
    assert not RWLOCK.exists()
    ended.wait()
    RWLOCK.write_text(held_by(ended.pid))
    assert len(list(recovery.mend())) == 1


@pytest.mark.usefixtures("folder")
def test_there_need_be_no_lock_to_keep() -> None:
    recovery.keep_lock()
    assert not KEPT_LOCK.exists()


@pytest.mark.usefixtures("folder")
def test_the_sides_of_a_merge_are_the_users_to_choose_from() -> None:
    both = f"{ENTRY}<<<<<<< HEAD\n  a:\n=======\n  b:\n>>>>>>> other\n"
    LOCK.write_text(both)
    with pytest.raises(UserError, match=r"dvc.lock: both sides of a merge found; allowed: one of them"):
        list(recovery.mend())
    assert LOCK.read_text() == both


@pytest.mark.usefixtures("folder")
def test_stages_are_sorted_to_the_letter_and_others_come_last() -> None:
    unknown = "  left@over:\n    cmd: 'python  left.py'\n"
    LOCK.write_text(ENTRY + unknown + OTHER)
    assert list(recovery.entries(LOCK.read_text())) == ["check", "left@over", "split@xray"]
    recovery.sort_lock(["nowhere", "split@xray", "check"])
    head, check = ENTRY.split("  check:")
    assert LOCK.read_text() == f"{head}{OTHER}  check:{check}{unknown}"


@pytest.mark.usefixtures("folder")
def test_after_a_kill_the_order_is_that_of_the_beginning() -> None:
    LOCK.write_text(ENTRY)
    assert recovery.order_at_start() == ["check"]
    LOCK.write_text(ENTRY + OTHER)
    assert recovery.order_at_start() == ["check"]
    recovery.keep_lock()
    recovery.forget()
    assert recovery.order_at_start() == ["check", "split@xray"]
    assert not KEPT_LOCK.exists()


@pytest.mark.usefixtures("folder")
def test_a_torn_lock_is_not_sorted() -> None:
    LOCK.write_text(ENTRY + OTHER[:-3])
    recovery.sort_lock(["split@xray", "check"])
    assert LOCK.read_text() == ENTRY + OTHER[:-3]


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
    # DVC appends the entries that it makes again, whatever their order was.
    assert yaml.safe_load((workspace.path / LOCK).read_bytes()) == yaml.safe_load(whole)


def test_a_lock_that_git_has_is_put_back(workspace: Workspace) -> None:
    workspace.run("dvc", "repro", "check")
    whole = (workspace.path / LOCK).read_bytes()
    workspace.run("git", "add", str(LOCK))
    workspace.run("git", "commit", "--quiet", "--message=lock")
    (workspace.path / LOCK).write_bytes(whole[:-9])
    assert "restored from git" in workspace.run("cnnstudy", "check")
    assert (workspace.path / LOCK).read_bytes() == whole


def test_bad_params_stop_it(workspace: Workspace) -> None:
    workspace.compose("studies.faces.epochs=0")
    assert "params.yaml: studies.faces.epochs: 0 found; allowed: " in workspace.run("cnnstudy", "check", code=2)
