"""Records in the real MLflow, of a workspace that no stage has run in."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, LoggedModel, Run
from synthetic_runs import SIZES
from tracking.finished_runs import METRICS, RUNS, finish, write_metrics

from cnnstudy.config.schema import Params
from cnnstudy.tracking import build, keys, store, times, upsert, views, write
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
        params = finish()
        git("init", "--quiet", "--initial-branch=work")
        git("add", "params.yaml", "dvc.yaml")
        git("commit", "--quiet", "--message=start")
        for run in params.runs:
            write.record_run(params, run)
        for name in params.ablations:
            write.record_ablation(params, name)
    return root


@pytest.fixture
def root(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the repository and its store as working directory; artifacts still go to the first one's folder."""
    shutil.copytree(recorded, tmp_path / "copy", ignore=shutil.ignore_patterns("mlartifacts", "tmp"))
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


def model_of(client: MlflowClient, run: Run) -> LoggedModel:
    assert run.outputs
    (output,) = run.outputs.model_outputs
    return client.get_logged_model(output.model_id)


def record_all(params: Params) -> tuple[int, int]:
    tally = write.Tally()
    write.record_all(write.records(params, write.RecordSource(build.environment_tags(), has_models=True)), tally)
    return tally.stored, tally.total


def test_a_run_has_its_parameters_and_tags(client: MlflowClient) -> None:
    run = only(client, "tags.run = 'xray-aug4'")
    settings = {"net": "xraynet", "options.depth": "5", "policy.level": "4", "batch_size": "8", "epochs": "1"}
    settings |= {
        "image_size": "64",
        "batchnorm": "recalibrated",
        "seeds": "0",
        "precision": "float32",
        "deterministic": "True",
    }
    settings |= {"options.widths": "report", "training.learning_rate": "0.005", "training.schedule": "cosine"}
    assert settings.items() <= run.data.params.items()
    assert run.data.params["source"] == "synthetic"
    tags = {"study": "xray", "net": "xraynet", "run": "xray-aug4", "policy": "aug4", "kind": "net"}
    tags |= {"profile": "smoke", "recipe": "best", "data": "synthetic", "constant": "false", "git_branch": "work"}
    tags |= {"ablation.augmentation": "true", "ablation.depth": "true", "git_dirty": "false"}
    tags |= {"mlflow.source.name": "src/train.py", "mlflow.user": times.user()}
    tags |= {"git_commit": git("rev-parse", "HEAD"), "mlflow.source.git.commit": git("rev-parse", "HEAD")}
    tags |= {"audit.severe": "shortcut", "audit.warning": "copies, drift"}
    assert tags.items() <= run.data.tags.items()
    assert run.info.status == "FINISHED"
    assert "ablation.depth" not in only(client, "tags.run = 'xray-aug3'").data.tags


