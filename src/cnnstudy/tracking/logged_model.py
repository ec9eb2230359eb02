"""A run's net as MLflow's LoggedModel: a reference to DVC's file, since a copy would double the disk space."""

from typing import TYPE_CHECKING

from cnnstudy.tracking import build
from cnnstudy.tracking.keys import OWN

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# Milliseconds before a run's start, for values that are not the run's own.
EARLIER = 1_000


def refer(client: "MlflowClient", run: "Run", record: build.Record) -> str:
    """Return the id of a run's model in MLflow, created if missing, with its accuracy and where its weights are."""
    from mlflow.entities import LoggedModelOutput

    its = run.info
    outputs = client.get_run(its.run_id).outputs
    if outputs and outputs.model_outputs:
        model = str(outputs.model_outputs[0].model_id)
    else:
        tags = {name: record.tags[name] for name in ("study", "net", "profile", "recipe", "data")}
        model = client.create_logged_model(
            its.experiment_id, name=record.name, source_run_id=its.run_id, tags=tags, params=record.params
        ).model_id
        client.log_outputs(its.run_id, [LoggedModelOutput(model, step=0)])
    client.set_logged_model_tags(model, {"mlflow.note.content": where(record)})
    numbers = {name: value for name, value in record.finals.items() if name in build.HEADLINE}
    log_metrics(client, run, model, numbers, record.data_of(record.params["primary_split"]))
    client.finalize_logged_model(model, "READY")
    return model


def log_metrics(client: "MlflowClient", run: "Run", model: str, numbers: dict[str, float], data: build.Data) -> None:
    """Log a model's metrics through its run, but keep the run's own, which may be of another phase or of all seeds.

    MLflow shows the value with the latest timestamp, and refuses another value with the same one. A value that is not
    the run's own therefore gets an earlier timestamp than the run's, and a changed one a later one than before.
    """
    from mlflow.entities import Metric

    start, held = run.info.start_time, client.get_run(run.info.run_id).data.metrics
    before = client.get_logged_model(model).metrics or []
    metrics = []
    for name, value in numbers.items():
        known = sorted((each for each in before if each.key == name), key=lambda each: each.timestamp)
        if known and (known[-1].value, known[-1].dataset_digest) == (value, data.digest):
            continue
        first = start if held.get(name, value) == value else start - EARLIER
        moment = max([first, *(each.timestamp + 1 for each in known)])
        metrics.append(Metric(name, value, moment, 0, model, data.name, data.digest))
    if metrics:
        client.log_batch(run.info.run_id, metrics)


def where(record: build.Record) -> str:
    """Return a description of where the weights are."""
    commit, run = record.where.get("git_commit", "HEAD"), record.tags["run"]
    hashes = [f"{phase} {md5}" for phase in ("base", "tuned") if (md5 := record.tags.get(f"{OWN}model_md5.{phase}"))]
    edited = record.where.get("git_dirty") == "true"
    condition = ", if they were committed with it: the workspace had edits" if edited else ""
    return (
        f"{record.sentence}\n\nThe weights are in DVC, in `models/{run}` ({', '.join(hashes) or 'no md5 known'}).\n"
        f"`dvc get . models/{run} --rev {commit}` in the repository fetches them{condition};\n"
        f"`cnnstudy promote {run}` puts them into the registry, ready to be served.\n"
    )
