"""Records in the real MLflow, of a workspace that no stage has run in."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, Run
from tracking.finished_runs import METRICS, RUNS, finish, write_metrics

from cnnstudy.config.schema import Params
from cnnstudy.tracking import facts, record, store
from cnnstudy.workspace import paths

# Of SQLAlchemy, about MLflow's own tables.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

AUTHOR = {f"GIT_{role}_{field}": "a@localhost" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}


def git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | AUTHOR).stdout.strip()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository on the branch `work` with three runs and three ablations, all of them recorded."""
    root = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        (root / ".dvc").mkdir()
        params = finish()
        git("init", "--quiet", "--initial-branch=work")
        git("add", "params.yaml")
        git("commit", "--quiet", "--message=start")
        for run in params.runs:
            record.record_run(params, run)
        for name in params.ablations:
            record.record_ablation(params, name)
    return root


@pytest.fixture
def root(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the repository and its store as working directory; artifacts still go to the first one's folder."""
    shutil.copytree(recorded, tmp_path / "copy", ignore=shutil.ignore_patterns("mlartifacts"))
    monkeypatch.chdir(tmp_path / "copy")
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "copy"


@pytest.fixture
def params(root: Path) -> Params:
    return finish()


@pytest.fixture
def client(root: Path) -> MlflowClient:
    with store.lock(10):
        return store.client()


def dump(root: Path) -> list[str]:
    """Everything in the store."""
    with sqlite3.connect(root / "mlflow.db") as connection:
        return list(connection.iterdump())


def runs_of(client: MlflowClient, query: str) -> list[Run]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, query))


def only(client: MlflowClient, query: str) -> Run:
    (run,) = runs_of(client, query)
    return run


def history(client: MlflowClient, run: Run, metric: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, metric)]


def datasets(run: Run) -> list[Dataset]:
    assert run.inputs
    return [each.dataset for each in run.inputs.dataset_inputs]


def record_all(params: Params) -> tuple[int, int]:
    tally = record.Tally()
    record.record_all(record.records(params, record.Source(facts.environment_tags(), has_models=True)), tally)
    return tally.stored, tally.total


def test_a_run_has_its_parameters_and_tags(client: MlflowClient) -> None:
    run = only(client, "tags.run = 'xray-aug4'")
    settings = {"net": "xraynet", "depth": "5", "plan.level": "4", "batch_size": "16", "epochs": "2"}
    settings |= {
        "image_size": "64",
        "batchnorm": "recalibrated",
        "seeds": "0",
        "precision": "float32",
        "deterministic": "True",
    }
    settings |= {"training.learning_rate": "0.001", "training.schedule": "trapezoid"}
    assert settings.items() <= run.data.params.items()
    assert run.data.params["source"] == "drawn"
    tags = {"study": "xray", "net": "xraynet", "depth": "5", "level": "4", "widths": "report", "plan": "aug4"}
    tags |= {"profile": "quick", "recipe": "best", "model": "all", "batchnorm": "recalibrated", "phases": "base"}
    tags |= {"seeds": "0", "xray_data": "drawn", "constant": "false", "kind": "run", "git_branch": "work"}
    tags |= {"ablation.augmentation": "true", "ablation.depth": "true", "git_dirty": "false", "parent": "work"}
    tags |= {"git_commit": git("rev-parse", "HEAD"), "mlflow.source.git.commit": git("rev-parse", "HEAD")}
    tags |= {"audit.severe": "shortcut", "audit.warning": "copies, drift"}
    assert tags.items() <= run.data.tags.items()
    assert run.info.status == "FINISHED"
    assert "ablation.depth" not in only(client, "tags.run = 'xray-aug3'").data.tags


def test_a_run_has_its_final_metrics_of_every_phase_and_split(client: MlflowClient) -> None:
    metrics = only(client, "tags.run = 'alexnet'").data.metrics
    expected = {
        f"{phase}/{split}_{name}": METRICS[name]
        for phase in ("base", "tuned")
        for split in ("train", "val", "tune")
        for name in ("n", "accuracy", "loss", "auc")
    }
    finals = {name: value for name, value in metrics.items() if "/epoch/" not in name}
    assert {name: value for name, value in finals.items() if not name.startswith("export/")} == expected


