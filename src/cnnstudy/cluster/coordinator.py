"""The coordinator: it hands stages to the workers of a Dask cluster, and lands their results in this workspace."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from cnnstudy.cluster import connection, worker
from cnnstudy.cluster.batches import Batches
from cnnstudy.cluster.code import snapshot
from cnnstudy.cluster.worker import Done, Job, Storage
from cnnstudy.errors import UserError
from cnnstudy.tracking import store, times
from cnnstudy.workspace import dvc, files, paths, recovery
from cnnstudy.workspace.parallel import PARTING, StageError

if TYPE_CHECKING:
    from distributed import Client, Future

Result = TypeVar("Result")
# Takes a stage's name and a line that it prints.
Hear = Callable[[str, str], None]

# The stages that workers run; those that train take a GPU if any worker has one. All their outputs are stored by DVC.
TRAINING = ("train", "finetune")
REMOTE = (*TRAINING, "export")
# The module that trains one seed of such a stage, and what follows the stage's key in the key of its task.
SEED, OF_SEED = "cnnstudy.cluster.seed", "-seed"
# How many workers a stage is given to, one after the other, if nodes fail.
ATTEMPTS = 3
# Seconds to wait for another `dvc` that works here.
PATIENCE = 120.0
# The beginning of a dvc.lock.
HEAD = "schema: '2.0'\nstages:\n"


@dataclass(frozen=True)
class Options:
    """The options of `cnnstudy repro` for a cluster: its address, DVC's remote, '' for a shared cache, and hardware."""

    address: str
    remote: str = ""
    same_hardware: bool = False


@contextmanager
def coordinating(options: Options, seeds: list[int], names: list[str], hear: Hear) -> Iterator["Coordinator"]:
    """Connect to a cluster, and yield the coordinator of those of the stages `names` that workers run.

    `seeds` are those that each training has.

    Raises:
        UserError: the cluster can't be reached, or no worker can take tasks.
    """
    with connection.connected(options.address) as client:
        storage = _storage(options.remote)
        workers = connection.examined(client, storage)
        hardware = _hardware(workers, options.same_hardware, hear)
        for address, reason in workers.unfit.items():
            hear("cluster", f"{address} is not used: {reason}")
        way = f"the remote {options.remote}" if options.remote else f"the shared cache {storage.cache}"
        hear("cluster", f"{len(workers.fit)} workers; data travels by {way}")
        coordinator = Coordinator(client, seeds, of_workers(names), storage, hardware, hear, workers)
        with coordinator.pool:
            try:
                yield coordinator
            finally:
                coordinator.close()


def of_workers(names: Iterable[str]) -> list[str]:
    """Return those of some stages that workers run."""
    return [name for name in names if name.partition("@")[0] in REMOTE]


def _storage(remote: str) -> Storage:
    """Return how data reaches the workers: by a remote, or by this workspace's cache if it is ''.

    Raises:
        UserError: there is no such remote.
    """
    if not remote:
        return Storage(cache=dvc.cache_folder())
    url = dvc.remote_address(remote)
    # Nodes have an address with a user, a password or a token from their own configuration.
    return Storage(remote, "" if "@" in url or "?" in url else url)


def _hardware(workers: connection.Workers, must_be_same: bool, hear: Hear) -> str:
    """Return the hardware that every training must have; '' for any.

    Raises:
        UserError: it must be the same, and is not.
    """
    kinds = sorted({its.machine.hardware for its in workers.trainers.values()})
    told = " and ".join(kinds)
    if must_be_same and len(kinds) > 1:
        raise UserError(f"--same-hardware: {told} found; allowed: workers of one kind")
    if len(kinds) > 1:
        hear("cluster", f"workers of several kinds, {told}: their results may differ in the last bits")
    return told if must_be_same else ""


class TakenBackError(StageError):
    """A stage that no worker has begun, taken back since another one has failed."""


