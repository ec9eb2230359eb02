"""The tasks of a Dask worker: run a stage, or a module such as one that trains a seed, in a workspace of this node.

The code that trains arrives with each task, so only git, DVC and a few modules of this package are needed beforehand.
"""

import fcntl
import hashlib
import io
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from cnnstudy.workspace import recovery
from cnnstudy.workspace.machine import Machine, this_machine

# The variables that name the folder of this node's workspaces and cache, which must be on a local disk, and the folder
# of unfinished trainings, which other nodes may share.
FOLDER, CHECKPOINTS = "CNNSTUDY_CLUSTER", "CNNSTUDY_CHECKPOINTS"
# The topic of Dask's events under which workers tell what their stages print.
TOPIC = "cnnstudy"
# A stage that fails with less free space than this is taken to have failed for that.
LEAST_SPACE = 200 * 2**20
# Seconds before each further attempt to send results to the remote.
PAUSES = (5, 20)
# What DVC says of a stage whose outputs it takes from its cache.
CACHED = "is cached - skipping run"
# The reference of a task's code in a workspace.
REFERENCE = "refs/cnnstudy/task"


@dataclass(frozen=True)
class Node:
    """The requirements of a node: Python's version, packages' versions, this file's hash, and the hardware if given."""

    python: str
    packages: dict[str, str]
    code: str
    hardware: str = ""


@dataclass(frozen=True)
class Storage:
    """How data reaches a node: a DVC remote with its address, or a cache folder that all nodes share."""

    remote: str = ""
    url: str = ""
    cache: str = ""


@dataclass(frozen=True)
class Job:
    """A stage for a worker: its name, a key, the code's commit, dvc.lock's text, and the outputs that it reads.

    `reference` is the commit's name in the bundle, `prefix` the project's folder in git's repository. `variables` are
    of the environment.
    """

    stage: str
    key: str
    commit: str
    reference: str
    prefix: str
    lock: str
    inputs: tuple[str, ...]
    storage: Storage
    node: Node
    variables: dict[str, str] = field(repr=False)  # perhaps with a password, and Dask logs arguments


@dataclass(frozen=True)
class Done:
    """The result of a task: an error, or what it made.

    `is_of_node` says that the node failed, and another may do better; `worker` is its address, `place` where its
    workspaces are. `entry` is the stage's entry in dvc.lock. `archive` holds a trained seed, `failed_seeds` are the
    places of those whose tasks failed. `machines` are those that trained, none if the outputs were in DVC's cache.
    `steps` are seconds by kind of work, `training` those of training; `began` and `ended` are in seconds since 1970.
    """

    error: str = ""
    is_of_node: bool = False
    worker: str = ""
    place: str = ""
    entry: str = ""
    archive: bytes = b""
    failed_seeds: tuple[int, ...] = ()
    machines: tuple[Machine, ...] = ()
    began: float = 0.0
    ended: float = 0.0
    training: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)


class _TaskError(Exception):
    """A task that failed; `is_of_node` as in `Done`."""

    def __init__(self, text: str, is_of_node: bool) -> None:
        super().__init__(text)
        self.is_of_node = is_of_node


def code_md5() -> str:
    """Return the hash of this file, which the coordinator and all nodes must share."""
    return hashlib.md5(Path(__file__).read_bytes()).hexdigest()


def problems(wanted: Node) -> list[str]:
    """Return why this node can't take tasks, a line for each reason."""
    found = []
    if platform.python_version() != wanted.python:
        found.append(f"Python {platform.python_version()}, but {wanted.python} is needed")
    if wrong := [f"{name} {_installed(name)}, not {its}" for name, its in wanted.packages.items()
                 if _installed(name) != its]:  # fmt: skip
        found.append(f"packages unlike the lock file ({'; '.join(wrong[:3])}); `make setup` there installs them")
    if code_md5() != wanted.code:
        found.append("another version of cnnstudy; `git pull && make setup` there brings this one")
    hardware = this_machine().hardware
    if wanted.hardware and hardware != wanted.hardware:
        found.append(f"{hardware}, but --same-hardware wants {wanted.hardware}")
    return found


@dataclass(frozen=True)
class Examined:
    """A node: its problems, its machine, the place of its workspaces, and whether it sees the coordinator's cache."""

    problems: list[str]
    machine: Machine
    place: str
    sees_cache: bool


def examine(wanted: Node, token: str) -> Examined:
    """Examine this node; `token` is a file in the coordinator's cache."""
    return Examined(problems(wanted), this_machine(), _place(), Path(token).is_file())


def running() -> list[str]:
    """Return the keys of the tasks that run on this worker."""
    return sorted(_running)


def end(keys: list[str]) -> None:
    """End some tasks on this worker, those of a stage's seeds included."""
    for key, task in list(_running.items()):
        if key in keys or key.rpartition("-seed")[0] in keys:
            task.end()


