"""Stages in parallel: a scheduler over the graph of stages, and the task that brings one stage up to date.

The scheduler knows nothing of subprocesses: a task runs in the executor that `executor_of` names for its stage, which
may be a pool of threads that wait for subprocesses, or the client of another machine.

As a script, `python -m cnnstudy.workspace.parallel STAGE PID` brings one stage up to date, and ends when
the process PID does.
"""

import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from queue import PriorityQueue
from threading import Lock

from cnnstudy.workspace import dvc, stage
from cnnstudy.workspace.terminal import say

# Lines that DVC prints at the end of a rebuild; they are dropped, since every stage would repeat them.
PARTING = (
    "",
    "Updating lock file 'dvc.lock'",
    "To track the changes with git, run:",
    "git add dvc.lock",
    "To enable auto staging, run:",
    "dvc config core.autostage true",
    "Use `dvc push` to send your updates to remote storage.",
)
# Seconds that stages of an interrupted rebuild have to end before they are killed.
PATIENCE = 10.0


class StageError(Exception):
    """A stage that failed, with its error in one line."""


def run_all(
    needs: dict[str, set[str]],
    order: list[str],
    task: Callable[[str], None],
    executor_of: Callable[[str], Executor],
    finished: Callable[[str], None],
) -> list[StageError]:
    """Run every stage of `needs` once the stages it needs have ended, and call `finished` with its name.

    Stages that wait for the same executor start in the order of `order`. After a failure no more stages start; running
    ones are waited for.

    Returns:
        The failures, the earliest first.
    """
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    ready: defaultdict[Executor, PriorityQueue[tuple[int, str]]] = defaultdict(PriorityQueue)
    futures: set[Future[str | None]] = set()
    failures: list[StageError] = []

    def run_first(queue: PriorityQueue[tuple[int, str]]) -> str | None:
        _, name = queue.get()
        if failures:
            return None
        try:
            task(name)
        except StageError as error:
            failures.append(error)
            return None
        return name

    while futures or (sorter.is_active() and not failures):
        names = sorter.get_ready()
        for name in names:
            ready[executor_of(name)].put((order.index(name), name))
        futures |= {executor_of(name).submit(run_first, ready[executor_of(name)]) for name in names}
        done, futures = wait(futures, return_when=FIRST_COMPLETED)
        for name in filter(None, (future.result() for future in done)):
            sorter.done(name)
            finished(name)
    return failures


@dataclass
class Subprocesses:
    """A task that has DVC bring a stage up to date in a subprocess; `hear` gets the stage's name and each output line.

    Each subprocess leads a process group of its own, so that Ctrl-C reaches it through `end` alone.
    """

    environment: dict[str, str]
    hear: Callable[[str, str], None] = lambda name, line: say(f"{name}: {line}")
    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    has_ended: bool = False
    lock: Lock = field(default_factory=Lock)

    def __call__(self, name: str) -> None:
        """Run a stage to its end.

        Raises:
            StageError: it failed.
        """
        with self.lock:
            if self.has_ended:
                return
            process = self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "cnnstudy.workspace.parallel", name, str(os.getpid())],
                env=os.environ | self.environment, process_group=0, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            )  # fmt: skip
        error = ""
        with process:
            for line in process.stdout or ():
                if line.strip() not in PARTING:
                    self.hear(name, line.rstrip())
                # A stage says in one line what is wrong; DVC then adds that the stage has failed.
                if line.startswith("error: ") or (line.startswith("ERROR: ") and not error):
                    error = line.partition(" ")[2].strip()
        del self.running[name]
        if process.returncode:
            raise StageError(f"{name}: {error or f'ended with exit code {process.returncode}'}")

    def end(self) -> list[str]:
        """Interrupt every stage, kill those still running after some seconds, and return the names of all."""
        with self.lock:
            self.has_ended = True
            ended = dict(self.running)
        _signal(ended, signal.SIGINT)
        try:
            for process in ended.values():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE)
        finally:  # also on a second Ctrl-C, which ends the wait
            _signal(ended, signal.SIGKILL)
        return sorted(ended)


def _signal(processes: dict[str, subprocess.Popen[str]], number: int) -> None:
    for process in processes.values():
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


if __name__ == "__main__":
    _, NAME, PARENT = sys.argv
    signal.signal(signal.SIGINT, signal.default_int_handler)  # SIGINT may be ignored, as in a shell's background jobs
    stage.end_with(int(PARENT))
    os.environ[stage.STARTER] = str(os.getpid())
    sys.exit(dvc.command("--wait-for-lock", "repro", "--single-item", NAME))
