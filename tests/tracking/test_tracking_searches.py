"""Searches in the real MLflow."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from search.searched import RUN, make, quick, scripted, stopped_in

from cnnstudy.search import trials
from cnnstudy.search.record import Recorder
from cnnstudy.tracking import store

# Of SQLAlchemy, about MLflow's own tables.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def recorded() -> tuple[MlflowClient, list[Run]]:
    """The store and the runs in its experiment `search`, in the order in which they were made."""
    with store.lock(10):
        client = store.client()
    experiment = client.get_experiment_by_name("search")
    assert experiment
    return client, list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time asc"]))


def test_a_search_has_a_run_and_each_trial_one_below() -> None:
    search = make()
    study = trials.run(search, 6, scripted([0.8, 0.8, float("nan"), 0.9, 0.8, 0.1]), Recorder(search))
    client, runs = recorded()
    parent, *children = sorted(runs, key=lambda run: run.data.tags["kind"])
    assert parent.data.tags["kind"] == "search"
    assert (parent.data.tags["run"], parent.data.tags["study"]) == (RUN, "xray")
    assert "mlflow.parentRunId" not in parent.data.tags
    assert parent.data.params["studies.xray.training.learning_rate"] == "1e-05 to 0.1, log"
    assert parent.data.params["seed"] == "0"
    assert parent.data.metrics["best/val_accuracy"] == 0.9
    counts = {state: parent.data.metrics[f"trials/{state}"] for state in ("complete", "pruned", "failed")}
    assert counts == {"complete": 4, "pruned": 2, "failed": 0}
    children.sort(key=lambda run: int(run.data.tags["trial"]))
    assert [run.info.run_name for run in children] == [f"trial {number}" for number in range(1, 7)]
    assert [run.data.tags["state"][0] for run in children] == ["c", "c", "p", "c", "c", "p"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in children} == {"FINISHED"}
    third = study.trials[3]
    assert children[3].data.params == {name: str(value) for name, value in third.params.items()}
    assert children[3].data.metrics["value"] == third.value
    assert children[3].data.metrics["val_accuracy"] == 0.9
    points = client.get_metric_history(children[3].info.run_id, "epoch/val_accuracy")
    assert [(point.step, point.value) for point in points] == [(step, 0.9) for step in (1, 2, 3, 4)]
    assert children[5].data.tags["reason"].startswith("pruned after epoch 2")


def test_what_a_stopped_search_left_is_recorded_when_it_goes_on(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    search = make(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trials.run(search, 3, stopped_in(2, stop), lambda *_: None)
    trials.run(search, 3, quick, Recorder(search))
    _, runs = recorded()
    ends = {
        run.data.tags["trial"]: (run.data.tags["state"], run.info.status) for run in runs if "trial" in run.data.tags
    }
    whole = ("complete", "FINISHED")
    assert ends == {"1": whole, "2": ("failed", "FAILED"), "3": whole, "4": whole}


def test_a_store_that_is_down_costs_one_warning_and_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search = make(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    study = trials.run(search, 2, quick, Recorder(search))
    assert len(trials.finished(study)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: search: {RUN}: not recorded in MLflow (")
    assert line.endswith("the next `cnnstudy search` with these arguments records what is missing")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    trials.run(search, 2, quick, Recorder(search))
    assert len(recorded()[1]) == 3