def wanted(keys: list[str], dask_scheduler: Any = None) -> list[str]:
    """Return which of some tasks any client wants, or needs for another task; Dask's scheduler runs this."""
    found = {key: dask_scheduler.tasks[key] for key in keys if key in dask_scheduler.tasks}
    return [key for key, task in found.items() if task.who_wants or task.waiters]


def run_stage(job: Job, code: bytes, *seeds: Done) -> Done:
    """Run a stage with the seeds that other tasks have trained, and store its outputs; errors are in the result."""
    if failed := [each for each in seeds if each.error]:
        return replace(failed[0], failed_seeds=tuple(place for place, each in enumerate(seeds) if each.error))
    task = _Task(job)

    def work() -> Done:
        for each in seeds:
            _unpack(each.archive, task.seeds)
        task.run("stage", sys.executable, "-m", "cnnstudy.workspace.parallel", job.stage, str(os.getpid()))
        task.store()
        entry = recovery.entries((task.folder / "dvc.lock").read_text(encoding="utf-8"))[job.stage]
        trained = tuple(machine for each in seeds for machine in each.machines) or (this_machine(),)
        return task.done(
            entry=entry,
            machines=() if task.is_cached else trained,
            training=sum(each.training for each in seeds) or task.steps["stage"],
            began=min([task.began, *(each.began for each in seeds)]),
        )

    return _result(task, code, work)


def run_module(job: Job, code: bytes, module: str, *arguments: str) -> Done:
    """Run a module with the data that a stage reads, and return the seeds that it trains; errors are in the result."""
    task = _Task(job)

    def work() -> Done:
        task.run("stage", sys.executable, "-m", module, *arguments, str(os.getpid()))
        return task.done(archive=_packed(task.seeds), machines=(this_machine(),), training=task.steps["stage"])

    return _result(task, code, work)