@dataclass
class Coordinator:
    """A task for `parallel.run_all` that runs a stage on a worker; its threads wait, so it has one for each stage.

    `task` is what a worker does for a stage.
    """

    client: "Client"
    seeds: list[int]
    names: list[str]
    storage: Storage
    hardware: str
    hear: Hear
    workers: connection.Workers
    futures: dict[str, "Future"] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)
    bad_places: set[str] = field(default_factory=set)
    bad_workers: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)
    has_ended: bool = False
    has_failed: bool = False
    task: Callable[..., Done] = worker.run_stage

    def __post_init__(self) -> None:
        """Send the code, and listen to what workers tell."""
        self.pool: Executor = ThreadPoolExecutor(max(1, len(self.names)))
        self.code = snapshot()
        # A task, not scattered data: if its worker is lost, the scheduler makes it again.
        code_key = f"code-{self.code.reference.rpartition('/')[2]}"
        self.bundle = self.client.submit(bytes, self.code.bundle, key=code_key)
        self.needs = dvc.needs(self.names)
        self.has_gpus = bool(self.workers.gpus)
        self.left = {str(key) for key in self.client.list_datasets()}
        at_dvc = Lock()  # this process has DVC do one thing at a time
        self.prepared = Batches(self._prepare, at_dvc)
        self.landed = Batches(self._land, at_dvc)
        self.client.subscribe_topic(worker.TOPIC, self._told)

    def __call__(self, name: str) -> None:
        """Run a stage on a worker, and bring its outputs here.

        Raises:
            StageError: it failed, or its results could not be brought here.
        """
        try:
            key, done = self._done(name, self.prepared(name))
            self.landed((name, key, done))
        except UserError as error:
            raise StageError(f"{name}: {error}") from None
        except (OSError, TimeoutError) as error:  # of the connection, or of this machine's disk
            raise StageError(f"{name}: {' '.join(str(error).split())[:200]}; what has landed stays") from error
        self._unpublish(key)
        seconds = ", ".join(f"{step} {took:.1f}" for step, took in done.steps.items())
        self.hear(name, f"ran on {done.place.partition(':')[0]}, seconds: {seconds}")

    @property
    def capacity(self) -> int:
        """The number of trainings that the workers take at once."""
        known = connection.known(self.client)
        sizes = [its["resources"].get("GPU", 0) if self.has_gpus else its["nthreads"]
                 for address, its in known.items() if address not in self.workers.unfit]  # fmt: skip
        return int(sum(sizes))

    def takes(self, name: str) -> bool:
        """Return whether workers run a stage."""
        return name in self.needs

    def everywhere(self, name: str, module: str, *arguments: str, **variables: str) -> None:
        """Run a module in as many processes as the workers take at once, with the data that a stage reads.

        Each process is given its number after `arguments`. `variables` are of the environment.

        Raises:
            StageError: one of them failed; the others were waited for.
        """
        job = self.prepared(name)
        asked = hashlib.sha256(json.dumps([module, arguments, variables]).encode()).hexdigest()[:16]
        futures = []
        for number in range(self.capacity):
            own = replace(job, key=f"{job.key}-{asked}-{number}", variables=job.variables | variables)
            futures.append(self._submit(own, worker.run_module, module, *arguments, str(number), **self._place(name)))
        errors = []
        for future in futures:
            try:
                errors.append(self._result(name, future).error)
            except StageError as error:
                errors.append(str(error))
        if any(errors):
            raise StageError(f"{name}: {next(filter(None, errors))}")

    def end(self) -> list[str]:
        """End the stages that run on workers, unless another client waits for them too; return the keys of all."""
        with self.lock:
            self.has_ended = True
            futures, self.futures = self.futures, {}
        self._withdraw(futures)
        with suppress(Exception):  # whatever the connection raises: this is the end
            shared = self.client.run_on_scheduler(worker.wanted, list(futures))
            own = [key for key in futures if key not in shared]
            self.client.run(worker.end, own, on_error="ignore")
        return sorted(futures)

    def stop_waiting(self) -> None:
        """Take back the stages that no worker has begun, after another stage has failed."""
        with self.lock:
            is_first, self.has_failed = not self.has_failed, True
        if not is_first:
            return
        with suppress(Exception):  # they then run in vain, but harm nothing
            running = {key for keys in self.client.run(worker.running, on_error="ignore").values() for key in keys}
            with self.lock:
                begun = running | {key for key, future in self.futures.items() if future.done()}
                begun |= {key.rpartition(OF_SEED)[0] for key in begun if OF_SEED in key}  # a stage begins with a seed
                waiting = {key: future for key, future in self.futures.items()
                           if key not in begun and key.rpartition(OF_SEED)[0] not in begun}  # fmt: skip
            self._withdraw(waiting)

    def close(self) -> None:
        """Stop listening."""
        with suppress(Exception):
            self.client.unsubscribe_topic(worker.TOPIC)

    def _withdraw(self, futures: dict[str, "Future"]) -> None:
        """Have Dask forget tasks that no other client waits for."""
        with suppress(Exception):  # the scheduler may be gone, and then it has forgotten them
            for key in futures:
                self._unpublish(key)
            self.client.cancel(list(futures.values()))

    def _told(self, event: tuple[float, dict[str, Any]]) -> None:
        """Pass on what a stage prints on a worker."""
        _, told = event
        if not isinstance(told, dict) or told["line"].strip() in PARTING:
            return
        if {told["key"], told["key"].rpartition(OF_SEED)[0]} & self.futures.keys():
            self.hear(told["stage"], told["line"])

    def _prepare(self, names: list[str]) -> list[Job | Exception]:
        """Return a job for each stage, after storing what it reads in the remote."""
        read = {stage for name in names for stage in self.needs[name].stages}
        if self.storage.remote and (unsent := sorted(read - self.stored)):
            _patiently(lambda: dvc.push(unsent, self.storage.remote))
            self.stored |= set(unsent)

        def locked() -> list[dict[str, Any]]:
            with _at_rest():
                return dvc.lock_entries(names)

        entries, lock = _patiently(locked), _entries()
        return [self._job(name, entry, lock) for name, entry in zip(names, entries, strict=True)]

    def _job(self, name: str, entry: dict[str, Any], lock: dict[str, str]) -> Job:
        """Return a stage's job; the key is that of its command, dependencies, parameters, node and storage."""
        is_training = name.partition("@")[0] in TRAINING
        node = connection.wanted_node(self.hardware if is_training else "", self.has_gpus and is_training)
        inputs = {part: entry.get(part) for part in ("cmd", "deps", "params")}
        identity = json.dumps([inputs, asdict(self.storage), asdict(node)])
        # Dask takes keys that begin alike for tasks of one kind, and spreads these evenly.
        kind, _, run = name.partition("@")
        key = f"{kind}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}-{run}"
        needs = self.needs[name]
        text = HEAD + "".join(lock[stage] for stage in needs.stages)
        variables = {"MLFLOW_TRACKING_URI": store.uri()} if store.is_server() else {}
        code = self.code
        return Job(
            name, key, code.commit, code.reference, code.prefix, text, needs.outputs, self.storage, node, variables
        )

    def _done(self, name: str, job: Job) -> tuple[str, Done]:
        """Have workers run a stage, another one if a node fails, and return the key of the task and its result.

        Raises:
            StageError: the stage failed, or so many nodes did.
        """
        seeds = self.seeds if name.partition("@")[0] in TRAINING and len(self.seeds) > 1 else []
        trained: dict[int, Future] = {}
        keys = [f"{job.key}-{attempt}" if attempt else job.key for attempt in range(ATTEMPTS)]
        begun = max((attempt for attempt, key in enumerate(keys) if key in self.left), default=0)
        for attempt, key in list(enumerate(keys))[begun:]:
            future = self._begin(replace(job, key=key), seeds, trained)
            try:
                done = self._result(name, future)
            finally:
                for used in (future, *trained.values()):
                    self.futures.pop(str(used.key), None)
            if not done.error:
                return key, done
            self._unpublish(key)
            if not done.is_of_node:
                break
            self.bad_places.add(done.place)
            self.bad_workers.add(done.worker)
            for position in done.failed_seeds:
                trained.pop(seeds[position], None)
            if attempt + 1 < ATTEMPTS:
                self.hear(name, f"warning: {done.error}; once more, on another node if there is one")
        raise StageError(f"{name}: {done.error}")

    def _begin(self, job: Job, seeds: list[int], trained: dict[int, "Future"]) -> "Future":
        """Return the task of a stage, a new one if none has been begun; Dask begins none twice with the same key.

        A new one needs a task for each of `seeds`, which are added to `trained`.
        """
        place = self._place(job.stage)
        with self.lock:
            if self.has_ended or self.has_failed:
                raise TakenBackError(f"{job.stage}: not begun")
            future = self._published(job.key)
            if future is None:
                for seed in seeds:
                    if seed not in trained:
                        own = replace(job, key=f"{job.key}{OF_SEED}{seed}")
                        trained[seed] = self._submit(own, worker.run_module, SEED, job.stage, str(seed), **place)
                future = self._submit(job, self.task, *(trained[seed] for seed in seeds), **place)
                # The scheduler keeps the task and its result, even if this process is killed.
                self.client.publish_dataset(future, name=job.key, override=True)
            self.futures[job.key] = future
            return future

    def _submit(self, job: Job, task: Callable[..., Done], *arguments: Any, **place: Any) -> "Future":
        """Give a task to the scheduler."""
        future = self.client.submit(task, job, self.bundle, *arguments, key=job.key, pure=False, **place)
        self.futures[job.key] = future
        return future

    def _place(self, name: str) -> dict[str, Any]:
        """Return where a stage may run, as arguments of Dask's `submit`: on a GPU, and better not on bad nodes."""
        takes_gpu = self.has_gpus and name.partition("@")[0] in TRAINING
        place: dict[str, Any] = {"resources": {"GPU": 1}} if takes_gpu else {}
        bad = {address for address, its in self.workers.fit.items() if its.place in self.bad_places}
        if bad := bad | self.bad_workers | self.workers.unfit.keys():
            good = (connection.with_gpus(self.client) if takes_gpu else connection.known(self.client).keys()) - bad
            # Workers come and go: without those, others may take it.
            place |= {"workers": sorted(good), "allow_other_workers": True} if good else {}
        return place

    def _published(self, key: str) -> "Future | None":
        """Return the task with this key if a coordinator that was killed has left it."""
        if key not in self.left:
            return None
        try:
            found: Future = self.client.get_dataset(key)
        except KeyError:
            return None
        return found

    def _unpublish(self, key: str) -> None:
        with suppress(KeyError, OSError):  # not published, or the scheduler is gone
            self.client.unpublish_dataset(key)

    def _result(self, name: str, future: "Future") -> Done:
        from distributed.scheduler import KilledWorker

        try:
            done: Done = future.result()
        except KilledWorker as error:
            self._unpublish(str(future.key))
            told = f"the workers that ran it died, the last was {error.last_worker.address}"
            raise StageError(f"{name}: {told}") from None
        except CancelledError:
            if self.has_failed and self.client.status == "running":
                raise TakenBackError(f"{name}: not begun, since another stage has failed") from None
            raise StageError(f"{name}: the connection to the scheduler is lost; what has landed stays") from None
        except (OSError, TimeoutError):
            raise
        except Exception:  # a bug: it must not be found again
            self._unpublish(str(future.key))
            raise
        return done

    def _land(self, results: list[tuple[str, str, Done]]) -> list[Exception | None]:
        """Write the entries of several stages into dvc.lock at once, and bring their outputs here.

        A stage that DVC then finds out of date, since something was edited meanwhile, is put back as it was.
        """
        names = [name for name, _, _ in results]
        before = _entries()
        left = set(names)  # until DVC has found otherwise
        try:
            _enter({name: done.entry for name, _, done in results})
            left = _patiently(lambda: dvc.receive(names, self.storage.remote))
        except UserError as error:
            if len(results) == 1:
                return [StageError(f"{names[0]}: {error}")]
        finally:
            _enter({name: before.get(name, "") for name in left})
        if len(results) > 1 and left == set(names):  # only one of them may be the cause
            return [self._land([each])[0] for each in results]
        self.stored |= set(names) - left
        found: list[Exception | None] = []
        for name, key, done in results:
            if name in left:
                self._unpublish(key)  # or the next rebuild would find it again
                found.append(StageError(f"{name}: made from other code, data or parameters than are here now"))
            else:
                _keep_times(done)
                found.append(None)
        return found


