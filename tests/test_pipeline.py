"""The real stages, end to end, in a temporary clone under profile=smoke."""

import json
import re
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ssh_server
import stored
import yaml
from workspace import Workspace, clone, with_small_files

from cnnstudy.commands.compare import STYLE
from cnnstudy.config.params import read_params
from cnnstudy.data.synth import faces
from cnnstudy.export.litert import PRECISIONS
from cnnstudy.workspace import files, paths

RUNS = ("alexnet", "xray-aug0", "xray-depth6")


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory, data_cache: Path) -> Workspace:
    """A clone in which `make repro` has rebuilt three runs of both studies."""
    workspace = clone(tmp_path_factory.mktemp("clone"), data_cache)
    workspace.compose("profile=smoke", "studies.xray.options.widths=reshi")
    workspace.select(RUNS)
    workspace.run("cnnstudy", "repro")
    return workspace


def store(workspace: Workspace, query: str) -> list[tuple[str, ...]]:
    """Rows of the tracking store, which is an SQLite file in the repository's root."""
    with sqlite3.connect(workspace.path / "mlflow.db") as connection:
        return connection.execute(query).fetchall()


TAGGED = "select r.name, t.value from runs r join tags t on t.run_uuid = r.run_uuid where t.key = '{}' order by r.name"


def test_a_second_repro_does_nothing(rebuilt: Workspace) -> None:
    assert "Data and pipelines are up to date." in rebuilt.run("dvc", "repro")


@pytest.mark.slow
def test_done_again_each_stage_gives_the_same_bytes(rebuilt: Workspace) -> None:
    lock = (rebuilt.path / "dvc.lock").read_bytes()
    stages = ["ingest@faces", "audit@faces", "augment@faces", "ablate@nets"]
    stages += ["ingest-external@faces-elsewhere", "external@faces-elsewhere"]
    stages += [f"{stage}@alexnet" for stage in ("train", "finetune", "evaluate", "export")] + ["report"]
    said = rebuilt.run("dvc", "repro", "--force", "--single-item", *stages)
    assert all(f"Running stage '{stage}'" in said for stage in stages)
    assert (rebuilt.path / "dvc.lock").read_bytes() == lock


def test_the_environment_that_trained_is_written_beside_the_lock(rebuilt: Workspace) -> None:
    environment = json.loads((rebuilt.path / paths.ENVIRONMENT).read_text())
    assert environment["threads"] == 1
    assert {"tensorflow", "keras", "numpy"} <= set(environment["packages"])
    assert str(paths.ENVIRONMENT) not in (rebuilt.path / "dvc.lock").read_text()


@pytest.mark.parametrize(
    ("run", "splits"),
    [
        ("alexnet", {phase: {"train", "val", "tune", "tune_holdout", "test"} for phase in ("base", "tuned")}),
        ("xray-aug0", {"base": {"train", "train_augmented", "val", "test"}}),
        ("xray-depth6", {"base": {"train", "train_augmented", "val", "test"}}),
    ],
)
def test_every_phase_and_split_has_metrics(rebuilt: Workspace, run: str, splits: dict[str, set[str]]) -> None:
    metrics = json.loads((rebuilt.path / paths.run_metrics(run)).read_text())
    assert {phase: set(values) for phase, values in metrics.items()} == splits
    primary = read_params(rebuilt.path / "params.yaml").study_of(run).primary_split
    for values in metrics.values():
        for split, numbers in values.items():
            assert 0 <= numbers["accuracy"] <= 1
            assert {"loss", "macro_f1", "auc"} <= set(numbers)
            modes = {"accuracy_moving", "accuracy_recalibrated", "accuracy_batch"}
            assert (modes <= set(numbers)) is (split == primary)


def test_the_summary_is_the_one_metric(rebuilt: Workspace) -> None:
    summary = json.loads((rebuilt.path / paths.SUMMARY).read_text())
    assert {run: set(values) for run, values in summary.items()} == {
        "alexnet": {"test_accuracy", "tuned_test_accuracy"},
        "xray-aug0": {"test_accuracy"},
        "xray-depth6": {"test_accuracy"},
    }
    shown = json.loads(rebuilt.run("dvc", "metrics", "show", "--json"))
    assert shown[""]["data"] == {str(paths.SUMMARY): {"data": summary}}


