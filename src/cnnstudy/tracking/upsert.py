"""One MLflow run for each key: find it, or take the one that was logged live, or make it; and complete it."""

import platform
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import psutil

from cnnstudy.tracking import facts, keys, store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Param, Run

# MLflow takes at most 1000 metrics, parameters and tags in one call.
BATCH = 800
# The tag that holds a run's description, in Markdown.
NOTE = "mlflow.note.content"
Series = list[tuple[str, float, int]]


def upsert(record: facts.Record, wait: float) -> "Run":
    """Find or make the run with the record's key, and complete it unless the tag `record` says that it is whole.

    `wait` is how long to wait for the lock, in seconds.
    """
    with store.lock(wait):
        client = store.client()
        experiment = store.experiment_id(client, record.experiment or record.study)
        run = _adopted(client, experiment, record, _find(client, experiment, record.key))
        run = run or _first(client, _create(client, experiment, record, {"run_key": record.key}))
    digest = record.digest
    if run.data.tags.get("record") != digest:
        _fill(client, run, record, digest)
    return run


def open_live(record: facts.Record, known: Series, wait: float) -> tuple["MlflowClient", "Run"]:
    """A run to log a training in while it goes on: the one that it was logged in before it was stopped, or a new one.

    It has no key yet; its tag `live` says which process writes it. `known` is what the training has given so far.
    """
    with store.lock(wait):
        client = store.client()
        experiment = store.experiment_id(client, record.study)
        same = (run for run in _live(client, experiment, record) if _continues(client, run, record, known))
        run = next(same, None) or _create(client, experiment, record, {})
        client.set_tag(run.info.run_id, "live", _process_name(psutil.Process()))
        client.update_run(run.info.run_id, "RUNNING")
    client.log_batch(run.info.run_id, params=_missing_params(run, record))
    return client, run


def end_abandoned() -> None:
    """Set the status of live runs whose training was killed together with what wrote them."""
    with store.lock(10):
        client = store.client()
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        for run in client.search_runs(experiments, "attributes.status = 'RUNNING' and tags.live != ''"):
            if _is_over(run):
                client.set_terminated(run.info.run_id, "KILLED")


def log_points(client: "MlflowClient", run: "Run", points: Series, moment: int) -> None:
    """Add points to a run's metrics, as of a moment in milliseconds, and leave those that it has."""
    from mlflow.entities import Metric

    names = {name for name, _, _ in points} & set(run.data.metrics)
    held = {(name, step) for name, _, step in _points(client, run, names)}
    _log(client, run, [Metric(name, value, moment, step) for name, value, step in points if (name, step) not in held])


def _log(client: "MlflowClient", run: "Run", metrics: list["Metric"]) -> None:
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run.info.run_id, metrics[start : start + BATCH])


def _find(client: "MlflowClient", experiment: str, key: str) -> "Run | None":
    return next(iter(client.search_runs([experiment], f"tags.run_key = '{key}'", max_results=1)), None)


def _live(client: "MlflowClient", experiment: str, record: facts.Record) -> list["Run"]:
    """What was logged live of trainings like the record's, which have ended or been stopped."""
    if "run" not in record.tags:
        return []
    runs = client.search_runs([experiment], f"tags.run = '{record.tags['run']}' and tags.live != ''")
    return [run for run in runs if _is_over(run) and run.data.params.items() <= record.params.items()]


def _is_over(run: "Run") -> bool:
    """Whether nobody writes a live run any more; of other machines only the run itself can tell."""
    if run.info.status != "RUNNING":
        return True
    host, _, name = run.data.tags["live"].rpartition(" ")
    if host != platform.node():
        return False
    pid = int(name.split("@")[0])
    return not (psutil.pid_exists(pid) and _process_name(psutil.Process(pid)) == run.data.tags["live"])


def _process_name(process: psutil.Process) -> str:
    return f"{platform.node()} {process.pid}@{process.create_time():.2f}"


def _continues(client: "MlflowClient", run: "Run", record: facts.Record, known: Series) -> bool:
    """Whether a live run is of the record's code, and holds nothing else where something is known."""
    if run.data.tags.get("git_commit") != record.where.get("git_commit"):
        return False
    values = {(name, step): value for name, value, step in known}
    return all(values.get((name, step), value) == value for name, value, step in _epochs(client, run))


def _epochs(client: "MlflowClient", run: "Run") -> Series:
    """What a live run holds of epochs; the rest are system metrics."""
    return _points(client, run, {name for name in run.data.metrics if "/epoch/" in name})


def _points(client: "MlflowClient", run: "Run", names: set[str]) -> Series:
    histories = (client.get_metric_history(run.info.run_id, name) for name in sorted(names))
    return [(point.key, point.value, point.step) for history in histories for point in history]