@contextmanager
def _at_rest() -> Iterator[None]:
    """Keep other processes from writing dvc.lock.

    Raises:
        BusyError: another process holds DVC's lock.
    """
    try:
        with dvc.repository_lock():
            yield
    except TimeoutError as error:
        raise dvc.BusyError(str(error)) from None


def _entries() -> dict[str, str]:
    """Return the text of each stage's entry in dvc.lock."""

    def read() -> dict[str, str]:
        with _at_rest():
            return recovery.entries(recovery.read_lock())

    return _patiently(read)


def _enter(entries: dict[str, str]) -> None:
    """Put the text of stages' entries into dvc.lock in place of their present ones; '' removes an entry."""

    def enter() -> None:
        with _at_rest():
            lock = recovery.read_lock() or HEAD
            head = recovery.STAGE.split(lock)[0]
            whole = recovery.entries(lock) | entries
            files.write_text(paths.LOCK, "".join([head, *filter(None, whole.values())]))

    if entries:
        _patiently(enter)


def _keep_times(done: Done) -> None:
    """Keep when and where the phase was trained, for MLflow; unknown if DVC had the outputs in its cache."""
    for out in next(iter(files.parse_settings(done.entry).values())).get("outs", ()):
        phase = Path(out["path"])
        if done.machines and (phase / paths.FACTS).is_file():
            hosts = times.together(its.host for its in done.machines)
            kinds = times.together(times.hardware(phase, its) for its in done.machines)
            with suppress(OSError):  # as everywhere: times that can't be written stay unknown
                times.keep(out["md5"], times.Times(done.began, done.ended, done.training, times.user(), hosts, kinds))


def _patiently(work: Callable[[], Result]) -> Result:
    """Return the result of work with DVC, tried again for some time while another `dvc` works here."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except dvc.BusyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)
