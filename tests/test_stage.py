"""How a stage ends: with its `dvc`, alone, and with one line where the machine refuses."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from workspace import set_before, with_small_files

from cnnstudy.errors import UserError
from cnnstudy.workspace import stage

SRC = Path(__file__).parents[1] / "src"
STAGE = """
import sys, time
from pathlib import Path
from cnnstudy.workspace.stage import run_stage

def main(name):
    Path(name + ".began").touch()
    while not Path(name + ".end").exists():
        time.sleep(0.02)

run_stage(main, *sys.argv[1:])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stage.py").write_text(STAGE)
    return tmp_path


@contextmanager
def started(folder: Path, *command: str, **extra: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process below this one, which is ended with the stages that it started."""
    environment = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    with_interrupts = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)"  # they may be ignored here
    running = subprocess.Popen(
        set_before(with_interrupts, *command),
        cwd=folder,
        env={**environment, "PYTHONPATH": str(SRC), **extra},
        stderr=subprocess.PIPE,
    )
    below: list[psutil.Process] = []
    try:
        yield running
        below = psutil.Process(running.pid).children(recursive=True) if running.poll() is None else []
    finally:
        running.kill()
        running.communicate()
        for one in below:
            one.kill()


def wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("shell", ["exec", "stay"])
def test_a_stage_ends_when_what_started_it_is_killed(folder: Path, shell: str) -> None:
    stage = f"{sys.executable} stage.py one" + (" ; true" if shell == "stay" else "")
    dvc = f"import subprocess; subprocess.run(['sh', '-c', {stage!r}])"
    with started(folder, sys.executable, "-c", dvc, DVC_STAGE="train@one") as running:
        wait_until((folder / "one.began").exists)
        below = psutil.Process(running.pid).children(recursive=True)
        (python,) = [one for one in below if "stage.py" in one.cmdline()]
        running.kill()
        wait_until(lambda: not python.is_running() or python.status() == psutil.STATUS_ZOMBIE, 10)


def test_a_stage_outside_dvc_outlives_what_started_it(folder: Path) -> None:
    dvc = f"import subprocess; subprocess.run([{sys.executable!r}, 'stage.py', 'one'])"
    with started(folder, sys.executable, "-c", dvc) as running:
        wait_until((folder / "one.began").exists)
        (python,) = psutil.Process(running.pid).children()
        running.kill()
        running.wait()
        time.sleep(3 * stage.LOOK)
        assert python.is_running()
        (folder / "one.end").touch()
        wait_until(lambda: not python.is_running())


def test_the_same_stage_waits_for_the_one_before_and_another_does_not(folder: Path) -> None:
    command = (sys.executable, "stage.py")
    with started(folder, *command, "one") as first:
        wait_until((folder / "one.began").exists)
        (folder / "one.began").unlink()
        with started(folder, *command, "one") as second, started(folder, *command, "two"):
            assert second.stderr
            assert second.stderr.readline() == b"waiting for another process that runs stage@one\n"
            wait_until((folder / "two.began").exists)
            assert not (folder / "one.began").exists()
            first.kill()
            wait_until((folder / "one.began").exists)


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (UserError("params.yaml: x: 1 found; allowed: 2"), "params.yaml: x: 1 found; allowed: 2", 2),
        (KeyboardInterrupt(), "interrupted", 130),
        (
            OSError(28, "No space left on device", "data/x.csv"),
            "data/x.csv: No space left on device",
            1,
        ),
        (OSError(30, "Read-only file system"), "[Errno 30] Read-only file system", 1),
        (OSError("Unable to\n  write"), "Unable to write", 1),
        (MemoryError("Unable to allocate 9 GiB"), "out of memory (Unable to allocate 9 GiB); a smaller", 1),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    error: BaseException, line: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, stage.reported_errors():
        raise error
    assert end.value.code == code
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: {line}")


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), stage.reported_errors():
        raise ZeroDivisionError


@pytest.mark.parametrize("error", [UserError("params.yaml"), FileNotFoundError(2, "No such file", "x")])
def test_under_debugging_every_error_keeps_its_traceback(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(stage.DEBUG, "1")
    with pytest.raises(type(error)), stage.reported_errors():
        raise error
    assert not capsys.readouterr().err


def test_ctrl_c_is_one_line(folder: Path) -> None:
    with started(folder, sys.executable, "stage.py", "one") as running:
        wait_until((folder / "one.began").exists)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=120)
        assert (running.returncode, said) == (130, b"error: interrupted\n")


WRITE = """
from pathlib import Path
from cnnstudy.workspace import files
from cnnstudy.workspace.stage import run_stage
run_stage(lambda: files.write_text(Path("out/table.csv"), "x" * 100_000))
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        with_small_files(sys.executable, "-c", WRITE), cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(SRC)},
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1,
        "error: out/table.csv: File too large\n",
    )
    assert not list((tmp_path / "out").iterdir())


@pytest.fixture
def unprivileged() -> list[str]:
    """Return a command prefix under which file permissions count, also where the tests run as root."""
    if os.geteuid():
        return []
    command = ["setpriv", "--reuid=65534", "--clear-groups"]
    if not shutil.which("setpriv") or subprocess.run([*command, sys.executable, "-c", ""], check=False).returncode:
        pytest.skip("the tests run as root, and there is no other user who may run Python")
    return command


def test_a_folder_that_can_not_be_written_is_one_line(unprivileged: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        Path(folder, "out").mkdir(mode=0o555)
        environment = os.environ | {"PYTHONPATH": str(SRC), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [*unprivileged, sys.executable, "-c", WRITE], cwd=folder, env=environment, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1,
        "error: out/.partial.table.csv: Permission denied\n",
    )


def test_a_reader_that_ends_early_is_no_error() -> None:
    code = "from cnnstudy.workspace.stage import reported_errors\nwith reported_errors():\n    print('line\\n' * 10**6)"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=SRC, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        assert writer.stderr
        assert writer.stdout.readline() == "line\n"
        writer.stdout.close()
        assert writer.stderr.read() == ""
    assert writer.returncode == 0
