"""`cnnstudy check` and `cnnstudy repro`: `dvc repro` with stages in parallel, recorded in MLflow at the end.

DVC itself brings each stage up to date, so that it is skipped, restored or run as usual; the result is that of
`dvc repro`, including dvc.lock.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Protocol

from cnnstudy.cluster.coordinator import Options, TakenBackError, coordinating, of_workers
from cnnstudy.commands import progress, sizes
from cnnstudy.commands.check import check_file
from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.data.sources import refuse_special_files, require_sources
from cnnstudy.errors import UserError
from cnnstudy.tracking import write
from cnnstudy.workspace import committed, dvc, parallel, paths, recovery
from cnnstudy.workspace.git import require_repository
from cnnstudy.workspace.terminal import say

# Seconds to wait for the processes of a rebuild that was just killed.
PATIENCE = 3.0
# A file of the GPU driver: without it TensorFlow finds no GPU.
DRIVER = Path("/dev/nvidiactl")
# Exits with 0 where TensorFlow sees a GPU, which a build for CPUs never does.
SEES_GPU = "import sys, tensorflow as tf; sys.exit(not tf.config.list_physical_devices('GPU'))"


def check() -> None:
    """Check params.yaml, which DVC reads before its stage `check` can, and mend DVC's own files.

    Raises:
        UserError: params.yaml has a value that is not allowed, a source has a file that DVC would read forever, or
            dvc.lock has both sides of a merge.
    """
    check_file()
    refuse_special_files(read_params())
    with suppress(TimeoutError), dvc.repository_lock():  # another `dvc` that is at work has left nothing torn
        for line in recovery.mend():
            say(line)


def rebuild(targets: list[str], jobs: int | None = None, cluster: Options | None = None) -> None:
    """Bring stages up to date, all of them or `targets` and what they need, `jobs` at a time on this machine.

    After a failure no more stages start; running ones are waited for.

    Stages that train run on a cluster if one is given.

    Raises:
        UserError: params.yaml or an argument holds a value that is not allowed, another rebuild is at work here, or the
            cluster can't be used.
        KeyboardInterrupt: the process was interrupted or terminated; its stages have ended.
        SystemExit: with code 1, where a stage failed; its error is printed last.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs: {jobs} found; allowed: 1 or more")
    read_params()  # without params.yaml, this is the wrong folder to write a lock in
    require_repository()
    with alone():
        _rebuild(targets, jobs, cluster)


def _rebuild(targets: list[str], jobs: int | None, cluster: Options | None) -> None:
    plan, params = _plan(targets), read_params()
    if not plan.needs:
        if recovery.is_unfinished():
            _settle(plan)
            recovery.forget()
        say("Data and pipelines are up to date.")
        return
    if any(name.startswith("ingest@") for name in plan.needs):
        require_sources(params)
    before = recovery.read_lock()
    recovery.order_at_start()
    try:
        count = jobs or default_jobs(params)
        shown = progress.RebuildProgress(params, plan.needs, count)
        failures = run_stages(plan, count, shown, params.seeds, cluster)
    finally:
        _settle(plan)
    if recovery.read_lock() != before:
        told = "dvc.lock has changed: `git add dvc.lock` for git, `dvc push` for a remote storage."
        say(committed.machine_note() or told)
    write.record_workspace(params)
    if failures:
        say(f"error: {failures[0]}", sys.stderr)
        raise SystemExit(1)
    recovery.forget()
    if "report" in plan.needs:
        for line in progress.closing(params):
            say(line)


@contextmanager
def alone() -> Iterator[None]:
    """Refuse a second rebuild in this workspace: its stages would fail where both rebuilds write."""
    from filelock import FileLock, Timeout

    paths.REBUILD_LOCK.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(paths.REBUILD_LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError("another `cnnstudy repro` is at work here; allowed: one at a time") from None
    try:
        yield
    finally:
        lock.release()


def _settle(plan: dvc.Plan) -> None:
    """Write DVC's files as `dvc repro` does: complete, with new stages after the existing ones."""
    with suppress(TimeoutError), dvc.repository_lock():
        for line in recovery.mend():
            say(line)
        known = recovery.order_at_start()
        recovery.sort_lock([*known, *(name for name in plan.order if name not in known)])


def _plan(targets: list[str]) -> dvc.Plan:
    """Check and plan; retry for some seconds while the processes of a rebuild that has just been killed end."""
    deadline = time.monotonic() + PATIENCE
    while True:
        check()
        if not targets:  # DVC would notice a missing source only after a while
            require_sources(read_params())
        try:
            return dvc.plan(targets)
        except dvc.BusyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def default_jobs(params: Params) -> int:
    """Return for how many stages at once cores and memory suffice; 1 if TensorFlow sees a GPU."""
    if DRIVER.exists():
        asked = subprocess.run([sys.executable, "-c", SEES_GPU], capture_output=True, check=False)
        if asked.returncode == 0:
            return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    _, memory = sizes.memory_bytes(params, sizes.shapes(params))
    return max(1, min(cores // params.compute.threads, sizes.machine_memory() // memory))


class Observer(Protocol):
    """Receiver of what happens to the stages of a rebuild (see cnnstudy.commands.progress.RebuildProgress)."""

    def add_jobs(self, count: int) -> None:
        """Take note that so many stages more can run at once, on other machines."""

    def start(self, name: str) -> None:
        """Take note that a stage begins."""

    def hear(self, name: str, text: str) -> None:
        """Take note of a line that a stage prints."""

    def finish(self, name: str) -> None:
        """Take note that a stage has succeeded."""

    def fail(self, name: str) -> None:
        """Take note that a stage has failed, or was stopped."""

    def end(self) -> None:
        """Take note that all stages have ended."""


def run_stages(
    plan: dvc.Plan, jobs: int, shown: Observer, seeds: list[int], cluster: Options | None = None
) -> list[parallel.StageError]:
    """Run the stages of a plan, `jobs` at a time here and others on a cluster if one is given; return the failures.

    `seeds` are those that each training has.

    Raises:
        UserError: the cluster can't be used.
        KeyboardInterrupt: the process was interrupted or terminated; the stages have ended.
    """
    stages = parallel.Subprocesses({write.LATER: "1"}, shown.hear)

    def finished(name: str) -> None:
        recovery.keep_lock()
        shown.finish(name)

    with _interruptible(), ThreadPoolExecutor(jobs) as pool, ExitStack() as stack:
        workers = None
        if cluster and of_workers(plan.needs):
            workers = stack.enter_context(coordinating(cluster, seeds, list(plan.needs), shown.hear))
            shown.add_jobs(workers.capacity)

        def task(name: str) -> None:
            try:
                if workers and workers.takes(name):
                    workers(name)
                else:
                    shown.start(name)
                    stages(name)
            except parallel.StageError:
                shown.fail(name)
                if workers:
                    workers.stop_waiting()
                raise

        def executor_of(name: str) -> Executor:
            return workers.pool if workers and workers.takes(name) else pool

        try:
            failures = parallel.run_all(plan.needs, plan.order, task, executor_of, finished)
            return sorted(failures, key=lambda error: isinstance(error, TakenBackError))  # the cause first
        except KeyboardInterrupt:
            ended = [*stages.end(), *(workers.end() if workers else ())]
            raise KeyboardInterrupt(f"{', '.join(ended)} ended") from None
        finally:
            shown.end()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT and SIGTERM, even if they were ignored, as in a shell's background."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handlers = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
