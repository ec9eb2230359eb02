"""How a stage runs: one process at a time per workspace, no longer than its `dvc`, and with failures in one line."""

import gc
import getpass
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from cnnstudy.errors import UserError
from cnnstudy.workspace import edits, paths
from cnnstudy.workspace.terminal import say

SHELLS = {"sh", "bash", "dash", "zsh", "fish", "ksh", "ash"}
# The variable with the id of the process that runs DVC: a stage can't find it if that has just been killed.
STARTER = "CNNSTUDY_DVC_PID"
# The variable that makes every failure show its traceback.
DEBUG = "CNNSTUDY_DEBUG"
# Seconds between checks that the process that started this one still runs.
LOOK = 0.2
# The number of new objects after which Python's garbage collector looks for cycles: with its default, 700, that takes a
# tenth of a stage.
NEW_OBJECTS = 50_000


def run_stage(main: Callable[..., None], *arguments: str) -> None:
    """Call a stage's `main`, in one process at a time per workspace; the process ends when its `dvc` does.

    Edits of the stage's code or parameters while it runs are refused; see `edits`.
    """
    gc.set_threshold(NEW_OBJECTS)
    name_user()
    with reported_errors():
        is_of_dvc = "DVC_STAGE" in os.environ
        if is_of_dvc and (starter := find_starter()):
            end_with(starter)
        with _alone("@".join([Path(sys.argv[0]).stem, *arguments])):
            if is_of_dvc:
                edits.begin()
            main(*arguments)
            edits.check()


def name_user() -> None:
    """Give a user without a name, as in a container that is started under another id, the id as a name.

    DVC asks Python for the user's name, which fails if the system has none.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


@contextmanager
def reported_errors() -> Iterator[None]:
    """Print users' errors as one line on stderr.

    Exit codes: 2 for a mistake in parameters or data, 130 for Ctrl-C, 1 for what the machine refuses: a full disk, a
    folder that can't be written, too little memory. Any other exception is a bug in this program and keeps its
    traceback. With the variable CNNSTUDY_DEBUG set, every exception does.
    """
    if os.environ.get(DEBUG):
        yield
        return
    try:
        yield
    except UserError as error:
        _end(str(error), 2)
    except KeyboardInterrupt as error:
        _end(": ".join(["interrupted", *error.args]), 130)
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except MemoryError as error:
        _end(f"out of memory ({_line(error) or 'no size given'}); a smaller batch_size or image_size needs less", 1)
    except OSError as error:
        _end(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else _line(error)[:300], 1)


@contextmanager
def silenced() -> Iterator[None]:
    """Discard everything written to stderr, also by libraries that bypass Python's sys.stderr."""
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def find_starter() -> int | None:
    """Return the id of the `dvc` that started this process: from `STARTER`, or its nearest non-shell parent."""
    import psutil

    if named := os.environ.get(STARTER):
        return int(named)
    starter = next((one for one in psutil.Process().parents() if one.name() not in SHELLS), None)
    # Process 1 adopts orphans, so it need not be the starter, although in a container it may be `dvc` itself.
    return starter.pid if starter is not None and starter.pid != 1 else None


def end_with(pid: int) -> None:
    """Kill this process soon after the process with this id has ended.

    A killed `dvc` leaves its stage running; the next one would start the same stage beside it.
    """
    import psutil

    def wait() -> None:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(LOOK)

    _end_after(wait)


def end_with_parent() -> None:
    """Kill this worker process soon after its parent has ended; otherwise it would wait forever for more work."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    _end_after(parent.join)


def _end_after(wait: Callable[[], object]) -> None:
    def end() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGKILL)

    Thread(target=end, daemon=True).start()


@contextmanager
def _alone(stage: str) -> Iterator[None]:
    """Wait until no other process runs this stage in this workspace."""
    from filelock import FileLock, Timeout

    lock = FileLock(paths.stage_lock(stage))
    paths.stage_lock(stage).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another process that runs {stage}", sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _end(line: str, code: int) -> None:
    say(f"error: {line}", sys.stderr)
    raise SystemExit(code) from None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
