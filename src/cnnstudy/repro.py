"""`dvc repro`, several stages at once: as many as there are cores for, with `compute.threads` each.

Each stage is done by DVC itself, `dvc --wait-for-lock repro --single-item`, so it is skipped, restored or run as ever.
The result is that of `dvc repro`, dvc.lock included.
"""

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

from cnnstudy import dvclock, paths, process, recovery, sizes, warm
from cnnstudy.errors import UserError
from cnnstudy.params import Params, require_sources

# A device that several trainings would have to share.
GPU = Path("/dev/nvidiactl")
# What every process that runs DVC imports.
PRELOADED = (
    "dvc.cli.parser",
    "dvc.repo.reproduce",
    "dvc.commands.repro",
    # What DVC imports while it loads a repository and brings a stage up to date.
    "dvc.cachemgr",
    "dvc.data_cloud",
    "dvc.dirs",
    "dvc.lock",
    "dvc.repo.artifacts",
    "dvc.repo.datasets",
    "dvc.repo.metrics",
    "dvc.repo.open_repo",
    "dvc.repo.params",
    "dvc.repo.plots",
    "dvc.repo.stage",
    "dvc.rwlock",
    "dvc.scm",
    "dvc_data.hashfile.db.local",
    "dvc_data.hashfile.status",
    "dvc_render",
    "configobj",
    "dulwich.ignore",
    "dulwich.index",
    "dulwich.worktree",
    "flatten_dict",
    "fsspec.implementations.memory",
    "scmrepo.git",
    "scmrepo.noscm",
    "zc.lockfile",
    # What every stage imports.
    "filelock",
    "psutil",
    "ruamel.yaml",
    "yaml",
    "cnnstudy.repro",
    "cnnstudy.preloaded",
)


# What DVC says at the end of a rebuild, here of every stage; `repro` says it once.
PARTING = (
    b"",
    b"Updating lock file 'dvc.lock'",
    b"To track the changes with git, run:",
    b"git add dvc.lock",
    b"To enable auto staging, run:",
    b"dvc config core.autostage true",
    b"Use `dvc push` to send your updates to remote storage.",
)


