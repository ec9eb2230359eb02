"""Write runs and ablations into the MLflow store. The record may never fail a stage, nor hold it up for long."""

import re
import sys
import time
from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from cnnstudy.params import Params
from cnnstudy.tracking import facts, keys, store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Result = TypeVar("Result")

# Seconds that a stage waits for its record, that it waits where the store must be made first, and that a user does.
LIMIT = 10.0
NEW_STORE_LIMIT = 60.0
USER_LIMIT = 600.0
# MLflow takes at most 1000 metrics, parameters and tags in one call.
BATCH = 800
LATER = "`cnnstudy track` records it later"


def record_run(params: Params, run: str) -> None:
    """Record a run, or leave its record as it is where nothing changed; what goes wrong is one warning on stderr."""
    if record := _made(lambda: facts.run_record(params, run, keys.run_key(run, params)), run):
        _stored(record, LIMIT)


def record_ablation(params: Params, name: str) -> None:
    """Record an ablation as a run of its own; as `record_run`."""
    if record := _made(lambda: facts.ablation_record(params, name), f"ablation {name}"):
        _stored(record, LIMIT)


def record_all(params: Params, lock: dict[str, Any]) -> tuple[int, int]:
    """Record every run and ablation that the workspace has the files of; `lock` is dvc.lock's content.

    Returns:
        How many of them are in the store now, and how many there are.
    """

    def run_maker(run: str) -> Callable[[], facts.Record]:
        return lambda: facts.run_record(params, run, keys.lock_key(lock, run, params) or keys.run_key(run, params))

    def ablation_maker(name: str) -> Callable[[], facts.Record]:
        return lambda: facts.ablation_record(params, name)

    makers = {run: run_maker(run) for run in params.runs if facts.has_run(params, run)}
    makers |= {f"ablation {name}": ablation_maker(name) for name in params.ablations if facts.has_ablation(name)}
    stored = 0
    for record in [_made(make, name) for name, make in makers.items()]:
        if record and not _stored(record, USER_LIMIT):
            break  # the next one would fail like it, after as long a wait
        stored += record is not None
    return stored, len(makers)


def _made(make: Callable[[], facts.Record], name: str, remedy: str = LATER) -> facts.Record | None:
    try:
        return make()
    except Exception as error:  # a damaged file is for the stage that reads it to complain about
        _warn(name, error, remedy)
        return None


def record_made(make: Callable[[], facts.Record], name: str, remedy: str) -> bool:
    """Record what `make` gives, and say whether the store has it; `remedy` ends the warning where it has not."""
    record = _made(make, name, remedy)
    return record is not None and _stored(record, LIMIT, remedy)


def _stored(record: facts.Record, limit: float, remedy: str = LATER) -> bool:
    try:
        store.configure()
        import mlflow  # noqa: F401  takes seconds, which are not the store's

        seconds = max(limit, NEW_STORE_LIMIT) if store.is_new() else limit
        within(seconds, lambda: _upsert(record, 0.8 * seconds))
    except Exception as error:  # whatever the store raises: the stage's own outputs are whole
        _warn(record.name, error, remedy)
        return False
    return True


def _warn(name: str, error: Exception, remedy: str) -> None:
    print(f"warning: {name}: not recorded in MLflow ({cause(error)}); {remedy}", file=sys.stderr)


def cause(error: Exception) -> str:
    """What a store's error says, on one line, without the password that a server's address may hold."""
    return without_password(" ".join(str(error).split()))[:240]


def without_password(text: str) -> str:
    """A text whose addresses name no user."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """What `work` returns; raises TimeoutError after some seconds, and leaves the work to itself."""
    results: list[Result] = []
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            results.append(work())
        except Exception as error:
            errors.append(error)

    thread = Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    if errors:
        raise errors[0]
    return results[0]


def _upsert(record: facts.Record, wait: float) -> None:
    """Find or make the run with the record's key, and complete it unless the tag `record` says that it is whole.

    `wait` is how long to wait for the lock, in seconds.
    """
    with store.lock(wait):
        client = store.client()
        experiment = store.experiment_id(client, record.experiment or record.study)
        run = _find(client, experiment, record.key) or _create(client, experiment, record)
    digest = record.digest
    if run.data.tags.get("record") != digest:
        _fill(client, run, record, digest)


def _find(client: "MlflowClient", experiment: str, key: str) -> "Run | None":
    return next(iter(client.search_runs([experiment], f"tags.run_key = '{key}'", max_results=1)), None)


def _create(client: "MlflowClient", experiment: str, record: facts.Record) -> "Run":
    """A run under its parent, with all its tags; both keep the place where they were first made."""
    where = facts.environment_tags()
    tags = {**record.tags, **where, "run_key": record.key}
    if record.parent is None:
        parent = _branch(client, experiment, record, where)
    else:
        parent = _find(client, experiment, record.parent) if record.parent else None
    if parent:
        tags |= {"parent": str(parent.info.run_name), "mlflow.parentRunId": parent.info.run_id}
    return client.create_run(experiment, tags=tags, run_name=record.name)


def _branch(client: "MlflowClient", experiment: str, record: facts.Record, where: dict[str, str]) -> "Run":
    """The run that those of a branch, or of an experiment of DVC, lie under, made where it is missing."""
    name = facts.parent_name(where)
    key = keys.text_md5(f"parent {name}")
    if found := _find(client, experiment, key):
        return found
    tags = {"kind": "parent", "parent": name, "study": record.study, "run_key": key}
    # Later runs of a branch have other commits.
    tags |= {tag: where[tag] for tag in ("git_branch", "dvc_experiment") if tag in where}
    parent = client.create_run(experiment, tags=tags, run_name=name)
    client.set_terminated(parent.info.run_id)
    return parent


def _fill(client: "MlflowClient", run: "Run", record: facts.Record, digest: str) -> None:
    """Add what a run lacks and correct what differs. The tag `record` comes last: a run without it is not whole."""
    from mlflow.entities import Dataset as MlflowDataset
    from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag

    run_id, held = run.info.run_id, run.data
    # The store drops what it has already: the same name, value, step and time.
    first, now = run.info.start_time, int(time.time() * 1000)
    metrics = [Metric(name, value, first, step) for name, value, step in record.series]
    metrics += [
        Metric(name, value, now if name in held.metrics else first, 0)
        for name, value in record.finals.items()
        if held.metrics.get(name) != value
    ]
    params = [Param(name, value) for name, value in record.params.items() if name not in held.params]
    client.log_batch(run_id, metrics[:BATCH], params)
    for start in range(BATCH, len(metrics), BATCH):
        client.log_batch(run_id, metrics[start : start + BATCH])
    data = record.data
    dataset = MlflowDataset(data.name, data.digest, "local", data.source, profile=data.profile)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    for path, folder in record.artifacts.items():
        client.log_artifact(run_id, str(path), folder or None)
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in {**record.tags, "record": digest}.items()])
    if run.info.status == "RUNNING":
        client.set_terminated(run_id, record.status)