def test_nets_are_tested_on_images_from_elsewhere(rebuilt: Workspace) -> None:
    logged = store(rebuilt, "select key, value from latest_metrics where key like 'external/%' order by value")
    found = []
    for study, runs in {"faces": {"alexnet"}, "xray": {"xray-aug0", "xray-depth6"}}.items():
        name = f"{study}-elsewhere"
        content = json.loads((rebuilt.path / paths.external_metrics(name)).read_text())
        assert content["runs"].keys() == runs
        assert content["copies"] == content["without_class"] == 0
        assert sum(content["by_class"].values()) == content["images"] > 0
        found += [(f"external/{name}/accuracy", list(its.values())[-1]["accuracy"]) for its in content["runs"].values()]
        assert name in (rebuilt.path / paths.REPORT).read_text()
    assert sorted(logged) == sorted(found)


def test_an_augmentation_policy_of_level_4_has_five_copies_of_each_training_image(rebuilt: Workspace) -> None:
    splits = pd.read_csv(rebuilt.path / paths.splits("xray"))
    policy = pd.read_csv(rebuilt.path / paths.policy("xray", "aug4"))
    assert sorted(policy["id"]) == sorted(list(splits.loc[splits["split"] == "train", "id"]) * 5)
    assert len(pd.read_csv(rebuilt.path / paths.history(paths.seed("xray-aug0", "base", 0)))) == 1


def test_a_net_for_phones_answers_as_the_trained_one_does(rebuilt: Workspace) -> None:
    exported = json.loads((rebuilt.path / paths.export_metrics("alexnet")).read_text())
    trained = json.loads((rebuilt.path / paths.run_metrics("alexnet")).read_text())["tuned"]["test"]
    assert exported["float32"]["accuracy"] == exported["keras"]["accuracy"] == trained["accuracy"]
    assert exported["float32"]["agreement"] == 1
    sizes = [exported[precision]["bytes"] for precision in PRECISIONS]
    assert sizes == [(rebuilt.path / paths.lite("alexnet", each)).stat().st_size for each in PRECISIONS]
    assert sizes[0] > 1.9 * sizes[1] > 3.4 * sizes[2]
    assert (rebuilt.path / paths.lite_labels("alexnet")).read_text().split() == list(faces.CLASSES)


def test_plots_show_draws_curves_roc_and_confusion(rebuilt: Workspace) -> None:
    rebuilt.run("dvc", "plots", "show", "--out", "shown")
    page = (rebuilt.path / "shown" / "index.html").read_text()
    assert all(f"{run}: {plot}" in page for run in RUNS for plot in ("accuracy", "ROC", "confusion"))


def test_the_report_page_shows_every_run(rebuilt: Workspace) -> None:
    page = (rebuilt.path / paths.REPORT).read_text()
    assert all(run in page for run in RUNS)
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert str(rebuilt.path) not in page


def test_the_store_has_a_run_for_each_training_and_ablation(rebuilt: Workspace) -> None:
    assert [name for name, _ in store(rebuilt, TAGGED.format("run"))] == sorted(RUNS)
    assert [value for _, value in store(rebuilt, TAGGED.format("ablation"))] == ["augmentation", "depth", "nets"]
    assert [name for name, _ in store(rebuilt, TAGGED.format("ablation.augmentation"))] == ["xray-aug0"]
    curves = (
        "select distinct r.name, m.key from runs r join metrics m on m.run_uuid = r.run_uuid where m.key like 'base/%'"
    )
    assert {name for name, _ in store(rebuilt, curves)} == set(RUNS)


def test_the_store_has_the_page_and_its_data(rebuilt: Workspace) -> None:
    (page,) = (run for run in stored.record(rebuilt.path) if run["tags"]["kind"] == "page")
    assert page["params"]["runs"] == ", ".join(RUNS)
    assert page["artifacts"]["index.html"] == files.md5(rebuilt.path / paths.REPORT)
    assert {name for name, _ in page["data"]} == {"faces", "xray"}


