"""The real stages, end to end, in a temporary clone under profile=smoke."""

import json
import resource
import sqlite3
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from workspace import Workspace, clone

from cnnstudy import paths

RUNS = ("alexnet", "xray-aug0", "xray-depth6")


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A clone in which `dvc repro` has rebuilt three runs of both studies."""
    workspace = clone(tmp_path_factory.mktemp("clone"))
    workspace.compose("profile=smoke", "xray.widths=reshi")
    workspace.select(RUNS)
    workspace.run("dvc", "repro")
    return workspace


def store(workspace: Workspace, query: str) -> list[tuple[str, ...]]:
    """Rows of the tracking store, which is an SQLite file in the repository's root."""
    with sqlite3.connect(workspace.path / "mlflow.db") as connection:
        return connection.execute(query).fetchall()


TAGGED = "select r.name, t.value from runs r join tags t on t.run_uuid = r.run_uuid where t.key = '{}' order by r.name"


def test_a_second_repro_does_nothing(rebuilt: Workspace) -> None:
    assert "Data and pipelines are up to date." in rebuilt.run("dvc", "repro")


def test_done_again_each_stage_gives_the_same_bytes(rebuilt: Workspace) -> None:
    lock = (rebuilt.path / "dvc.lock").read_bytes()
    stages = ["ingest@faces", "audit@faces", "augment@faces", "ablate@nets"]
    stages += [f"{stage}@alexnet" for stage in ("train", "finetune", "evaluate")] + ["report"]
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
        ("alexnet", {"base": {"train", "val", "tune"}, "tuned": {"train", "val", "tune"}}),
        ("xray-aug0", {"base": {"train", "train_augmented", "val", "test"}}),
        ("xray-depth6", {"base": {"train", "train_augmented", "val", "test"}}),
    ],
)
def test_every_phase_and_split_has_metrics(rebuilt: Workspace, run: str, splits: dict[str, set[str]]) -> None:
    metrics = json.loads((rebuilt.path / paths.run_metrics(run)).read_text())
    assert {phase: set(values) for phase, values in metrics.items()} == splits
    for values in metrics.values():
        for split, numbers in values.items():
            assert 0 <= numbers["accuracy"] <= 1
            assert {"loss", "macro_f1", "auc"} <= set(numbers)
            modes = {"accuracy_moving", "accuracy_recalibrated", "accuracy_batch"}
            assert split.endswith("_augmented") or modes <= set(numbers)


def test_the_summary_is_the_one_metric(rebuilt: Workspace) -> None:
    summary = json.loads((rebuilt.path / paths.SUMMARY).read_text())
    assert {run: set(values) for run, values in summary.items()} == {
        "alexnet": {"val_accuracy", "tuned_val_accuracy"},
        "xray-aug0": {"test_accuracy"},
        "xray-depth6": {"test_accuracy"},
    }
    shown = json.loads(rebuilt.run("dvc", "metrics", "show", "--json"))
    assert shown[""]["data"] == {str(paths.SUMMARY): {"data": summary}}


def test_an_augmented_plan_has_five_copies_of_each_training_film(rebuilt: Workspace) -> None:
    splits = pd.read_csv(rebuilt.path / paths.splits("xray"))
    plan = pd.read_csv(rebuilt.path / paths.plan("xray-aug4"))
    assert sorted(plan["id"]) == sorted(list(splits.loc[splits["split"] == "train", "id"]) * 5)
    assert len(pd.read_csv(rebuilt.path / paths.history(paths.seed("xray-aug0", "base", 0)))) == 1


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
        "select distinct r.name, m.key from runs r join metrics m on m.run_uuid = r.run_uuid where m.key like '%epoch%'"
    )
    assert {name for name, _ in store(rebuilt, curves)} == set(RUNS)


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(rebuilt: Workspace, stage: str) -> None:
    limit = (3_000, 3_000)  # bytes a file
    done = subprocess.run(
        ["python", f"src/{stage}.py", "alexnet"], cwd=rebuilt.path, env=rebuilt.environment, text=True,
        capture_output=True, check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )  # fmt: skip
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "File too large" in done.stderr
    assert "up to date" in rebuilt.run("dvc", "status")
    assert not list(rebuilt.path.rglob(".partial.*"))


def test_a_wrong_value_stops_before_any_output_is_touched(rebuilt: Workspace) -> None:
    good = (rebuilt.path / "params.yaml").read_text()
    before = (rebuilt.path / paths.samples("faces")).read_bytes()
    (rebuilt.path / "params.yaml").write_text(good.replace("image_size: 32", "image_size: wide"))
    try:
        assert "faces.image_size: 'wide' found; allowed: a valid integer" in rebuilt.run("dvc", "repro", code=255)
        assert (rebuilt.path / paths.samples("faces")).read_bytes() == before
    finally:
        (rebuilt.path / "params.yaml").write_text(good)


def test_dvc_refuses_an_unknown_choice_and_lists_the_valid_ones(rebuilt: Workspace) -> None:
    refused = rebuilt.run("dvc", "exp", "run", "--temp", "-S", "model=resnet", code=255)
    assert all(choice in refused for choice in ("alexnet", "mobilenet", "vggnet", "xraynet"))


def test_a_queued_experiment_runs_the_code_it_was_queued_with(tmp_path: Path) -> None:
    workspace = clone(tmp_path)
    workspace.run("dvc", "exp", "run", "--queue", "--name", "queued", "-S", "model=mobilenet", "-S", "profile=smoke")
    for script in (workspace.path / "src").glob("*.py"):
        script.write_text("raise SystemExit('edited after queueing')\n")
    (workspace.path / "src/cnnstudy/params.py").write_text("raise SystemExit('edited after queueing')\n")
    workspace.run("dvc", "exp", "run", "--run-all")
    shown = json.loads(workspace.run("dvc", "exp", "show", "--json"))
    experiments = [run["revs"][0] for commit in shown for run in commit["experiments"] or []]
    assert [(run["name"], run["error"]) for run in experiments] == [("queued", None)]
    assert set(experiments[0]["data"]["metrics"][str(paths.SUMMARY)]["data"]) == {"mobilenet"}
    assert store(workspace, TAGGED.format("run")) == [("mobilenet", "mobilenet")]
    names = ("ablation: nets", "mobilenet", "queued")  # the last is their parent
    assert store(workspace, TAGGED.format("dvc_experiment")) == [(name, "queued") for name in names]
