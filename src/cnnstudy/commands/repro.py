"""`cnnstudy check` and `cnnstudy repro`: `dvc repro` with stages in parallel, recorded in MLflow at the end.

DVC itself brings each stage up to date, so that it is skipped, restored or run as ever; the result is that of
`dvc repro`, dvc.lock included.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from cnnstudy.commands import sizes
from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.data.sources import check_formats, require_sources
from cnnstudy.errors import UserError
from cnnstudy.tracking import record
from cnnstudy.workspace import dvc, parallel, recovery

# Seconds that the processes of a rebuild that was just killed have to end.
PATIENCE = 3.0
# A driver that TensorFlow may find GPUs by.
DRIVER = Path("/dev/nvidiactl")
# Exits with 0 where TensorFlow sees a GPU, which a build for CPUs never does.
SEES_GPU = "import sys, tensorflow as tf; sys.exit(not tf.config.list_physical_devices('GPU'))"


def check() -> None:
    """Check params.yaml, which DVC reads before its stage `check` can, and mend DVC's own files.

    Raises:
        UserError: params.yaml holds a value that is not allowed, or dvc.lock the two sides of a merge.
    """
    check_formats(read_params())
    with suppress(TimeoutError), dvc.repository_lock():  # another `dvc` that is at work has left nothing torn
        for line in recovery.mend():
            print(line, flush=True)


def rebuild(targets: list[str], jobs: int | None = None) -> None:
    """Bring stages up to date, all of them or `targets` and what they need, `jobs` at a time.

    After a failure no more stages are started; those that run are waited for.

    Raises:
        UserError: params.yaml or an argument holds a value that is not allowed.
        KeyboardInterrupt: the process was interrupted or terminated; its stages have ended.
        SystemExit: with code 1, where a stage failed; its error is printed last.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs: {jobs} found; allowed: 1 or more")
    plan, params = _plan(targets), read_params()
    if not plan.needs:
        if recovery.is_unfinished():
            _settle(plan)
            recovery.forget()
        print("Data and pipelines are up to date.", flush=True)
        return
    if any(name.startswith("ingest@") for name in plan.needs):
        require_sources(params)
    before = recovery.read_lock()
    recovery.order_at_start()
    try:
        failures = _run(plan, jobs or default_jobs(params))
    finally:
        _settle(plan)
    if recovery.read_lock() != before:
        print("dvc.lock has changed: `git add dvc.lock` for git, `dvc push` for a remote storage.", flush=True)
    record.record_workspace(params)
    if failures:
        print(f"error: {failures[0]}", file=sys.stderr, flush=True)
        raise SystemExit(1)
    recovery.forget()


def _settle(plan: dvc.Plan) -> None:
    """Leave DVC's files as `dvc repro` does: whole, and new stages behind those that were there."""
    with suppress(TimeoutError), dvc.repository_lock():
        for line in recovery.mend():
            print(line, flush=True)
        known = recovery.order_at_start()
        recovery.sort_lock([*known, *(name for name in plan.order if name not in known)])


def _plan(targets: list[str]) -> dvc.Plan:
    """Check and plan, again for some seconds while the processes of a rebuild that has just been killed end."""
    deadline = time.monotonic() + PATIENCE
    while True:
        check()
        try:
            return dvc.plan(targets)
        except dvc.BusyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def default_jobs(params: Params) -> int:
    """Return how many stages cores and memory are enough for; one where TensorFlow sees a GPU."""
    if DRIVER.exists():
        asked = subprocess.run([sys.executable, "-c", SEES_GPU], capture_output=True, check=False)
        if asked.returncode == 0:
            return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    _, memory = sizes.memory_bytes(params)
    return max(1, min(cores // params.compute.threads, sizes.machine_memory() // memory))


def _run(plan: dvc.Plan, jobs: int) -> list[parallel.StageError]:
    task = parallel.Subprocesses({record.LATER: "1"})
    with _interruptible(), ThreadPoolExecutor(jobs) as pool:
        try:
            return parallel.run_all(plan.needs, plan.order, task, lambda _: pool, lambda _: recovery.keep_lock())
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{', '.join(task.end())} ended") from None


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have SIGINT and SIGTERM raise KeyboardInterrupt, even where they were ignored, as in a shell's background."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handlers = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
