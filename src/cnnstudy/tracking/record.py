"""Write runs and ablations into the MLflow store. The record may never fail a stage, nor hold it up for long."""

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cnnstudy.params import Params
from cnnstudy.tracking import facts, keys, store

if TYPE_CHECKING:
    from mlflow import MlflowClient


def record_run(params: Params, run: str, key: str | None = None) -> None:
    """Record a training, or leave its record as it is where nothing changed.

    `key` is the run's key where it is known without the models; else it is taken from them. A store that can't be
    written costs a warning.
    """
    _record(lambda: facts.run_record(params, run, key or keys.key_of_files(run, params.phases(run))), run)


def record_ablation(params: Params, name: str) -> None:
    """Record an ablation as a run of its own; as `record_run`."""
    _record(lambda: facts.ablation_record(params, name), f"ablation {name}")


def _record(make: Callable[[], facts.Record], name: str) -> None:
    try:
        with store.opened() as client:
            _upsert(client, make())
    except Exception as error:  # whatever the store raises: the stage's own outputs are whole
        cause = " ".join(str(error).split())[:300]
        print(f"warning: {name} is not in MLflow ({cause}); `cnnstudy track` records it later", file=sys.stderr)


def _upsert(client: "MlflowClient", record: facts.Record) -> None:
    """Write a record in the place of one with the same key, unless they are equal.

    Parameters of an MLflow run can't change and its metrics only grow, so that a record that differs, or was broken
    off before its digest was written, is replaced.
    """
    experiment = store.experiment_id(client, record.study)
    digest = record.digest
    for found in client.search_runs([experiment], f"tags.run_key = '{record.key}'"):
        if found.data.tags.get("record") == digest:
            return
        client.delete_run(found.info.run_id)
    _create(client, experiment, record, digest)


def _create(client: "MlflowClient", experiment: str, record: facts.Record, digest: str) -> None:
    from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
    from mlflow.entities import Dataset as MlflowDataset

    where = facts.environment_tags()
    tags = {**record.tags, **where, "run_key": record.key}
    tags["mlflow.parentRunId"] = _parent(client, experiment, record, where)
    run_id = client.create_run(experiment, tags=tags, run_name=record.name).info.run_id
    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, now, step) for name, value, step in record.metrics],
        params=[Param(name, value) for name, value in record.params.items()],
    )
    data = MlflowDataset(record.study, record.tags["data_md5"], "local", f"data/{record.study}/images.npy")
    client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
    for path, folder in record.artifacts.items():
        client.log_artifact(run_id, str(path), folder or None)
    client.log_batch(run_id, tags=[RunTag("record", digest)])
    client.set_terminated(run_id)


def _parent(client: "MlflowClient", experiment: str, record: facts.Record, where: dict[str, str]) -> str:
    """The run that those of one experiment, or else of one branch, lie under."""
    name = os.environ.get("DVC_EXP_NAME") or where.get("git_branch", "workspace")
    quoted = name.replace("'", "")
    found = client.search_runs([experiment], f"tags.kind = 'parent' and tags.parent = '{quoted}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    shared = {tag: record.tags[tag] for tag in ("study", "model", "profile", "recipe", "data", "batchnorm")}
    parent = client.create_run(experiment, tags={**shared, **where, "kind": "parent", "parent": quoted}, run_name=name)
    client.set_terminated(parent.info.run_id)
    return str(parent.info.run_id)