def test_a_run_says_what_it_takes_on_a_phone(client: MlflowClient) -> None:
    metrics = only(client, "tags.run = 'alexnet'").data.metrics
    expected = {"size_mb": 3.48, "accuracy": 0.7425, "accuracy_change": 0.7425 - 0.75, "agreement": 0.98}
    expected |= {"largest_difference": 0.05, "latency_ms": 1.25, "latency_p95_ms": 1.5}
    found = {name.removeprefix("export/int8/"): value for name, value in metrics.items() if "/int8/" in name}
    assert found == expected
    assert not any("export/" in name for name in only(client, "tags.run = 'xray-aug4'").data.metrics)


def test_a_run_has_a_curve_of_every_phase(client: MlflowClient, params: Params) -> None:
    import pandas as pd

    run = only(client, "tags.run = 'alexnet'")
    for phase in ("base", "tuned"):
        table = pd.read_csv(paths.history(paths.seed("alexnet", phase, 0)))
        for name in ("accuracy", "loss", "val_accuracy", "val_loss"):
            expected = list(zip(table["epoch"], table[name], strict=True))
            assert history(client, run, f"{phase}/epoch/{name}") == expected


def test_a_run_shows_its_figures_by_phase_and_its_data(client: MlflowClient) -> None:
    run = only(client, "tags.run = 'alexnet'")

    def shown(folder: str) -> list[str]:
        return [file.path for file in client.list_artifacts(run.info.run_id, folder)]

    assert shown("") == ["alexnet.json", "base", "layers.csv", "tuned"]
    names = ("curves.png", "val-confusion.csv", "val-confusion.png", "val-report.txt")
    assert shown("tuned") == [f"tuned/tuned-{name}" for name in names]
    (data,) = datasets(run)
    assert data.name == "faces"
    assert data.source == '{"uri": "data/faces/images.npy", "format": "drawn"}'
    assert data.profile == '{"images": 168, "train": 96, "tune": 40, "val": 32}'
    assert len(data.digest) == 12


def test_a_run_is_described_by_the_pictures_that_stand_for_it(client: MlflowClient) -> None:
    run = only(client, "tags.run = 'alexnet'")
    links, *pictures = run.data.tags["mlflow.note.content"].split("\n\n")
    address = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/tuned"
    names = ("tuned-val-confusion", "tuned-curves")  # the stand-ins have no ROC
    assert links == " · ".join(f"[{name}]({address}/{name}.png)" for name in names)
    source = f"get-artifact?run_uuid={run.info.run_id}&path=tuned"
    assert pictures == [f"![{name}]({source}/{name}.png)" for name in names]
    ablation = only(client, "tags.ablation = 'augmentation'")
    assert ablation.data.tags["mlflow.note.content"].startswith("[curve](#/experiments/")


def test_an_ablation_is_a_run_with_table_curve_and_values_along_the_axis(client: MlflowClient) -> None:
    run = only(client, "tags.ablation = 'augmentation'")
    assert run.info.run_name == "ablation: augmentation"
    assert run.data.tags["kind"] == "ablation"
    assert history(client, run, "test_accuracy") == [(3, 0.3), (4, 0.4)]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == [
        "augmentation.json", "curve.csv", "curve.png",
    ]  # fmt: skip


def test_runs_lie_under_one_parent_per_study(client: MlflowClient) -> None:
    parents = {parent.data.tags["study"]: parent.info.run_id for parent in runs_of(client, "tags.kind = 'parent'")}
    assert set(parents) == {"faces", "xray"}
    children = runs_of(client, "tags.kind = 'run'") + runs_of(client, "tags.kind = 'ablation'")
    assert len(children) == 6
    for child in children:
        assert child.data.tags["mlflow.parentRunId"] == parents[child.data.tags["study"]]


def test_recording_again_changes_nothing(root: Path, params: Params) -> None:
    before = dump(root)
    for run in RUNS:
        record.record_run(params, run)
    for name in params.ablations:
        record.record_ablation(params, name)
    assert record_all(params) == (6, 6)
    assert dump(root) == before


