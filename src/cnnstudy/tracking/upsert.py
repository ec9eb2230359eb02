"""One MLflow run for each key and model: it is found or created, and completed."""

import platform
import time
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import psutil

from cnnstudy.tracking import build, logged_model, store, times, views
from cnnstudy.tracking.keys import OWN

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Param, Run

# MLflow takes at most 1000 metrics, parameters and tags in one call.
BATCH = 800
# The tag that holds a description, in Markdown.
NOTE = "mlflow.note.content"
# Tags: the run's key, its models' md5, the process that writes it during training, and the digest once it is complete.
KEY, MODEL, LIVE, RECORD = (f"{OWN}{name}" for name in ("key", "model", "live", "record"))
# The tag with the md5 of our description, which shows whether a user has changed it.
OURS = f"{OWN}note"
# The tag that says whether start and end of a run are those of its training.
TIMING = "timing"
UNKNOWN = "unknown: start and end are those of the recording"
# The tag of a run's key in an earlier version of this program.
EARLIER = "run_key"
Series = list[tuple[str, float, int]]


def upsert(record: build.Record, wait: float) -> "Run":
    """Find or make the run with the record's key and model, and complete it unless its tag says that it is whole.

    `wait` is how long to wait for the lock, in seconds.
    """
    with store.lock(wait):
        client = store.client()
        experiment = store.experiment_id(client, record.experiment or record.study)
        run = _find(client, experiment, record) or _create(client, experiment, record)
        if store.is_server():  # its other users don't take this lock
            run = _find(client, experiment, record) or run
        views.plant(client, experiment, record)
    digest = record.digest
    if run.data.tags.get(RECORD) != digest:
        _fill(client, run, record)
        for child in record.children:
            upsert(child, wait)
        client.set_tag(run.info.run_id, RECORD, digest)  # a run without it is not whole
    return run


def open_live(record: build.Record, known: Series, start: float, wait: float) -> tuple["MlflowClient", "Run"]:
    """Return the run for a record's key that has no model yet, to log a training while it goes on.

    Its tag `LIVE` says which process writes it. `known` are the metrics so far, `start` is when the training began.
    """
    record = replace(record, series=known)
    with store.lock(wait):
        client = store.client()
        experiment = store.experiment_id(client, record.study)
        run = _find(client, experiment, record) or _create(client, experiment, record, start)
        client.set_tag(run.info.run_id, LIVE, _process_name(psutil.Process()))
        client.update_run(run.info.run_id, "RUNNING")
        views.plant(client, experiment, record)
    client.log_batch(run.info.run_id, params=_missing_params(run, record))
    _log_inputs(client, run, record)
    return client, run


def end_abandoned() -> None:
    """Set the status of live runs to KILLED if the training was killed together with the process that writes them."""
    with store.lock(10):
        client = store.client()
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        for run in client.search_runs(experiments, f"attributes.status = 'RUNNING' and tags.`{LIVE}` != ''"):
            if _is_over(run):
                client.set_terminated(run.info.run_id, "KILLED")


def retire_earlier() -> list[str]:
    """Delete runs of earlier versions that have a new record (MLflow can restore them); return the others' names."""
    with store.lock(10):
        client = store.client()
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(experiments, f"tags.{EARLIER} != ''")
        kept = [run for run in found if run.data.tags.get("kind") != "parent" and not _is_recorded(client, run)]
        # Parent runs stay as long as any other run of an earlier version does.
        for run in found:
            if run not in kept and (not kept or run.data.tags.get("kind") != "parent"):
                client.delete_run(run.info.run_id)
    return sorted({run.info.run_name for run in kept})


def _is_recorded(client: "MlflowClient", run: "Run") -> bool:
    """Return whether an earlier version's run has a new record: of the same models, ablation or page."""
    held = run.data.tags
    wanted = {name: md5 for name, md5 in held.items() if name.startswith("model_md5.")}
    wanted = {f"{OWN}{name}": md5 for name, md5 in wanted.items()} or {KEY: held[EARLIER]}
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in wanted.items())
    return bool(client.search_runs([run.info.experiment_id], query, max_results=1))


def log_points(client: "MlflowClient", run: "Run", points: Series, moment: int) -> None:
    """Add the points that a run's metrics lack, with the timestamp `moment` in milliseconds."""
    from mlflow.entities import Metric

    names = {name for name, _, _ in points} & set(run.data.metrics)
    held = {(name, step) for name, _, step in _points(client, run, names)}
    _log(client, run, [Metric(name, value, moment, step) for name, value, step in points if (name, step) not in held])