def default_jobs(params: Params) -> int:
    """As many stages as cores and memory are enough for; one where there is a GPU."""
    if GPU.exists():
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    _, memory = sizes.memory_bytes(params)
    return max(1, min(cores // params.compute.threads, sizes.machine_memory() // memory))


def repro(targets: list[str], jobs: int, params: Params) -> bool:
    """Bring stages up to date, all of them or `targets` and what they need; whether that went well.

    After a failure no more stages are started; those that run are waited for.

    Raises:
        UserError: a target is no stage, or a source that is to be read is not there.
    """
    gc.disable()  # of what planning makes all stays; then this process waits
    needs, order = _plan(targets)
    if not needs:
        print("Data and pipelines are up to date.", flush=True)
        return True
    if any(name.startswith("ingest@") for name in needs):
        require_sources(params)
    recovery.leave_guardian(os.getpid())
    os.environ[recovery.GUARDED] = "1"
    known, before = _locked(), _content()
    try:
        done = _run_all(needs, order, jobs)
    finally:
        _sort_lock([*known, *(name for name in order if name not in known)])
    if _content() != before:
        print("dvc.lock has changed: `git add dvc.lock` for git, `dvc push` for a remote storage.", flush=True)
    return done


def _plan(targets: list[str]) -> tuple[dict[str, set[str]], list[str]]:
    """({stage that is not up to date: those of them that it needs}, every stage in DVC's order).

    Raises:
        UserError: a target is no stage, another rebuild goes on, or DVC can't read its files.
    """
    import networkx
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo
    from dvc.repo.reproduce import plan_repro

    repo = Repo(".", _wait_for_lock=True)
    try:
        graph = repo.index.graph
    except DvcException as error:
        raise UserError(f"dvc.yaml or dvc.lock: {' '.join(str(error).split())}; allowed: what DVC can read") from None
    try:
        wanted = [stage for target in targets for stage in repo.stage.collect(target)] or list(graph)
    except DvcException as error:
        raise UserError(f"STAGE: {' '.join(str(error).split())}; allowed: what `dvc stage list` lists") from None
    within = set(wanted).union(*(networkx.descendants(graph, stage) for stage in wanted))
    try:
        changed = set(repo.status(check_updates=False))  # what is imported stays at its commit, as in `dvc repro`
    except LockError as error:
        cause = " ".join(str(error).partition("\n\n")[0].split())
        raise UserError(f"another dvc is at work here: {cause}; allowed: one at a time") from None
    stale = {stage for stage in within if stage.addressing in changed}
    stale = stale.union(*(networkx.ancestors(graph, stage) & within for stage in stale))
    needs = {
        stage.addressing: {other.addressing for other in networkx.descendants(graph, stage) & stale} for stage in stale
    }
    return needs, [stage.addressing for stage in plan_repro(graph)]


def _run_all(needs: dict[str, set[str]], order: list[str], jobs: int) -> bool:
    from cnnstudy.tracking.recorder import recording

    context = _context(needs)
    with recording(context, needs) as record:
        return _run_each(needs, order, jobs, context, record)


def _run_each(
    needs: dict[str, set[str]], order: list[str], jobs: int, context: BaseContext, record: Callable[[str], None]
) -> bool:
    waiting = [name for name in order if name in needs]
    running: dict[BaseProcess, str] = {}
    done: set[str] = set()
    failed = False
    try:
        while running or (waiting and not failed):
            ready = [name for name in waiting if needs[name] <= done] if not failed else []
            for name in ready[: jobs - len(running)]:
                waiting.remove(name)
                one = context.Process(target=_run_one, args=(name, jobs > 1))  # type: ignore[attr-defined]
                one.start()
                running[one] = name
            wait([one.sentinel for one in running])
            for one in [one for one in running if not one.is_alive()]:
                name = running.pop(one)
                if one.exitcode == 0:
                    done.add(name)
                    record(name)
                else:
                    failed = True
                    print(f"error: {name} failed", file=sys.stderr, flush=True)
    finally:  # Ctrl-C reaches them too
        for one in running:
            one.join()
    return not failed


def _context(stages: Iterable[str]) -> BaseContext:
    """Processes that begin with DVC imported, and with what some stages import, where the system can."""
    is_served = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if is_served else "spawn")
    if is_served:
        os.environ[warm.LIBRARIES] = " ".join(warm.libraries(stages) if _forks_stages() else [])
        context.set_forkserver_preload(list(PRELOADED))
    return context


def _forks_stages() -> bool:
    """Whether stages may be forks: not beside a GPU, whose driver allows none, nor where macOS's libraries don't."""
    return sys.platform == "linux" and not GPU.exists()


def _run_one(name: str, is_prefixed: bool) -> None:
    """Have DVC bring a stage up to date; ends this process with DVC's exit code."""
    process.end_with_parent()
    if is_prefixed:
        _prefix_output(name)
    from dvc.cli import main

    dvclock.hasten()
    if _forks_stages():
        warm.fork_stages()
    sys.exit(main(["--wait-for-lock", "repro", "--single-item", name]))


def _prefix_output(name: str) -> None:
    """Put the stage's name before each line that this process and those below it write, but DVC's parting words."""
    terminal = os.dup(1)
    read, write = os.pipe()
    os.dup2(write, 1)
    os.dup2(write, 2)
    os.close(write)

    def copy() -> None:
        with os.fdopen(read, "rb") as lines:
            for line in lines:
                if line.strip() not in PARTING:
                    os.write(terminal, f"{name}: ".encode() + line)

    Thread(target=copy, daemon=True).start()


def _locked() -> list[str]:
    """The stages in dvc.lock, in its order."""
    return recovery.stage_names(paths.LOCK) if paths.LOCK.exists() else []


def _content() -> bytes:
    """What dvc.lock holds."""
    return paths.LOCK.read_bytes() if paths.LOCK.exists() else b""


def _sort_lock(order: Iterable[str]) -> None:
    """Give dvc.lock the order that stages done one by one leave: DVC appends what is new.

    Only the order: others may add stages meanwhile, and where they hold the lock for long it stays as it is.
    """
    from dvc.utils.serialize import modify_yaml

    dvclock.hasten()
    with suppress(TimeoutError), recovery.dvc_lock():
        present = _locked() if recovery.lock_is_whole() else []
        known = [name for name in order if name in present]
        wanted = [*known, *(name for name in present if name not in known)]
        if wanted != present:
            with modify_yaml(str(paths.LOCK)) as content:
                stages: dict[str, Any] = content["stages"]
                content["stages"] = {name: stages[name] for name in wanted}