def test_a_run_has_one_number_a_name_and_the_rest_in_files(client: MlflowClient) -> None:
    """The headline is that of the last phase and the primary split; the numbers of LiteRT files are in a file."""
    run = only(client, "tags.run = 'alexnet'")
    finals = {name: value for name, value in run.data.metrics.items() if "/" not in name}
    assert finals == {"accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.625}
    phones = json.loads(Path(client.download_artifacts(run.info.run_id, "export.json")).read_text())
    expected = {"size_mb": 3.48, "accuracy": 0.7425, "accuracy_change": 0.7425 - 0.75, "agreement": 0.98}
    expected |= {"largest_difference": 0.05, "latency_ms": 1.25, "latency_p95_ms": 1.5}
    assert phones["int8"] == expected


def test_what_the_course_report_has_of_a_run_stands_beside_it(client: MlflowClient, params: Params) -> None:
    paths.REFERENCE.mkdir(parents=True)
    rows = [
        "study,table,run,phase,split,class,metric,value,source",
        "faces,1,alexnet,tuned,val,anger,accuracy,0.1,report",
    ]
    rows += [
        f"faces,1,alexnet,{phase},val,,accuracy,{value},report" for phase, value in (("base", 0.3), ("tuned", 0.4))
    ]
    rows += ["faces,9,alexnet,tuned,val,,accuracy,0.45,report", "faces,,alexnet,tuned,test,,accuracy,0.9,a paper"]
    (paths.REFERENCE / "report.csv").write_text("\n".join(rows) + "\n")
    (paths.REFERENCE / "contents.csv").write_text("item,shows\n1,nothing\n")
    write.record_run(params, "alexnet")
    run = only(client, "tags.run = 'alexnet'")
    assert run.data.metrics["accuracy_report"] == 0.4
    sentence = (
        "alexnet, tuned: accuracy 0.500 on test (0.250 to 0.625); the course report has 0.4 or 0.45 (tuned, val)."
    )
    assert run.data.tags["mlflow.note.content"].splitlines()[0] == sentence


def test_a_run_has_a_curve_of_every_phase(client: MlflowClient, params: Params) -> None:
    run = only(client, "tags.run = 'alexnet'")
    for phase in ("base", "tuned"):
        table = pd.read_csv(paths.history(paths.seed("alexnet", phase, 0)))
        for name in ("accuracy", "loss", "val_accuracy", "val_loss"):
            expected = list(zip(table["epoch"], table[name], strict=True))
            assert history(client, run, f"{phase}/{name}") == expected


def test_a_run_shows_its_figures_by_phase_and_its_data(client: MlflowClient) -> None:
    run = only(client, "tags.run = 'alexnet'")

    def shown(folder: str) -> list[str]:
        return [file.path for file in client.list_artifacts(run.info.run_id, folder)]

    assert shown("") == ["alexnet.json", "base", "export.json", "layers.csv", "tuned"]
    names = ("curves.png", "test-confusion.csv", "test-confusion.png", "test-report.txt")
    assert shown("tuned") == [f"tuned/tuned-{name}" for name in names]
    assert run.inputs
    found = {each.tags[0].value: each.dataset for each in run.inputs.dataset_inputs}
    assert {split: json.loads(data.profile)["images"] for split, data in found.items()} == SIZES["faces"]
    assert {(data.name, data.source) for data in found.values()} == {
        ("faces", '{"uri": "data/faces/images.npy", "format": "synthetic"}')
    }
    assert len({data.digest for data in found.values()}) == len(SIZES["faces"])


def test_a_split_has_another_digest_when_an_image_of_it_is_another(params: Params) -> None:
    before = {each.split: each.digest for each in build.data_of(params, "faces")}
    table = pd.read_csv(paths.samples("faces"))
    table.loc[0, "sha256"] = "f" * 64
    table.to_csv(paths.samples("faces"), index=False)
    after = {each.split: each.digest for each in build.data_of(params, "faces")}
    assert {split for split in before if before[split] != after[split]} == {"train"}


def test_a_run_is_described_by_the_pictures_that_stand_for_it(client: MlflowClient) -> None:
    run = only(client, "tags.run = 'alexnet'")
    sentence, links, *pictures = run.data.tags["mlflow.note.content"].split("\n\n")
    assert sentence == "alexnet, tuned: accuracy 0.500 on test (0.250 to 0.625)."
    address = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/tuned"
    names = ("tuned-test-confusion", "tuned-curves")  # the stand-ins have no ROC
    *shown, model = links.split(" · ")
    assert shown == [f"[{name}]({address}/{name}.png)" for name in names]
    assert model == f"[model](#/experiments/{run.info.experiment_id}/models/{model_of(client, run).model_id})"
    source = f"get-artifact?run_uuid={run.info.run_id}&path=tuned"
    assert pictures == [f"![{name}]({source}/{name}.png)" for name in names]
    ablation = only(client, "tags.ablation = 'augmentation'")
    sentence, links, _ = ablation.data.tags["mlflow.note.content"].split("\n\n")
    assert sentence == (
        "Along the axis augmentation level, the best of 2 is xray-aug4, base, at 4: "
        "accuracy 0.400 on test (0.200 to 0.700)."
    )
    assert links.startswith("[curve](#/experiments/")


def test_a_run_has_a_model_that_says_where_its_weights_are(client: MlflowClient) -> None:
    run = only(client, "tags.run = 'alexnet'")
    model = model_of(client, run)
    assert (model.name, model.source_run_id, model.status) == ("alexnet", run.info.run_id, "READY")
    assert model.params == run.data.params
    assert {(each.key, each.value, each.dataset_name) for each in model.metrics} == {
        ("accuracy", 0.5, "faces"), ("accuracy_low", 0.25, "faces"), ("accuracy_high", 0.625, "faces"),
    }  # fmt: skip
    command = f"`dvc get . models/alexnet --rev {run.data.tags['git_commit']}`"
    assert command in model.tags["mlflow.note.content"]


def test_an_ablation_is_a_run_with_table_curve_and_values_along_the_axis(client: MlflowClient) -> None:
    run = only(client, "tags.ablation = 'augmentation'")
    assert run.info.run_name == "ablation: augmentation"
    assert run.data.tags["kind"] == "ablation"
    assert history(client, run, "axis/accuracy") == [(3, 0.3), (4, 0.4)]
    assert (run.data.metrics["accuracy"], run.data.tags["best"]) == (0.4, "xray-aug4")
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == [
        "augmentation.json", "curve.csv", "curve.png",
    ]  # fmt: skip


def test_runs_are_flat(client: MlflowClient) -> None:
    runs = runs_of(client, "")
    assert len(runs) == 6
    assert not [run for run in runs if "mlflow.parentRunId" in run.data.tags]


def test_experiments_say_what_they_show_and_have_views(client: MlflowClient) -> None:
    notes = {each.name: each.tags["mlflow.note.content"] for each in client.search_experiments()}
    assert notes["faces"] == "Faces: a run for each net, and one for each ablation."
    assert "MLflow itself" in notes["Default"]
    for name in ("faces", "xray"):
        experiment = client.get_experiment_by_name(name)
        assert experiment
        page = f"#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey="
        assert views.links(experiment) == {
            "nets": f"{page}nets", "curves": f"{page}curves&compareRunsMode=CHART", "ablations": f"{page}ablations",
        }  # fmt: skip


def test_recording_again_changes_nothing(root: Path, params: Params) -> None:
    before = dump(root)
    for run in RUNS:
        write.record_run(params, run)
    for name in params.ablations:
        write.record_ablation(params, name)
    assert record_all(params) == (6, 6)
    assert dump(root) == before


def test_new_metrics_of_the_same_models_correct_the_run_in_place(client: MlflowClient, params: Params) -> None:
    before = only(client, "tags.run = 'alexnet'")
    client.set_tag(before.info.run_id, "mlflow.note.content", "mine")
    write_metrics(params, "alexnet", METRICS | {"accuracy": 0.25, "kappa": 0.1, "constant": True})
    write.record_run(params, "alexnet")
    after = only(client, "tags.run = 'alexnet'")
    assert after.info.run_id == before.info.run_id
    assert after.data.metrics == before.data.metrics | {"accuracy": 0.25}
    assert len(history(client, after, "base/loss")) == len(history(client, before, "base/loss")) == 6
    assert after.data.tags["constant"] == "true"
    assert after.data.tags["mlflow.note.content"] == "mine"
    write_metrics(params, "alexnet", METRICS)
    write.record_run(params, "alexnet")
    assert only(client, "tags.run = 'alexnet'").data.metrics["accuracy"] == 0.5


def test_a_description_that_nobody_has_changed_follows_the_numbers(client: MlflowClient, params: Params) -> None:
    write_metrics(params, "alexnet", METRICS | {"accuracy": 0.625})
    write.record_run(params, "alexnet")
    assert "accuracy 0.625 on test" in only(client, "tags.run = 'alexnet'").data.tags["mlflow.note.content"]


def test_a_model_shows_its_latest_metrics_however_often_they_change(client: MlflowClient, params: Params) -> None:
    for accuracy in (0.61, 0.62, 0.61):
        write_metrics(params, "alexnet", METRICS | {"accuracy": accuracy, "accuracy_low": accuracy - 0.1})
        record_all(params)
        model = model_of(client, only(client, "tags.run = 'alexnet'"))
        latest = {each.key: each.value for each in sorted(model.metrics or [], key=lambda each: each.timestamp)}
        assert (latest["accuracy"], latest["accuracy_low"]) == (accuracy, accuracy - 0.1)


def test_settings_that_made_the_same_models_again_leave_those_that_made_them_first(
    client: MlflowClient, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    write.record_run(params.model_copy(update={"data_seed": 5}), "alexnet")
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
        write.record_run(params, "alexnet")
    assert only(client, "tags.run = 'alexnet'").info.status == "RUNNING"
    assert capsys.readouterr().err.splitlines() == [
        "warning: alexnet: not recorded in MLflow (No space left on device); `cnnstudy track` records it later"
    ]
    write.record_run(params, "alexnet")
    completed = only(client, "tags.run = 'alexnet'")
    assert completed.info.status == "FINISHED"
    assert completed.data.metrics == whole.data.metrics
    assert len(history(client, completed, "base/loss")) == 6
    assert len(history(client, completed, "accuracy")) == 1
    assert datasets(completed) == datasets(whole)
    assert completed.data.tags[upsert.RECORD] == whole.data.tags[upsert.RECORD]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["puffy-sage", "it's \"50% ä\" / tags.x = ''"])
def test_an_experiment_has_runs_of_its_own_for_what_it_made(
    client: MlflowClient, params: Params, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", name)
    history_file = paths.history(paths.seed("alexnet", "base", 0))
    history_file.write_text(history_file.read_text() + "7,0.5,1,0.5,1\n")
    for _ in range(2):
        write.record_run(params, "alexnet")
        write.record_run(params, "xray-aug3")
    old, new = sorted(runs_of(client, "tags.run = 'alexnet'"), key=lambda run: run.info.start_time)
    assert (old.info.run_name, new.info.run_name) == ("alexnet", f"alexnet, {name}")
    assert new.data.tags["dvc_experiment"] == name
    # What the experiment did not train stays as it was.
    assert "dvc_experiment" not in only(client, "tags.run = 'xray-aug3'").data.tags


def test_variations_are_told_apart_by_their_names(client: MlflowClient, params: Params) -> None:
    for changes in ({"studies__faces__epochs": 3}, {"profile": "report"}, {"profile": "report", "data_seed": 5}):
        varied = finish(("alexnet",), **changes)
        (paths.phase("alexnet", "tuned") / "own").write_text(str(changes))
        write.record_run(varied, "alexnet")
    again = finish(("alexnet",))
    (paths.phase("alexnet", "tuned") / "own").write_text("of another machine")
    write.record_run(again, "alexnet")
    names = {run.info.run_name for run in runs_of(client, "tags.run = 'alexnet'")}
    (other,) = (name for name in names if name.startswith("alexnet, profile report ("))
    assert names == {"alexnet", "alexnet, epochs=3", "alexnet, profile report", other, "alexnet, another machine"}


def test_another_model_of_the_same_key_is_another_run_and_leaves_the_first(
    client: MlflowClient, params: Params, root: Path
) -> None:
    before = only(client, "tags.run = 'alexnet'")
    (paths.phase("alexnet", "tuned") / "own").write_text("")
    write.record_run(params, "alexnet")
    runs = runs_of(client, "tags.run = 'alexnet'")
    assert len(runs) == 2
    assert len({run.data.tags[upsert.KEY] for run in runs}) == 1
    assert client.get_run(before.info.run_id).to_dictionary() == before.to_dictionary()


def test_what_an_earlier_version_recorded_is_replaced_or_named(
    client: MlflowClient, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    new = only(client, "tags.run = 'alexnet'")
    client.set_tag(new.info.run_id, f"{keys.OWN}model_md5.base", "1")
    for name, md5 in (("alexnet", "1"), ("of another commit", "2")):
        client.create_run(new.info.experiment_id, tags={"run_key": md5, "model_md5.base": md5}, run_name=name)
    for _ in range(2):
        write.tidy_up()
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("MLflow also has runs of an earlier version of cnnstudy")
        assert line.endswith(": of another commit")
        assert [run.info.run_name for run in runs_of(client, "tags.run_key != ''")] == ["of another commit"]


def test_start_end_and_duration_are_those_of_the_training(client: MlflowClient, params: Params) -> None:
    assert only(client, "tags.run = 'xray-aug3'").data.tags["timing"].startswith("unknown")
    finish(("alexnet",))
    (paths.phase("alexnet", "tuned") / "own").write_text("anew")
    spans = []
    for phase in ("base", "tuned"):
        with times.measured("alexnet", phase) as start:
            time.sleep(0.2)
        spans.append((start, time.time()))
    write.record_run(params, "alexnet")
    run = only(client, "tags.run = 'alexnet' and tags.timing = 'measured'")
    assert run.info.start_time == int(spans[0][0] * 1000)
    assert spans[1][0] + 0.2 <= run.info.end_time / 1000 + 0.001 <= spans[1][1] + 0.001
    assert 0.4 <= run.data.metrics["training_seconds"] <= sum(end - start for start, end in spans)


def test_a_later_training_of_the_same_bytes_has_no_negative_duration(client: MlflowClient, params: Params) -> None:
    finish(("xray-aug4",))
    (paths.phase("xray-aug4", "base") / "own").write_text("twice")
    with times.measured("xray-aug4", "base") as start:
        time.sleep(0.1)
    record = build.run_record(params, "xray-aug4", keys.identity("xray-aug4", params), build.environment_tags())
    assert record.times
    experiment = only(client, "tags.run = 'xray-aug3'").info.experiment_id
    tags = record.tags | {upsert.KEY: record.key, upsert.MODEL: record.model}
    later = client.create_run(experiment, int((start + 3600) * 1000), tags)
    write.record_run(params, "xray-aug4")
    info = client.get_run(later.info.run_id).info
    assert info.end_time - info.start_time == int(record.times.seconds * 1000)


def test_a_selection_of_models_leaves_the_record_of_the_same_run_alone(root: Path, params: Params) -> None:
    before = dump(root)
    write.record_run(params.model_copy(update={"models": {"alexnet": "alexnet"}}), "alexnet")
    assert dump(root) == before


def test_edited_code_is_marked(client: MlflowClient, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("src").mkdir()
    Path("src/train.py").write_text("edited")
    paths.history(paths.seed("alexnet", "base", 0)).write_text("epoch,loss\n1,1\n")
    monkeypatch.setenv("DVC_EXP_NAME", "edited")
    write.record_run(params, "alexnet")
    assert only(client, "tags.dvc_experiment = 'edited'").data.tags["git_dirty"] == "true"


def test_several_seeds_have_a_mean_and_a_curve_each_however_long(client: MlflowClient, root: Path) -> None:
    params = finish(("alexnet",), seeds=(0, 7))
    rows = "".join(f"{epoch},{{0}},1,{{0}},1\n" for epoch in range(1, 201))
    for phase in params.phases("alexnet"):
        for seed, value in ((0, 0.25), (7, 0.75)):
            text = "epoch,accuracy,loss,val_accuracy,val_loss\n" + rows.format(value)
            paths.history(paths.seed("alexnet", phase, seed)).write_text(text)
    write.record_run(params, "alexnet")
    run = only(client, "tags.kind = 'net' and params.seeds = '0, 7'")
    children = runs_of(client, f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    assert {child.info.run_name for child in children} == {"alexnet, seed 0", "alexnet, seed 7"}
    assert {child.data.tags[upsert.KEY] for child in children} == {
        f"{run.data.tags[upsert.KEY]}-{seed}" for seed in (0, 7)
    }
    values = {"0": 0.25, "7": 0.75}
    for each, value in [(run, 0.5), *((child, values[child.data.params["seed"]]) for child in children)]:
        assert history(client, each, "tuned/accuracy") == [(epoch, value) for epoch in range(1, 201)]
    assert run.data.metrics["accuracy_spread"] == 0.0
    before = dump(root)
    write.record_run(params, "alexnet")
    assert dump(root) == before


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
    assert only(client, "tags.kind = 'page'").data.metrics == {"runs": 3}


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
    write.record_run(params, "alexnet")
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
    monkeypatch.setattr(write, "LIMIT", 0.5)
    start = time.monotonic()
    write.record_ablation(params, "depth")
    assert time.monotonic() - start < 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: ablation: depth: not recorded in MLflow (no answer within 0.5 seconds)")


def test_a_store_that_another_process_holds_is_not_waited_for(
    params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(write, "LIMIT", 1.0)
    with store.lock(1):
        write.record_run(params, "alexnet")
    (line,) = capsys.readouterr().err.splitlines()
    assert "mlflow.db.lock' could not be acquired" in line


def test_a_store_that_must_be_made_first_is_waited_for_longer(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(write, "within", lambda seconds, work: waits.append(seconds))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new.db")
    write.record_run(params, "alexnet")
    (tmp_path / "new.db").touch()
    write.record_run(params, "alexnet")
    assert waits == [write.NEW_STORE * write.LIMIT, write.LIMIT]


RECORD = """
import mlflow
from cnnstudy.config.params import read_params
from cnnstudy.tracking import write
print("ready", flush=True)
input()
write.record_run(read_params(), "alexnet")
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
    run = only(client, "")
    assert [step for step, _ in history(client, run, "base/loss")] == list(range(1, 7))
    files = root / "mlartifacts/faces" / run.info.run_id / "artifacts"
    assert (files / "base/base-test-confusion.png").read_text() == "alexnet base test-confusion.png"
