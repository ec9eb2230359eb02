"""How a process of ours ends: a stage runs alone and no longer than its `dvc`, and a failure is one line."""

import gc
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from cnnstudy import inputs, paths
from cnnstudy.errors import UserError
from cnnstudy.recovery import keep_lock, leave_guardian

if TYPE_CHECKING:
    import psutil

SHELLS = {"sh", "bash", "dash", "zsh", "fish", "ksh", "ash"}
# Seconds between two looks at the process that started this one.
LOOK = 0.2
# After how many new objects Python looks for those that only each other refer to.
NEW_OBJECTS = 50_000


def run_stage(main: Callable[..., None], *arguments: str) -> None:
    """Call a stage's `main`, in one process at a time in this workspace, which ends when its `dvc` does.

    What it is begun with must be the same when it has ended; see `inputs`.
    """
    collect_seldom()
    with reported_errors():
        if "DVC_STAGE" in os.environ and (starter := find_starter()):
            leave_guardian(starter.pid)
            keep_lock()
            end_with(starter)
        with _alone("@".join([Path(sys.argv[0]).stem, *arguments])):
            if "DVC_STAGE" in os.environ:
                inputs.begin()
            main(*arguments)
            inputs.check()


def collect_seldom() -> None:
    """Have this process and its forks seldom look for garbage: after 700 objects, as ever, takes a tenth of a stage."""
    gc.set_threshold(NEW_OBJECTS)


@contextmanager
def reported_errors() -> Iterator[None]:
    """Say what a user can mend in one line on stderr.

    Exit codes: 2 for a mistake in parameters or data, 130 for Ctrl-C, 1 for what the machine refuses: a full disk, a
    folder that can't be written, too little memory. What is left is a fault of this program and keeps its traceback.
    """
    try:
        yield
    except UserError as error:
        _end(str(error), 2)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except MemoryError as error:
        _end(f"out of memory ({_line(error) or 'no size given'}); a smaller batch_size or image_size needs less", 1)
    except OSError as error:
        _end(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else _line(error)[:300], 1)


@contextmanager
def silenced() -> Iterator[None]:
    """Drop what is written to stderr, by libraries that don't go through Python too."""
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def find_starter() -> "psutil.Process | None":
    """The `dvc` that started this process: its first ancestor that is no shell."""
    import psutil

    starter = next((one for one in psutil.Process().parents() if one.name() not in SHELLS), None)
    # The first process of all takes over what others leave behind; it may be `dvc` itself in a container, too.
    return starter if starter is not None and starter.pid != 1 else None


def end_with(starter: "psutil.Process") -> None:
    """End, as killed, soon after the `dvc` that started this process has ended.

    A killed `dvc` leaves its stage running; the next one would start the same stage beside it.
    """
    _end_after(lambda: _wait_for(starter))


def end_with_parent() -> None:
    """The same for a worker process, which would wait for ever for work from a killed one."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    _end_after(parent.join)


def _end_after(wait: Callable[[], None]) -> None:
    def end() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGKILL)

    Thread(target=end, daemon=True).start()


def _wait_for(process: "psutil.Process") -> None:
    import psutil

    with suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(LOOK)


@contextmanager
def _alone(stage: str) -> Iterator[None]:
    """Wait until no other process runs this stage in this workspace."""
    from filelock import FileLock, Timeout

    lock = FileLock(paths.stage_lock(stage))
    paths.stage_lock(stage).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another process that runs {stage}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _end(line: str, code: int) -> None:
    print(f"error: {line}", file=sys.stderr, flush=True)
    raise SystemExit(code) from None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
