"""Stages as forks: what a script sees and how it ends, as if Python had been started with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cnnstudy import warm

SRC = Path(__file__).parents[1] / "src"
PATIENCE = 120

# What DVC calls, and how it hands over a stage; ends with what became of it.
RUN = """
import os, sys
import atexit
import cnnstudy.params
from cnnstudy import warm
from dvc.stage import run
from dvc.stage.exceptions import StageCmdFailedError
warm.fork_stages()
atexit.register(print, "at dvc's exit")
try:
    run._run(None, sys.argv[1], cwd=sys.argv[2], env=os.environ | {"DVC_STAGE": "a stage"}, shell=False)
except StageCmdFailedError as error:
    print(error)
"""
SCRIPT = """
import os, sys, threading
print(sys.argv, os.getcwd(), os.environ["DVC_STAGE"], __name__, sys.path[0])
print("imported before:", "cnnstudy.params" in sys.modules, "dvc" in sys.modules)
from helper import end
end(sys.argv[1])
"""
HELPER = """
import atexit, os, signal, sys, time
def end(how):
    print("to stderr", file=sys.stderr)
    atexit.register(print, "at exit")
    if how == "fails":
        raise ValueError("a fault")
    if how == "exits":
        sys.exit(2)
    if how == "waits":
        try:
            print("waits", flush=True)
            time.sleep(600)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stages are forks on Linux")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "stage.py").write_text(SCRIPT)
    (tmp_path / "src" / "helper.py").write_text(HELPER)
    return tmp_path


def start(command: str, folder: Path, shell: str = "None") -> subprocess.Popen[str]:
    """DVC, told to run a command in a folder."""
    code = RUN.replace("None, sys.argv[1]", f"{shell}, sys.argv[1]")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, "-c", code, command, folder],
        env=os.environ | {"PYTHONPATH": str(SRC), "PATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def run(command: str, folder: Path, shell: str = "None") -> tuple[str, str]:
    """What it prints on both streams."""
    return start(command, folder, shell).communicate(timeout=PATIENCE)


def test_a_script_sees_what_python_would_show_it(folder: Path) -> None:
    out, err = run("python src/stage.py ends one", folder)
    words = ["src/stage.py", "ends", "one"]
    assert f"{words} {folder} a stage __main__ {folder / 'src'}\n" in out
    assert err == "to stderr\n"
    assert "failed" not in out
    assert out.splitlines()[-2:] == ["at exit", "at dvc's exit"]
    assert out.count("at dvc's exit") == 1


def test_others_libraries_are_there_already_and_ours_are_imported_anew(folder: Path) -> None:
    assert "imported before: False True" in run("python src/stage.py ends", folder)[0]


@pytest.mark.parametrize(("how", "code"), [("fails", 1), ("exits", 2), ("killed", -9)])
def test_a_failure_is_dvc_s(how: str, code: int, folder: Path) -> None:
    command = f"python src/stage.py {how}"
    out, err = run(command, folder)
    assert f"failed to run: {command}, exited with {code}" in out
    assert ("ValueError: a fault" in err) == (how == "fails")
    assert ("at exit" in out) == (how != "killed")


def test_ctrl_c_is_the_stage_s_and_dvc_says_how_it_ended(folder: Path) -> None:
    running = start("python src/stage.py waits", folder)
    (stage,) = stages_of(running)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=PATIENCE)
    assert "interrupted" in err
    assert "failed to run: python src/stage.py waits, exited with 130" in out
    assert not stage.is_running()


def test_a_killed_dvc_leaves_no_stage(folder: Path) -> None:
    running = start("python src/stage.py waits", folder)
    (stage,) = stages_of(running)
    running.kill()
    stage.wait(PATIENCE)
    running.communicate()


def stages_of(running: subprocess.Popen[str]) -> list[psutil.Process]:
    """The forks, once they wait."""
    assert running.stdout
    while running.stdout.readline() != "waits\n":
        assert running.poll() is None
    return psutil.Process(running.pid).children()


def test_another_command_goes_to_the_shell(folder: Path) -> None:
    (folder / "echo.sh").write_text("echo from a shell $DVC_STAGE\n")
    assert "from a shell a stage" in run(". ./echo.sh", folder, shell="'/bin/sh'")[0]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python src/train.py alexnet", ["src/train.py", "alexnet"]),
        ("python src/report.py", ["src/report.py"]),
        ("python src/train.py 'a b'", ["src/train.py", "a b"]),
        ("python src/train.py a | tee log", None),
        ("python src/train.py $HOME", None),
        ("python src/train.py a && true", None),
        ("X=1 python src/train.py a", None),
        ("python -m cnnstudy", None),
        ("python", None),
        ("echo python src/train.py", None),
        ("echo a # don't", None),
    ],
)
def test_only_plain_commands_are_forked(command: str, words: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    assert warm.script(command) == words


def test_another_python_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert warm.script("python src/report.py") is None


def test_libraries_are_imported_before_where_several_stages_need_them() -> None:
    assert "tensorflow" in warm.libraries(["train@a", "finetune@a", "report"])
    assert warm.libraries(["train@a", "evaluate@a"]) == []
    assert warm.libraries(["check", "ingest@faces", "split@faces"]) == []
    assert "sklearn.metrics" in warm.libraries(["evaluate@a", "evaluate@b"])


# A process of a rebuild; says what it begins with.
PROBE = """
import sys
from cnnstudy import repro
def probe():
    print({name: name in sys.modules for name in ("dvc.repo", "keras", "sklearn", "mlflow")})
if __name__ == "__main__":
    process = repro._context(sys.argv[1:]).Process(target=probe)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("stages", "present"), [(["train@a", "finetune@a"], True), (["train@a", "report"], False)])
def test_a_rebuild_s_processes_begin_with_them(stages: list[str], present: bool, tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    done = subprocess.run(
        [sys.executable, tmp_path / "probe.py", *stages],
        env=os.environ | {"PYTHONPATH": str(SRC)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{ {'dvc.repo': True, 'keras': present, 'sklearn': False, 'mlflow': False} }\n"
    assert done.stderr == ""


def test_a_library_that_can_t_be_imported_is_left_to_the_stage(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise AttributeError('built for another version')\n")
    code = "import sys, cnnstudy.preloaded; print('broken' in sys.modules, 'pandas' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": f"{SRC}{os.pathsep}{tmp_path}", warm.LIBRARIES: "broken pandas"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"
