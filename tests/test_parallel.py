"""The scheduler runs stages when those that they need have ended, in the executor of each; a task is a subprocess."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from cnnstudy.workspace import parallel
from cnnstudy.workspace.parallel import StageError, Subprocesses, run_all

NEEDS = {"data": set[str](), "a": {"data"}, "b": {"data"}, "page": {"a", "b"}}
ORDER = ["data", "b", "a", "page"]


def test_a_stage_starts_when_all_that_it_needs_has_ended() -> None:
    ran: list[str] = []
    finished: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        assert run_all(NEEDS, ORDER, ran.append, lambda _: pool, finished.append) == []
    assert ran == ORDER
    assert {*finished} == {*ORDER}


def test_each_stage_runs_in_its_own_executor() -> None:
    ran: dict[str, str] = {}
    with ThreadPoolExecutor(2, "here") as here, ThreadPoolExecutor(2, "there") as there:
        run_all(
            NEEDS,
            ORDER,
            lambda name: ran.update({name: threading.current_thread().name.partition("_")[0]}),
            lambda name: there if name in "ab" else here,
            lambda _: None,
        )
    assert ran == {"data": "here", "a": "there", "b": "there", "page": "here"}


def test_two_stages_run_at_once() -> None:
    both = threading.Barrier(2, timeout=60)
    with ThreadPoolExecutor(2) as pool:
        run_all(NEEDS, ORDER, lambda name: name in "ab" and both.wait(), lambda _: pool, lambda _: None)  # type: ignore[arg-type]
    assert not both.broken


def test_after_a_failure_nothing_starts_and_what_runs_is_waited_for() -> None:
    ran: list[str] = []
    three = threading.Barrier(3, timeout=60)
    finished: list[str] = []

    def task(name: str) -> None:
        ran.append(name)
        three.wait()
        if name == "fails":
            raise StageError("fails: no")
        time.sleep(0.2)
        if name == "later":
            raise StageError("later: no")

    needs = {name: set[str]() for name in ("fails", "runs", "later", "queued")} | {"after": {"runs"}}
    with ThreadPoolExecutor(3) as pool:
        failures = run_all(needs, list(needs), task, lambda _: pool, finished.append)
    assert [str(failure) for failure in failures] == ["fails: no", "later: no"]
    assert sorted(ran) == ["fails", "later", "runs"]
    assert finished == ["runs"]


def test_a_fault_of_the_program_is_no_failure_of_a_stage() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        run_all({"a": set()}, ["a"], lambda _: 1 // 0, lambda _: pool, lambda _: None)  # type: ignore[arg-type]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository with a stage that prints much and fails at its end, one that fails alone, and one that waits."""
    for program in ("git", "dvc"):
        subprocess.run([program, "init", "--quiet"], cwd=tmp_path, check=True)
    commands = {
        "long": "for i in $(seq 2000); do echo line $i; done; echo error: the reason >&2; exit 2",
        "mute": "exit 3",
        "waits": ": > began; exec sleep 600",
        "well": 'echo "$LATER" > well',
    }
    lines = ["stages:"]
    for name, command in commands.items():
        lines += [f"  {name}:", f"    cmd: {command!r}", f"    outs: [{name}]"]
    (tmp_path / "dvc.yaml").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("repository")
def test_every_line_of_a_stage_is_shown_and_the_error_is_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        with pytest.raises(StageError, match=r"^long: the reason$"):
            Subprocesses({})("long")
        lines = [line for line in capfd.readouterr().out.splitlines() if "long: line" in line]
        assert lines == [f"long: line {i}" for i in range(1, 2001)]
    with pytest.raises(StageError, match=r"^mute: failed to reproduce 'mute'"):
        Subprocesses({})("mute")
    # DVC's last line, which comes when it ends.
    assert "mute: ERROR: failed to reproduce 'mute'" in capfd.readouterr().out


@pytest.mark.slow
def test_a_stage_has_the_environment_that_it_is_given(repository: Path) -> None:
    Subprocesses({"LATER": "yes"})("well")
    assert (repository / "well").read_text() == "yes\n"


@contextmanager
def waiting(repository: Path, task: Subprocesses) -> Iterator[list[StageError]]:
    """A thread that runs the stage that waits; its failures."""
    failures: list[StageError] = []

    def run() -> None:
        try:
            task("waits")
        except StageError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 60
    while not (repository / "began").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    try:
        yield failures
    finally:
        task.end()
        thread.join()


@pytest.mark.slow
def test_stages_that_are_ended_end_at_once_and_no_more_start(repository: Path) -> None:
    task = Subprocesses({})
    with waiting(repository, task) as failures:
        start = time.monotonic()
        assert task.end() == ["waits"]
        assert time.monotonic() - start < parallel.PATIENCE
    assert len(failures) == 1  # now that the thread has ended
    task("well")
    assert not (repository / "well").exists()


@pytest.mark.slow
def test_what_ignores_an_interrupt_is_killed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "PATIENCE", 0.5)
    text = (repository / "dvc.yaml").read_text()
    (repository / "dvc.yaml").write_text(text.replace(": > began;", 'trap "" INT; : > began;'))
    task = Subprocesses({})
    with waiting(repository, task):
        (process,) = task.running.values()
        task.end()
        assert process.wait(30) == -signal.SIGKILL


@pytest.mark.slow
def test_a_dvc_ends_with_the_process_that_started_it(repository: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    command = [sys.executable, "-m", "cnnstudy.workspace.parallel", "waits", str(parent.pid)]
    dvc = subprocess.Popen(command, start_new_session=True)
    try:
        while not (repository / "began").exists():
            assert dvc.poll() is None
            time.sleep(0.02)
        parent.kill()
        parent.communicate()
        assert dvc.wait(10) == -signal.SIGKILL
    finally:
        os.killpg(dvc.pid, signal.SIGKILL)  # the stage is no script of ours, which would end with its `dvc`