class _Task:
    """A task at work in a workspace of this node."""

    def __init__(self, job: Job) -> None:
        self.job, self.began = job, time.time()
        self.steps: dict[str, float] = {}
        self.root = _root()
        self.workspace = self.folder = self.root
        self.lock: BinaryIO | None = None
        self.process: subprocess.Popen[str] | None = None
        self.is_ended = self.is_cached = False

    @property
    def seeds(self) -> Path:
        """The folder of trained seeds that the stage takes (see cnnstudy.training.checkpoint)."""
        return self.workspace / "seeds"

    def enter(self, workspace: Path, lock: BinaryIO) -> None:
        """Take a workspace, whose lock is held."""
        self.workspace, self.lock = workspace, lock
        self.folder = workspace / "code" / self.job.prefix
        shutil.rmtree(self.seeds, ignore_errors=True)
        self.seeds.mkdir(parents=True)

    def end(self) -> None:
        """Kill the process of this task, and begin no other one."""
        self.is_ended = True
        if self.process:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)

    def done(self, **made: Any) -> Done:
        """Return the result of the task, with where and how long it ran."""
        from distributed import get_worker

        steps = {name: round(seconds, 2) for name, seconds in self.steps.items()}
        whole = Done(worker=get_worker().address, place=_place(), began=self.began, ended=time.time(), steps=steps)
        return replace(whole, **made)

    def check_out(self, code: bytes) -> None:
        """Bring git's files to the state of the job's commit; ignored files, such as data, stay."""
        if found := problems(self.job.node):
            raise _TaskError("; ".join(found), is_of_node=True)
        top = self.workspace / "code"
        if not (top / ".git").is_dir():
            self.run("code", "git", "init", "--quiet", str(top), where=self.workspace)
        if self.run("code", "git", "for-each-ref", "--format=%(objectname)", REFERENCE, where=top) != self.job.commit:
            bundle = self.workspace / "bundle"
            bundle.write_bytes(code)
            references = f"+{self.job.reference}:{REFERENCE}"
            self.run("code", "git", "fetch", "--quiet", str(bundle), references, where=top)
            bundle.unlink()
        self.run("code", "git", "checkout", "--quiet", "--force", "--detach", self.job.commit, where=top)
        self.run("code", "git", "clean", "-fdq", where=top)
        (self.folder / "dvc.lock").write_text(self.job.lock, encoding="utf-8")
        # No other process uses this workspace, so what a killed DVC left behind means nothing.
        (self.folder / ".dvc/tmp/rwlock").unlink(missing_ok=True)
        (self.folder / ".dvc/config.local").write_text(self._config(), encoding="utf-8")
        checkpoints, own = Path(os.environ.get(CHECKPOINTS) or self.root / "checkpoints"), self.folder / "checkpoints"
        checkpoints.mkdir(parents=True, exist_ok=True)
        if not own.exists():  # shared, so that a rerun in another workspace resumes
            own.symlink_to(checkpoints)

    def fetch_inputs(self) -> None:
        """Bring the outputs of other stages that this one reads to the state that dvc.lock gives."""
        if not self.job.inputs:  # DVC would take none for all
            return
        remote = self.job.storage.remote
        how = ("pull", "--remote", remote) if remote else ("checkout",)
        try:
            self.run("inputs", sys.executable, "-m", "dvc", *how, "--force", *self.job.inputs)
        except _TaskError as error:
            raise _TaskError(f"dvc {how[0]}: {error}", is_of_node=True) from None

    def store(self) -> None:
        """Send the outputs to the remote, if there is one; it may be away for a moment.

        Raises:
            _TaskError: it stays away. DVC's cache on this node has the outputs.
        """
        remote = self.job.storage.remote
        for pause in (*PAUSES, None) if remote else ():
            try:
                self.run("push", sys.executable, "-m", "dvc", "push", "--remote", remote, self.job.stage)
                return
            except _TaskError as error:
                if pause is None or self.is_ended:
                    raise _TaskError(f"dvc push: {error}", is_of_node=False) from None
                time.sleep(pause)

    def run(self, step: str, *command: str, where: Path | None = None) -> str:
        """Run a command, tell the coordinator what a stage prints, and return the last line printed.

        Raises:
            _TaskError: the command failed.
        """
        assert self.lock
        begun = time.monotonic()
        error = last = ""
        # The process keeps the workspace's lock if this worker is killed.
        self.process = subprocess.Popen(
            command, cwd=where or self.folder, env=self._environment(), process_group=0, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            pass_fds=(self.lock.fileno(),),
        )  # fmt: skip
        if self.is_ended:
            self.end()
        with self.process:
            for line in self.process.stdout or ():
                last = line.strip() or last
                if step == "stage":
                    self.is_cached |= CACHED in line
                    self._tell(line.rstrip())
                if line.startswith("error: ") or (line.startswith("ERROR: ") and not error):
                    error = line.partition(" ")[2].strip()
        code, self.process = self.process.returncode, None
        self.steps[step] = self.steps.get(step, 0.0) + time.monotonic() - begun
        if code:
            is_full = shutil.disk_usage(self.root).free < LEAST_SPACE
            text = error or last or f"exit code {code}"
            raise _TaskError(f"{text} (no space left in {self.root})" if is_full else text, is_full or step != "stage")
        return last

    def _config(self) -> str:
        """Return DVC's configuration for this workspace alone."""
        storage = self.job.storage
        cache = f"[cache]\n    dir = {storage.cache or self.root / 'cache'}\n"
        return cache + (f"['remote \"{storage.remote}\"']\n    url = {storage.url}\n" if storage.url else "")

    def _environment(self) -> dict[str, str]:
        own = {
            "PYTHONPATH": str(self.folder / "src"),
            "DVC_SITE_CACHE_DIR": str(self.workspace / "site"),  # SQLite files, which a network's file system breaks
            "DVC_NO_ANALYTICS": "1",
            "CNNSTUDY_TRACK_LATER": "1",
            "CNNSTUDY_SEEDS": str(self.seeds),
            "PYTHONUNBUFFERED": "1",
        }
        return {name: value for name, value in os.environ.items() if name != "DVC_ROOT"} | own | self.job.variables

    def _tell(self, line: str) -> None:
        from distributed import get_worker

        get_worker().log_event(TOPIC, {"key": self.job.key, "stage": self.job.stage, "line": line})


# The tasks that run on this worker, by their keys.
_running: dict[str, _Task] = {}


def _result(task: _Task, code: bytes, work: Callable[[], Done]) -> Done:
    """Return the result of a task's work in a workspace with its code and data, or the failure with the node's name."""
    _running[task.job.key] = task
    try:
        with _in_workspace(task):
            task.check_out(code)
            task.fetch_inputs()
            return work()
    except _TaskError as error:
        return task.done(error=f"{error} (on {platform.node()})", is_of_node=error.is_of_node)
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        return task.done(error=f"{text} (on {platform.node()})", is_of_node=True)
    finally:
        if _running.get(task.job.key) is task:  # Dask may have begun it again meanwhile
            del _running[task.job.key]


@contextmanager
def _in_workspace(task: _Task) -> Iterator[None]:
    """Lock a workspace of this node that no other task uses, and enter it."""
    task.root.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        workspace = task.root / f"workspace{number}"
        workspace.mkdir(exist_ok=True)
        with (workspace / "lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            task.enter(workspace, lock)
            yield
            return


def _root() -> Path:
    return Path(os.environ.get(FOLDER) or Path.home() / ".cache/cnnstudy")


def _place() -> str:
    """Return where this node's workspaces are, which its workers share."""
    return f"{platform.node()}:{_root()}"


def _packed(folder: Path) -> bytes:
    """Return the files below a folder as a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    return buffer.getvalue()


def _unpack(content: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
