"""Descriptions of MLflow's experiments, and saved views of their runs."""

import base64
import json
import zlib
from typing import TYPE_CHECKING, Any

from cnnstudy.tracking import build

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

NOTE = "mlflow.note.content"
# The prefix of the tags that hold views, and the prefix of a compressed state.
SHARED, DEFLATED = "mlflow.sharedViewState.", "deflate;"

ACCURACY = [f"metrics.`{name}`" for name in ("accuracy", "accuracy_low", "accuracy_high")]
CHOSEN = [f"tags.`{name}`" for name in ("recipe", "profile", "data")]
NETS = {
    "selectedColumns": [*ACCURACY, "metrics.`accuracy_report`", *CHOSEN],
    "searchFilter": "tags.kind = 'net'",
    "orderByKey": "metrics.`accuracy`",
    "orderByAsc": False,
}
ABLATIONS = {
    "selectedColumns": [*ACCURACY, "tags.`best`", "tags.`axis`", *CHOSEN],
    "searchFilter": "tags.kind = 'ablation'",
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
}
# In a study with runs that learn values, the views have these columns first.
CCC = [f"metrics.`{name}`" for name in ("ccc", "ccc_low", "ccc_high")]
# By a view's name: the kind of run that adds it, its state, and the end of its address.
VIEWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "nets": ("net", NETS, ""),
    "curves": ("net", NETS, "&compareRunsMode=CHART"),
    "ablations": ("ablation", ABLATIONS, ""),
}


def plant(client: "MlflowClient", experiment: str, record: build.Record) -> None:
    """Add the views for a record's kind of run to an experiment, and a description if it has none."""
    its = client.get_experiment(experiment)
    wanted = {}
    for name, (kind, state, _) in VIEWS.items():
        view = _view(name, _with_ccc(state) if record.has_values else state)
        if record.tags.get("kind") == kind and its.tags.get(SHARED + name) != view:
            wanted[SHARED + name] = view
    if record.about and NOTE not in its.tags:
        wanted[NOTE] = record.about
    for key, value in wanted.items():
        client.set_experiment_tag(experiment, key, value)


def links(experiment: "Experiment") -> dict[str, str]:
    """Return the addresses in the UI of an experiment's views, or of its list of runs if it has no views."""
    # Without the query the UI may open on its pages for language models.
    page = f"#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
    found = {
        name: f"{page}&viewStateShareKey={name}{more}"
        for name, (_, _, more) in VIEWS.items()
        if SHARED + name in experiment.tags
    }
    return found or {"runs": page}


def _with_ccc(state: dict[str, Any]) -> dict[str, Any]:
    """Return a view that shows the mean CCC first, and sorts by it instead of the accuracy."""
    key = state["orderByKey"].replace("`accuracy`", "`ccc`")
    return state | {"selectedColumns": [*CCC, *state["selectedColumns"]], "orderByKey": key}


def _view(name: str, state: dict[str, Any]) -> str:
    packed = DEFLATED + base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    return json.dumps({"name": name, "createdAt": 0, "updatedAt": 0, "state": packed})
