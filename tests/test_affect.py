"""A study of values through every stage: nets of both kinds, up to the page, MLflow and predictions."""

import json
from pathlib import Path

import pandas as pd
import pytest
import stored
from workspace import Workspace, clone

pytestmark = pytest.mark.slow

MODEL = """
# @package _global_
defaults:
  - /study/affect
  - _self_
models: {both: both}
runs:
  alone: {study: affect, policy: augmented, net: alexnet, task: regression}
  together: {study: affect, policy: augmented, net: alexnet, task: joint}
  classes: {study: affect, policy: augmented, net: alexnet}
exported:
  together: {study: affect, phase: base}
  alone: {study: affect, phase: base}
external:
  affect-elsewhere:
    study: affect
    source: {format: synthetic, path: src/cnnstudy/data/synth}
    synthetic: {generator: faces, images: 2, options: {site_shift: 0.5}}
ablations:
  heads: {study: affect, axis: heads, runs: {alone: separate, together: joint}}
"""


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = clone(tmp_path_factory.mktemp("affect"))
    (workspace.path / "conf/model/both.yaml").write_text(MODEL.lstrip())
    workspace.run("cnnstudy", "params", "model=both", "profile=smoke", "seeds=[0,1]", "studies.affect.epochs=24",
                  "studies.affect.promotion.minimum=0.0")  # fmt: skip
    workspace.run("cnnstudy", "repro")
    return workspace


def metrics(workspace: Workspace, run: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((workspace.path / f"metrics/runs/{run}.json").read_text())["base"]
    return found


def test_dvc_has_nothing_left_to_do(rebuilt: Workspace) -> None:
    assert "up to date" in rebuilt.run("dvc", "repro")


def test_each_run_is_judged_by_what_it_learns(rebuilt: Workspace) -> None:
    alone, together, classes = (metrics(rebuilt, run)["test"] for run in ("alone", "together", "classes"))
    assert "accuracy" not in alone
    assert "ccc" not in classes
    assert {"accuracy", "ccc", "valence_rmse", "ccc_gain"} <= set(together)
    # The faces of no class count for the values alone.
    assert (classes["n"], together["n"], together["valence_n"], alone["valence_n"]) == (32, 32, 36, 36)
    summary = json.loads((rebuilt.path / "metrics/summary.json").read_text())
    assert set(summary["alone"]) == {"test_ccc"}
    assert {"test_ccc", "test_accuracy"} <= set(summary["together"])


def test_an_ablation_compares_the_ccc_and_what_the_second_head_costs(rebuilt: Workspace) -> None:
    found = json.loads((rebuilt.path / "metrics/ablations/heads.json").read_text())
    assert [(each["first"], each["second"]) for each in found["differences"]] == [("together", "alone")]
    assert [(each["first"], each["second"]) for each in found["class_differences"]] == [("together", "classes")]
    own = {row["run"]: row["test_ccc"] for row in found["rows"]}
    assert found["differences"][0]["difference"] == pytest.approx(own["together"] - own["alone"])


def test_other_images_test_the_classes(rebuilt: Workspace) -> None:
    found = json.loads((rebuilt.path / "metrics/external/affect-elsewhere.json").read_text())
    assert set(found["runs"]) == {"together", "classes"}


def test_a_net_is_not_used_with_other_values(rebuilt: Workspace) -> None:
    before = (rebuilt.path / "params.yaml").read_text()
    swapped = before.replace("valence:", "VALUE:").replace("arousal:", "valence:").replace("VALUE:", "arousal:")
    (rebuilt.path / "params.yaml").write_text(swapped)
    said = rebuilt.run("cnnstudy", "predict", "--run", "alone", "docs/faces.jpg", code=2)
    assert "studies.affect.values: arousal, valence found; allowed: the order that the net was trained with" in said
    assert "check@affect" in rebuilt.run("dvc", "status")
    (rebuilt.path / "params.yaml").write_text(before)


def test_predictions_are_listed(rebuilt: Workspace) -> None:
    table = pd.read_csv(rebuilt.path / "metrics/predictions/alone.csv")
    assert {"valence", "valence_predicted", "arousal", "arousal_predicted"} <= set(table)
    assert set(table["split"]) == {"val", "test"}
    assert table["actual"].isna().any()


def test_the_page_has_a_chapter_on_values(rebuilt: Workspace) -> None:
    page = (rebuilt.path / "report/index.html").read_text()
    for words in ("mean CCC", "class means of together", "always above 0", "mean of train", "second head"):
        assert words in page


def test_mlflow_has_the_ccc(rebuilt: Workspace) -> None:
    runs = {run["name"]: run for run in stored.record(rebuilt.path)}
    assert {"ccc", "ccc_low", "ccc_high", "arousal_rmse", "ccc_spread"} <= {key for key, *_ in runs["alone"]["series"]}
    assert runs["together"]["tags"]["task"] == "joint"
    assert runs["alone, seed 1"]["parent"] == "alone"


def predicted(workspace: Workspace, *options: str) -> dict[str, object]:
    """The JSON that `cnnstudy predict` prints for one image."""
    (workspace.path / "one.jpg").write_bytes((Path(__file__).parents[1] / "docs/faces.jpg").read_bytes())
    said = workspace.run("cnnstudy", "predict", *options, "--json", "one.jpg")
    (line,) = [line for line in said.splitlines() if line.startswith("{")]
    found: dict[str, object] = json.loads(line)
    return found


@pytest.mark.parametrize("option", [[], ["--litert", "float32"]])
def test_predictions_of_images_have_values(rebuilt: Workspace, option: list[str]) -> None:
    alone, together = (predicted(rebuilt, "--run", run, *option) for run in ("alone", "together"))
    assert "class" not in alone
    assert isinstance(alone["values"], dict)
    assert set(alone["values"]) == {"valence", "arousal"}
    assert {"class", "probabilities", "values"} <= set(together)


def test_a_net_of_values_is_promoted_by_its_ccc(rebuilt: Workspace) -> None:
    said = rebuilt.run("cnnstudy", "promote", "together") + rebuilt.run("cnnstudy", "promote", "alone")
    assert said.count("test ccc") == 2
    found = predicted(rebuilt, "--champion", "affect")
    assert set(found) == {"path", "values", "unlike_training_images", "trained_on_synthetic_images"}