def _adopted(client: "MlflowClient", experiment: str, record: facts.Record, found: "Run | None") -> "Run | None":
    """`found`, or else the longest live run that holds nothing but the record's values, which gets its key.

    Other live runs of the same values say nothing more, and go.
    """
    expected = set(record.series)
    live = {run.info.run_id: _epochs(client, run) for run in _live(client, experiment, record)}
    same = sorted((run for run, points in live.items() if set(points) <= expected), key=lambda run: len(live[run]))
    if same and found is None:
        adopted = same.pop()
        client.set_tag(adopted, "run_key", record.key)
        client.delete_tag(adopted, "live")
        found = client.get_run(adopted)
    for run in same:
        client.delete_run(run)
    return found


def _create(client: "MlflowClient", experiment: str, record: facts.Record, more: dict[str, str]) -> "Run":
    """A run under its parent, with all its tags; both keep the place where they were first made."""
    tags = {**record.tags, **record.where, **more}
    if record.parent is None:
        parent = _branch(client, experiment, record)
    else:
        parent = _find(client, experiment, record.parent) if record.parent else None
    if parent:
        tags |= {"parent": str(parent.info.run_name), "mlflow.parentRunId": parent.info.run_id}
    return client.create_run(experiment, tags=tags, run_name=record.name)


def _first(client: "MlflowClient", made: "Run") -> "Run":
    """The oldest run with the key of one just made, which goes if it is not that: a server's others know no lock."""
    if not store.is_server():
        return made
    found = client.search_runs([made.info.experiment_id], f"tags.run_key = '{made.data.tags['run_key']}'")
    first = min(found, key=lambda run: (run.info.start_time, run.info.run_id))
    if first.info.run_id != made.info.run_id:
        client.delete_run(made.info.run_id)
    return first


def _branch(client: "MlflowClient", experiment: str, record: facts.Record) -> "Run":
    """The run that those of a branch, or of an experiment of DVC, lie under, made where it is missing."""
    name = facts.parent_name(record.where)
    key = keys.text_md5(f"parent {name}")
    if found := _find(client, experiment, key):
        return found
    tags = {"kind": "parent", "parent": name, "study": record.study, "run_key": key}
    # Later runs of a branch have other commits.
    tags |= {tag: record.where[tag] for tag in ("git_branch", "dvc_experiment") if tag in record.where}
    parent = client.create_run(experiment, tags=tags, run_name=name)
    client.set_terminated(parent.info.run_id)
    return _first(client, parent)


def _missing_params(run: "Run", record: facts.Record) -> list["Param"]:
    from mlflow.entities import Param

    return [Param(name, value) for name, value in record.params.items() if name not in run.data.params]


def _fill(client: "MlflowClient", run: "Run", record: facts.Record, digest: str) -> None:
    """Add what a run lacks and correct what differs. The tag `record` comes last: a run without it is not whole."""
    from mlflow.entities import Metric, RunTag

    run_id, held = run.info.run_id, run.data
    first, now = run.info.start_time, int(time.time() * 1000)
    client.log_batch(run_id, params=_missing_params(run, record))
    log_points(client, run, record.series, first)
    changed = {name: value for name, value in record.finals.items() if held.metrics.get(name) != value}
    _log(
        client, run, [Metric(name, value, now if name in held.metrics else first, 0) for name, value in changed.items()]
    )
    client.log_inputs(run_id, [_dataset(data) for data in record.data])
    for path, folder in record.artifacts.items():
        client.log_artifact(run_id, str(path), folder or None)
    tags = {**record.tags, "record": digest}
    if record.shown and NOTE not in held.tags:  # else it may be a user's
        tags = {NOTE: _note(run, record)} | tags
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    if run.info.status != record.status:  # a training that was killed may have gone on, and come to its end
        client.set_terminated(run_id, record.status)


def _note(run: "Run", record: facts.Record) -> str:
    """A line of links to what stands for a run, which MLflow shows at once, and the pictures, which it folds away."""
    its = run.info
    links = [
        f"[{PurePosixPath(path).stem}](#/experiments/{its.experiment_id}/runs/{its.run_id}/artifacts/{path})"
        for path in record.shown
    ]
    pictures = [
        f"![{PurePosixPath(path).stem}](get-artifact?run_uuid={its.run_id}&path={path})"
        for path in record.shown
        if path.endswith(".png")
    ]
    return "\n\n".join([" · ".join(links), *pictures])


def _dataset(data: facts.Data) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(data.name, data.digest, "local", data.source, profile=data.profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
