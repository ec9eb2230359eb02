"""DVC's files, torn by a kill, are mended so that `dvc repro` starts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from soak import guardians
from workspace import Workspace, clone

from cnnstudy import recovery
from cnnstudy.errors import UserError
from cnnstudy.paths import KEPT_LOCK, LOCK, RWLOCK

SRC = Path(__file__).parents[1] / "src"
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


def test_the_sides_of_a_merge_are_the_users_to_choose_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    both = f"{ENTRY}<<<<<<< HEAD\n  a:\n=======\n  b:\n>>>>>>> other\n"
    LOCK.write_text(both)
    with pytest.raises(UserError, match=r"dvc.lock: both sides of a merge found; allowed: one of them"):
        list(recovery.mend())
    assert LOCK.read_text() == both


def test_the_copy_is_of_this_dvc_where_the_lock_is_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    LOCK.write_text(ENTRY)
    recovery.keep_lock()
    os.utime(KEPT_LOCK, (0, 0))
    recovery.keep_lock()
    assert KEPT_LOCK.read_text() == ENTRY
    assert KEPT_LOCK.stat().st_mtime > 0
    LOCK.write_text(ENTRY[:-9])
    recovery.keep_lock()
    assert KEPT_LOCK.read_text() == ENTRY


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return clone(tmp_path_factory.mktemp("clone"))


def test_dvc_starts_again_after_its_files_were_torn(workspace: Workspace) -> None:
    workspace.run("dvc", "repro", "check")
    wait_until(lambda: not guardians(workspace))
    whole = (workspace.path / LOCK).read_bytes()
    (workspace.path / LOCK).write_bytes(whole[:-9])
    (workspace.path / RWLOCK).write_text('{"read": {"')
    workspace.run("dvc", "repro", "check", code=255)
    said = workspace.run("cnnstudy", "check").splitlines()
    assert [line.split(":")[0] for line in said] == [str(LOCK), str(RWLOCK)]
    assert "cached - skipping run" in workspace.run("dvc", "repro", "check")
    assert (workspace.path / LOCK).read_bytes() == whole


STAGE = """
import time
from pathlib import Path
from cnnstudy.process import run_stage

def main():
    Path("began").touch()
    while not Path("end").exists():
        time.sleep(0.02)
    Path("out").write_text("made")

run_stage(main)
"""


def test_a_lock_that_ends_between_two_lines_lacks_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    KEPT_LOCK.parent.mkdir(parents=True)
    whole = ENTRY + "  other:\n    cmd: echo\n"
    KEPT_LOCK.write_text(whole)
    LOCK.write_text(ENTRY)
    assert recovery.lock_is_whole()
    # A copy of another day says nothing: a commit with fewer stages may have been checked out since.
    assert list(recovery.mend()) == list(recovery.mend(KEPT_LOCK.stat().st_mtime + 1)) == []
    (said,) = recovery.mend(KEPT_LOCK.stat().st_mtime - 1)
    assert "put back as it was when the last stage began" in said
    assert LOCK.read_text() == whole
    for other in (whole + "  third:\n    cmd: echo\n", ENTRY.replace("check:", "two:", 1)):
        assert other != ENTRY
        LOCK.write_text(other)
        assert list(recovery.mend(KEPT_LOCK.stat().st_mtime - 1)) == []
    # That with fewer stages which git has is no beginning: somebody has just checked it out.
    subprocess.run(["git", "init", "--quiet"], check=True)
    LOCK.write_text(ENTRY)
    subprocess.run(["git", "add", str(LOCK)], check=True)
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *author, "commit", "--quiet", "--message=lock"], check=True)
    assert list(recovery.mend(KEPT_LOCK.stat().st_mtime - 1)) == []
    assert LOCK.read_text() == ENTRY


def test_a_guardian_mends_when_dvc_is_killed(tmp_path: Path) -> None:
    """Plain `dvc repro` starts again although the kill tore dvc.lock and the list of files in use."""
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "dvc.yaml").write_text(f"stages:\n  one:\n    cmd: {sys.executable} stage.py\n    outs: [out]\n")
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    repro = subprocess.Popen(["dvc", "repro"], cwd=tmp_path, env=environment, start_new_session=True)
    wait_until((tmp_path / "began").exists)
    (tmp_path / LOCK).write_text(ENTRY[:-9])
    (tmp_path / RWLOCK).write_text('{"read": {"')
    os.killpg(repro.pid, signal.SIGKILL)
    repro.wait()
    wait_until(lambda: not (tmp_path / LOCK).exists() and not (tmp_path / RWLOCK).exists())
    (tmp_path / "end").touch()
    subprocess.run(["dvc", "repro"], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "out").read_text() == "made"


def wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lock_that_git_has_is_put_back(workspace: Workspace) -> None:
    workspace.run("dvc", "repro", "check")
    wait_until(lambda: not guardians(workspace))
    whole = (workspace.path / LOCK).read_bytes()
    workspace.run("git", "add", str(LOCK))
    workspace.run("git", "commit", "--quiet", "--message=lock")
    (workspace.path / LOCK).write_bytes(whole[:-9])
    assert "put back as git has it" in workspace.run("cnnstudy", "check")
    assert (workspace.path / LOCK).read_bytes() == whole


def test_a_process_that_ended_and_was_not_waited_for_holds_nothing(workspace: Workspace) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: psutil.Process(ended.pid).status() == psutil.STATUS_ZOMBIE)
    user = {"pid": ended.pid, "cmd": "cnnstudy repro"}
    mine = {"pid": os.getpid(), "cmd": "pytest"}
    out, dep = str(workspace.path / "data" / "check.ok"), str(workspace.path / "params.yaml")
    held = {"read": {dep: [user, mine]}, "write": {out: user}}
    (workspace.path / RWLOCK).write_text(json.dumps(held))
    assert "blocked by" in workspace.run("dvc", "repro", "check", code=255)
    assert "processes that have ended" in workspace.run("cnnstudy", "check")
    assert json.loads((workspace.path / RWLOCK).read_text()) == {"read": {dep: [mine]}, "write": {}}
    workspace.run("dvc", "repro", "check")
    ended.wait()


def test_bad_params_stop_it(workspace: Workspace) -> None:
    workspace.compose("faces.epochs=0")
    assert "params.yaml: faces.epochs: 0 found; allowed: " in workspace.run("cnnstudy", "check", code=2)