def _log(client: "MlflowClient", run: "Run", metrics: list["Metric"]) -> None:
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run.info.run_id, metrics[start : start + BATCH])


def _find(client: "MlflowClient", experiment: str, record: build.Record) -> "Run | None":
    """Return the oldest run with a record's key and model, or else the live run of its training.

    Duplicates with that model, which a server's users may create at the same time, and other live runs of this machine
    that have ended add nothing, and are deleted.
    """
    found = _with_key(client, experiment, record.key)
    live = [run for run in found if LIVE in run.data.tags and _may_continue(client, run, record)]
    if not record.model and live:
        return live[0]
    same = [run for run in found if _is_of(run, record.model)]
    if live and not same:
        its = live.pop(0).info.run_id
        client.set_tag(its, MODEL, record.model)
        client.delete_tag(its, LIVE)
        same = [run for run in _with_key(client, experiment, record.key) if _is_of(run, record.model)]
    for run in (*live, *same[1:]):
        client.delete_run(run.info.run_id)
    return next(iter(same), None)


def _is_of(run: "Run", model: str) -> bool:
    return LIVE not in run.data.tags and run.data.tags.get(MODEL, "") == model


def _with_key(client: "MlflowClient", experiment: str, key: str) -> list["Run"]:
    """Return the runs with a key, the oldest first."""
    found = client.search_runs([experiment], f"tags.`{KEY}` = '{key}'")
    return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))


def _may_continue(client: "MlflowClient", run: "Run", record: build.Record) -> bool:
    """Return whether a live run's training ran here, or where the record's did, is over, and agrees in all values."""
    hosts = {platform.node(), *(record.times.host.split(", ") if record.times else ())}
    if run.data.tags[LIVE].rpartition(" ")[0] not in hosts or not _is_over(run):
        return False
    values = {(name, step): value for name, value, step in record.series}
    held = _points(client, run, {name for name, _, _ in record.series} & set(run.data.metrics))
    return all(values.get((name, step), value) == value for name, value, step in held)


def _is_over(run: "Run") -> bool:
    """Return whether no process writes a live run any more; one of another machine is over when its status says so."""
    if run.info.status != "RUNNING":
        return True
    host, _, name = run.data.tags[LIVE].rpartition(" ")
    if host != platform.node():
        return False
    pid = int(name.split("@")[0])
    return not (psutil.pid_exists(pid) and _process_name(psutil.Process(pid)) == run.data.tags[LIVE])


def _process_name(process: psutil.Process) -> str:
    return f"{platform.node()} {process.pid}@{process.create_time():.2f}"


def _points(client: "MlflowClient", run: "Run", names: set[str]) -> Series:
    histories = (client.get_metric_history(run.info.run_id, name) for name in sorted(names))
    return [(point.key, point.value, point.step) for history in histories for point in history]


def _create(client: "MlflowClient", experiment: str, record: build.Record, start: float | None = None) -> "Run":
    """Create a run that began at `start`, or now, with all tags; later updates keep its name and place."""
    tags = {**record.tags, **record.where, KEY: record.key, "mlflow.source.type": "LOCAL"}
    tags["mlflow.user"] = (record.times.user if record.times else "") or times.user() or "unknown"
    if record.script:
        tags["mlflow.source.name"] = record.script
    if record.model:
        tags[MODEL] = record.model
    if record.parent:
        tags["mlflow.parentRunId"] = _parent(client, experiment, record)
    start = record.times.start if record.times else start or time.time()
    ordered = dict(sorted(tags.items(), key=lambda each: each[0].startswith(OWN)))  # MLflow shows them in this order
    return client.create_run(experiment, int(start * 1000), ordered, _name(client, experiment, record))


def _parent(client: "MlflowClient", experiment: str, record: build.Record) -> str:
    """Return the id of the run above a record: the live one of this process, or the one with the record's model."""
    own, above = _process_name(psutil.Process()), _with_key(client, experiment, record.parent)
    found = (run for run in above if run.data.tags.get(LIVE) == own or _is_of(run, record.model))
    return str(next(found).info.run_id)


def _name(client: "MlflowClient", experiment: str, record: build.Record) -> str:
    """Return the record's name; if another run has that name, with the parameters that differ from the oldest."""
    names = {name: record.tags[name] for name in ("kind", "run", "ablation") if name in record.tags}
    if record.parent or not names:
        return record.name
    query = " and ".join([f"tags.`{KEY}` != ''", *(f"tags.{name} = '{value}'" for name, value in names.items())])
    found = client.search_runs([experiment], query, order_by=["attributes.start_time ASC"])
    if not found:
        return record.name
    name = ", ".join([record.name, *_differences(found[0], record)])
    return f"{name} ({record.key[:6]})" if name in {run.info.run_name for run in found} else name