@pytest.mark.slow
def test_numbers_of_the_workspace_stand_over_those_of_the_last_commit(rebuilt: Workspace, tmp_path: Path) -> None:
    cloned(rebuilt, tmp_path / "clone")
    lock = rebuilt.path / "dvc.lock"
    file = rebuilt.path / paths.run_metrics("alexnet")
    whole, metrics = lock.read_text(), json.loads((rebuilt.path / paths.run_metrics("alexnet")).read_text())
    before = files.md5(file)
    file.unlink()  # it is one file with that in DVC's cache
    metrics["tuned"]["test"]["accuracy"] = 0.0625
    file.write_text(json.dumps(metrics))
    entry = rf"\g<1>{files.md5(file)}\n\g<2>{file.stat().st_size}"
    lock.write_text(re.sub(rf"(md5: ){before}\n( +size: )\d+", entry, whole))
    database = tmp_path / "mlflow.db"  # not that of the other tests
    elsewhere = replace(rebuilt, environment=rebuilt.environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{database}"})
    try:
        for _ in range(2):
            assert "MLflow has 7 of 7" in elsewhere.run("cnnstudy", "track")
            with sqlite3.connect(database) as connection:
                query = "select value from metrics where key = 'accuracy' and value = 0.0625"
                values = connection.execute(query).fetchall()
            assert values == [(0.0625,)]
    finally:
        lock.write_text(whole)
        rebuilt.run("dvc", "checkout", "--force")


def cloned(rebuilt: Workspace, folder: Path) -> Workspace:
    """A clone of the rebuilt repository, whose results are committed first; other tests are not affected."""
    rebuilt.run("git", "add", "--all")
    if rebuilt.run("git", "status", "--porcelain"):
        rebuilt.run("git", "commit", "--quiet", "--message=rebuilt")
    rebuilt.run("git", "clone", "--quiet", str(rebuilt.path), str(folder))
    return Workspace(folder, rebuilt.environment)


@pytest.mark.slow
def test_a_clone_that_pulls_has_everything_without_training(rebuilt: Workspace, tmp_path: Path) -> None:
    rebuilt.run("dvc", "remote", "add", "--local", "--default", "--force", "shelf", str(tmp_path / "remote"))
    rebuilt.run("dvc", "push")
    clone = cloned(rebuilt, tmp_path / "clone")
    clone.compose("profile=smoke")  # no longer HEAD, whose files aren't here
    elsewhere = {"MLFLOW_TRACKING_URI": f"sqlite:///{rebuilt.path}/mlflow.db"}
    assert "MLflow has 0 of 0" in replace(clone, environment=clone.environment | elsewhere).run("cnnstudy", "track")
    clone.run("git", "checkout", "--quiet", "params.yaml")
    clone.run("dvc", "remote", "add", "--local", "--default", "shelf", str(tmp_path / "remote"))
    clone.run("dvc", "pull")
    assert "Data and pipelines are up to date." in clone.run("dvc", "repro")
    assert "MLflow has 7 of 7 runs, ablations and pages" in clone.run("cnnstudy", "track")
    assert stored.record(clone.path) == stored.record(rebuilt.path)


@pytest.mark.slow
def test_a_remote_behind_ssh_holds_data_and_models(rebuilt: Workspace, tmp_path: Path) -> None:
    with ssh_server.running(tmp_path) as server:
        clone = cloned(rebuilt, tmp_path / "clone")
        for workspace in (rebuilt, clone):
            workspace.run("dvc", "remote", "add", "--local", "--force", "far", server.address(tmp_path / "remote"))
            workspace.run("dvc", "remote", "modify", "--local", "far", "keyfile", str(server.key))
        rebuilt.run("dvc", "push", "--remote", "far")
        clone.run("dvc", "pull", "--remote", "far")
        assert "Data and pipelines are up to date." in clone.run("dvc", "repro")


@pytest.mark.slow
def test_two_commits_are_compared(rebuilt: Workspace, tmp_path: Path) -> None:
    """The commits before and after the rebuild; the first has the metrics that ship with the project."""
    cloned(rebuilt, tmp_path / "clone")
    short = rebuilt.run("cnnstudy", "compare", "HEAD~1", "HEAD")
    assert len(short.splitlines()) <= 30
    assert "profile=smoke" in short
    said = rebuilt.run("cnnstudy", "compare", "--all", "HEAD~1", "HEAD")
    parts = {part.splitlines()[0]: part for part in said.strip().split("\n\n")}
    assert list(parts) == ["Data", "Files", "Parameters", "Metrics", "Figures"]
    images = len(pd.read_csv(rebuilt.path / paths.samples("faces")))
    assert f"  faces: 0 images, then {images}: {images} added" in parts["Data"]
    assert "report/index.html" in parts["Files"]
    assert "studies.faces.image_size" in parts["Parameters"]
    assert "vggnet.test_accuracy" in parts["Metrics"]


@pytest.mark.slow
def test_a_picture_that_differs_is_shown_beside_the_other(rebuilt: Workspace, tmp_path: Path) -> None:
    cloned(rebuilt, tmp_path / "clone")
    page = rebuilt.path / paths.COMPARED / "index.html"
    assert rebuilt.run("cnnstudy", "compare", "HEAD").endswith("Figures\n  none differs\n")
    assert not page.exists()
    figures = paths.run_plots("xray-aug0") / "figures"
    figure = rebuilt.path / figures / "base-curves.png"
    other = (figure.parent / "base-test-roc.png").read_bytes()
    figure.unlink()  # it may be one file with that in DVC's cache
    figure.write_bytes(other)
    try:
        assert f"modified {figures}/ (1 file)" in rebuilt.run("cnnstudy", "compare", "HEAD")
        assert str(figures / "base-curves.png") in page.read_text()
        assert STYLE in page.read_text()
        assert len(list(page.parent.rglob("*base-curves.png"))) == 2
    finally:
        rebuilt.run("dvc", "checkout", "--force")


def test_a_model_is_fetched_by_its_name(rebuilt: Workspace, tmp_path: Path) -> None:
    cloned(rebuilt, tmp_path / "clone")
    rebuilt.run("gto", "register", "models:alexnet")
    rebuilt.run("dvc", "artifacts", "get", str(rebuilt.path), "models:alexnet", "--out", str(tmp_path / "alexnet"))
    weights = paths.weights(paths.seed("alexnet", "tuned", 0))
    found = tmp_path / "alexnet" / weights.relative_to(paths.phase("alexnet", "tuned"))
    assert found.read_bytes() == (rebuilt.path / weights).read_bytes()


def test_classes_in_another_order_are_trained_anew(rebuilt: Workspace) -> None:
    """The second of two classes is the positive one, and DVC ignores the order of a mapping."""
    params = rebuilt.path / "params.yaml"
    content, whole = yaml.safe_load(params.read_text()), params.read_text()
    study = content["studies"]["xray"]
    study["classes"], study["positive"] = dict(reversed(study["classes"].items())), "normal"
    params.write_text(yaml.safe_dump(content, sort_keys=False))
    try:
        rebuilt.run("dvc", "repro", "ingest@xray")
        assert {"train@xray-aug0", "augment@xray"} <= set(json.loads(rebuilt.run("dvc", "status", "--json")))
    finally:
        params.write_text(whole)
        rebuilt.run("dvc", "repro", "ingest@xray")
    assert "up to date" in rebuilt.run("dvc", "status")


def test_an_edited_policy_trains_anew_what_has_it_and_no_other_of_its_study(rebuilt: Workspace) -> None:
    params = rebuilt.path / "params.yaml"
    content, whole = yaml.safe_load(params.read_text()), params.read_text()
    content["studies"]["xray"]["policies"]["aug0"]["rotation"] = 5
    params.write_text(yaml.safe_dump(content, sort_keys=False))
    try:
        rebuilt.run("dvc", "repro", "augment@xray")
        stale = json.loads(rebuilt.run("dvc", "status", "--json"))
        assert {name for name in stale if name.startswith("train@")} == {"train@xray-aug0"}
    finally:
        params.write_text(whole)
        rebuilt.run("dvc", "repro", "augment@xray")
    assert "up to date" in rebuilt.run("dvc", "status")


@pytest.mark.slow
def test_a_net_for_phones_says_of_pictures_what_the_run_says(rebuilt: Workspace) -> None:
    images = [f"docs/{name}.jpg" for name in ("faces", "xrays")]

    def said(*options: str) -> list[dict[str, Any]]:
        output = rebuilt.run("cnnstudy", "predict", *images, "--run", "alexnet", "--json", "--top", "8", *options)
        return [json.loads(line) for line in output.splitlines() if line.startswith("{")]

    for one, other in zip(said(), said("--litert", "float32"), strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-3)
    refused = rebuilt.run("cnnstudy", "predict", *images, "--run", "xray-aug0", "--litert", "int8", code=2)
    assert refused == "error: --litert: the run xray-aug0 found; allowed: an exported one: alexnet\n"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(rebuilt: Workspace, stage: str) -> None:
    command = with_small_files("python", f"src/{stage}.py", "alexnet")
    done = subprocess.run(
        command, cwd=rebuilt.path, env=rebuilt.environment, text=True, capture_output=True, check=False
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "File too large" in done.stderr
    assert "up to date" in rebuilt.run("dvc", "status")
    assert not list(rebuilt.path.rglob(".partial.*"))


def test_a_wrong_value_stops_before_any_output_is_touched(rebuilt: Workspace) -> None:
    good = (rebuilt.path / "params.yaml").read_text()
    before = (rebuilt.path / paths.samples("faces")).read_bytes()
    (rebuilt.path / "params.yaml").write_text(
        re.sub(r"^    image_size: 32", "    image_size: wide", good, flags=re.MULTILINE)
    )
    try:
        assert "studies.faces.image_size: 'wide' found; allowed: a valid integer" in rebuilt.run(
            "dvc", "repro", code=255
        )
        assert (rebuilt.path / paths.samples("faces")).read_bytes() == before
    finally:
        (rebuilt.path / "params.yaml").write_text(good)


def test_dvc_refuses_an_unknown_choice_and_lists_the_valid_ones(rebuilt: Workspace) -> None:
    refused = rebuilt.run("dvc", "exp", "run", "--temp", "-S", "model=resnet", code=255)
    assert all(choice in refused for choice in ("alexnet", "mobilenet", "vggnet", "xraynet"))