def test_new_metrics_of_the_same_models_correct_the_run_in_place(client: MlflowClient, params: Params) -> None:
    before = only(client, "tags.run = 'alexnet'")
    client.set_tag(before.info.run_id, "mlflow.note.content", "mine")
    write_metrics(params, "alexnet", METRICS | {"accuracy": 0.25, "kappa": 0.1, "constant": True})
    record.record_run(params, "alexnet")
    after = only(client, "tags.run = 'alexnet'")
    assert after.info.run_id == before.info.run_id
    assert after.data.metrics == before.data.metrics | {
        f"{phase}/{split}_{name}": value
        for phase in ("base", "tuned")
        for split in ("train", "val", "tune")
        for name, value in (("accuracy", 0.25), ("kappa", 0.1))
    }
    assert len(history(client, after, "base/epoch/loss")) == len(history(client, before, "base/epoch/loss")) == 6
    assert after.data.tags["constant"] == "true"
    assert after.data.tags["mlflow.note.content"] == "mine"
    write_metrics(params, "alexnet", METRICS)
    record.record_run(params, "alexnet")
    assert only(client, "tags.run = 'alexnet'").data.metrics["base/val_accuracy"] == 0.5


def test_settings_that_made_the_same_models_again_leave_those_that_made_them_first(
    client: MlflowClient, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    record.record_run(params.model_copy(update={"data_seed": 5}), "alexnet")
    assert capsys.readouterr().err == ""
    assert only(client, "tags.run = 'alexnet'").data.params["data_seed"] == "0"


def test_a_record_that_broke_off_is_completed(
    root: Path, client: MlflowClient, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = only(client, "tags.run = 'alexnet'")
    client.delete_run(whole.info.run_id)

    def full(*arguments: object, **options: object) -> None:
        raise OSError("No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", full)
        record.record_run(params, "alexnet")
    assert only(client, "tags.run = 'alexnet'").info.status == "RUNNING"
    assert capsys.readouterr().err.splitlines() == [
        "warning: alexnet: not recorded in MLflow (No space left on device); `cnnstudy track` records it later"
    ]
    record.record_run(params, "alexnet")
    completed = only(client, "tags.run = 'alexnet'")
    assert completed.info.status == "FINISHED"
    assert completed.data.metrics == whole.data.metrics
    assert len(history(client, completed, "base/epoch/loss")) == 6
    assert len(history(client, completed, "base/val_accuracy")) == 1
    assert datasets(completed) == datasets(whole)
    assert completed.data.tags["record"] == whole.data.tags["record"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["puffy-sage", "it's \"50% ä\" / tags.x = ''"])
def test_an_experiment_has_a_parent_of_its_own_for_what_it_made(
    client: MlflowClient, params: Params, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", name)
    history_file = paths.history(paths.seed("alexnet", "base", 0))
    history_file.write_text(history_file.read_text() + "7,0.5,1,0.5,1\n")
    for _ in range(2):
        record.record_run(params, "alexnet")
        record.record_run(params, "xray-aug3")
    old, new = sorted(runs_of(client, "tags.run = 'alexnet'"), key=lambda run: run.info.start_time)
    parent = client.get_run(new.data.tags["mlflow.parentRunId"])
    assert parent.info.run_name == name
    assert new.data.tags["dvc_experiment"] == parent.data.tags["dvc_experiment"] == name
    assert old.data.tags["parent"] == "work"
    # What the experiment did not train stays where it was.
    assert only(client, "tags.run = 'xray-aug3'").data.tags["parent"] == "work"


def test_a_selection_of_models_leaves_the_record_of_the_same_run_alone(root: Path, params: Params) -> None:
    before = dump(root)
    record.record_run(params.model_copy(update={"model": "alexnet"}), "alexnet")
    assert dump(root) == before


def test_edited_code_is_marked(client: MlflowClient, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("src").mkdir()
    Path("src/train.py").write_text("edited")
    paths.history(paths.seed("alexnet", "base", 0)).write_text("epoch,loss\n1,1\n")
    monkeypatch.setenv("DVC_EXP_NAME", "edited")
    record.record_run(params, "alexnet")
    assert only(client, "tags.dvc_experiment = 'edited' and tags.kind = 'run'").data.tags["git_dirty"] == "true"


def test_several_seeds_have_a_mean_and_a_curve_each_however_long(client: MlflowClient, root: Path) -> None:
    params = finish(("alexnet",), seeds=(0, 7))
    rows = "".join(f"{epoch},{{0}},1,{{0}},1\n" for epoch in range(1, 201))
    for phase in params.phases("alexnet"):
        for seed, value in ((0, 0.25), (7, 0.75)):
            text = "epoch,accuracy,loss,val_accuracy,val_loss\n" + rows.format(value)
            paths.history(paths.seed("alexnet", phase, seed)).write_text(text)
    record.record_run(params, "alexnet")
    run = only(client, "tags.run = 'alexnet' and tags.seeds = '0, 7'")
    for section, value in (("epoch", 0.5), ("epoch/seed0", 0.25), ("epoch/seed7", 0.75)):
        assert history(client, run, f"tuned/{section}/accuracy") == [(epoch, value) for epoch in range(1, 201)]


def test_what_is_not_there_is_left_out(params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    paths.run_metrics("xray-aug3").unlink()
    shutil.rmtree(paths.phase("alexnet", "tuned"))
    shutil.rmtree(paths.ablation_plots("depth"))
    assert record_all(params) == (3, 3)
    assert capsys.readouterr().err == ""


def test_a_page_with_a_net_that_answers_one_class_is_recorded(params: Params, client: MlflowClient) -> None:
    for path, content in (
        (paths.REPORT, "<p>"),
        (paths.SUMMARY, '{"alexnet": {"val_accuracy": 0.125, "one_class_answers": "base"}}'),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    assert record_all(params) == (7, 7)
    assert only(client, "tags.kind = 'page'").data.metrics == {"alexnet/val_accuracy": 0.125}


def test_a_damaged_file_costs_its_own_record_alone(params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    paths.run_metrics("alexnet").write_text("{")
    assert record_all(params) == (5, 6)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: alexnet: not recorded in MLflow (Expecting property name")


def test_a_server_that_is_down_costs_a_line_and_little_time(
    params: Params, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:1")
    start = time.monotonic()
    record.record_run(params, "alexnet")
    assert record_all(params) == (0, 6)
    assert time.monotonic() - start < 5
    output = capfd.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 2
    assert all(line.startswith("warning: alexnet: not recorded in MLflow (") for line in output.err.splitlines())
    assert "secret" not in output.err


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_does_not_answer_is_not_waited_for(
    params: Params, silent_server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent_server)
    monkeypatch.setattr(record, "LIMIT", 0.5)
    start = time.monotonic()
    record.record_ablation(params, "depth")
    assert time.monotonic() - start < 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: ablation: depth: not recorded in MLflow (no answer within 0.5 seconds)")


def test_a_store_that_another_process_holds_is_not_waited_for(
    params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "LIMIT", 1.0)
    with store.lock(1):
        record.record_run(params, "alexnet")
    (line,) = capsys.readouterr().err.splitlines()
    assert "mlflow.db.lock' could not be acquired" in line


def test_a_store_that_must_be_made_first_is_waited_for_longer(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(record, "within", lambda seconds, work: waits.append(seconds))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new.db")
    record.record_run(params, "alexnet")
    (tmp_path / "new.db").touch()
    record.record_run(params, "alexnet")
    assert waits == [record.NEW_STORE * record.LIMIT, record.LIMIT]


RECORD = """
import mlflow
from cnnstudy.config.params import read_params
from cnnstudy.tracking import record
print("ready", flush=True)
input()
record.record_run(read_params(), "alexnet")
"""


@pytest.mark.slow
def test_processes_at_once_on_no_store_make_one_record_in_a_root_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "50% of a #1 'ünusual' name?"
    (root / ".dvc").mkdir(parents=True)
    # As a killed process would leave it.
    (root / "mlflow.db.new").write_bytes(b"half a database")
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(store.__file__).parents[2]))
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "ERROR")
    monkeypatch.chdir(root)
    finish(("alexnet",))
    before = {path.name for path in root.iterdir()} - {"mlflow.db.new"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RECORD],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    assert [process.communicate("\n") for process in processes] == [("", "")] * 2

    assert {path.name for path in root.iterdir()} - before == {"mlflow.db", "mlflow.db.lock", "mlartifacts"}
    with store.lock(10):
        client = store.client()
    run, parent = only(client, "tags.kind = 'run'"), only(client, "tags.kind = 'parent'")
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert [step for step, _ in history(client, run, "base/epoch/loss")] == list(range(1, 7))
    files = root / "mlartifacts/faces" / run.info.run_id / "artifacts"
    assert (files / "base/base-val-confusion.png").read_text() == "alexnet base val-confusion.png"