def _differences(run: "Run", record: build.Record) -> list[str]:
    """Return what distinguishes a record from a run: experiment and choices, else settings, else machine or code."""
    held = run.data.tags
    chosen = [record.where["dvc_experiment"]] if "dvc_experiment" in record.where else []
    chosen += [
        f"{tag} {record.tags[tag]}"
        for tag in ("profile", "recipe", "data")
        if tag in record.tags and held.get(tag) != record.tags[tag]
    ]
    before = run.data.params  # incomplete for a run that is still in training
    settings = [f"{key}={value}" for key, value in record.params.items() if before.get(key, value) != value]
    if chosen or settings:
        return (chosen or settings)[:3]
    return [record.where.get("device", "another machine")] if held[KEY] == record.key else ["other code or data"]


def _missing_params(run: "Run", record: build.Record) -> list["Param"]:
    from mlflow.entities import Param

    return [Param(name, value) for name, value in record.params.items() if name not in run.data.params]


def _fill(client: "MlflowClient", run: "Run", record: build.Record) -> None:
    """Add what a run lacks and correct what differs."""
    from mlflow.entities import RunTag

    run_id, held = run.info.run_id, run.data.tags
    client.log_batch(run_id, params=_missing_params(run, record))
    log_points(client, run, record.series, run.info.start_time)
    _log_finals(client, run, record)
    _log_inputs(client, run, record)
    for path, folder in record.artifacts.items():
        client.log_artifact(run_id, str(path), folder or None)
    for name, text in record.texts.items():
        client.log_text(run_id, text, name)
    model = logged_model.refer(client, run, record) if record.model and not record.parent else ""
    tags = dict(record.tags)
    if record.model and record.parent:  # trained on several machines, seeds were live below several runs
        tags["mlflow.parentRunId"] = _parent(client, run.info.experiment_id, record)
    if record.model and (record.times or TIMING not in held):
        tags[TIMING] = "measured" if record.times else UNKNOWN
    if record.times and record.times.host:
        tags |= {"trained.host": record.times.host, "trained.hardware": record.times.hardware}
    if NOTE not in held or held.get(OURS) == build.text_md5(held[NOTE]):  # else it is a user's
        note = _note(run, record, model)
        tags |= {NOTE: note, OURS: build.text_md5(note)}
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    end = int(record.times.end * 1000) if record.times else None
    if record.times and end and end < run.info.start_time:  # a later training, of which the same bytes were known
        end = run.info.start_time + int(record.times.seconds * 1000)
    # A killed training may have been resumed and completed.
    if run.info.status != record.status or (end and run.info.end_time != end):
        client.set_terminated(run_id, record.status, end)


def _log_finals(client: "MlflowClient", run: "Run", record: build.Record) -> None:
    from mlflow.entities import Metric

    first, now = run.info.start_time, int(time.time() * 1000)
    finals = record.finals | ({"training_seconds": record.times.seconds} if record.times else {})
    changed = {name: value for name, value in finals.items() if run.data.metrics.get(name) != value}
    moments = {name: now if name in run.data.metrics else first for name in changed}
    _log(client, run, [Metric(name, value, moments[name], 0) for name, value in changed.items()])


def _note(run: "Run", record: build.Record, model: str) -> str:
    """Return a run's description: a sentence, a line of links to results and model, and the figures."""
    its = run.info
    links = [
        f"[{PurePosixPath(path).stem}](#/experiments/{its.experiment_id}/runs/{its.run_id}/artifacts/{path})"
        for path in record.shown
    ]
    links += [f"[model](#/experiments/{its.experiment_id}/models/{model})"] if model else []
    figures = [
        f"![{PurePosixPath(path).stem}](get-artifact?run_uuid={its.run_id}&path={path})"
        for path in record.shown
        if path.endswith(".png")
    ]
    return "\n\n".join(filter(None, [record.sentence, " · ".join(links), *figures]))


def _log_inputs(client: "MlflowClient", run: "Run", record: build.Record) -> None:
    client.log_inputs(run.info.run_id, [_dataset(data) for data in record.data])


def _dataset(data: build.Data) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(data.name, data.digest, "local", data.source, profile=data.profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", data.split)])
