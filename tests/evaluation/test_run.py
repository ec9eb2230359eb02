"""Metrics, tables and figures of runs, from predictions as training leaves them."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic_runs
from PIL import Image

from cnnstudy.config.schema import Params
from cnnstudy.evaluation.ablation import write_ablation
from cnnstudy.evaluation.predictions import read_predictions
from cnnstudy.evaluation.run import evaluate_run
from cnnstudy.workspace import paths

RUNS = ("alexnet", "vggnet", "xray-aug0", "xray-aug4")
SPLITS = {
    "alexnet": ("train", "val", "tune", "tune_holdout", "test"),
    "xray-aug0": ("train", "train_augmented", "val", "test"),
}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Params]:
    """Three runs of two seeds; xray-aug0 answers one class with the statistics that count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("evaluated"))
        params = synthetic_runs.params_with(RUNS, seeds=[0, 3])
        for study in params.studies:
            synthetic_runs.write_samples(params, study)
        for run in params.runs:
            synthetic_runs.write_run(params, run, stuck="recalibrated" if run == "xray-aug0" else "moving")
            evaluate_run(params, run)
        for name in params.ablations:
            write_ablation(params, name)
        yield params


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("run", SPLITS)
def test_every_phase_and_split_has_its_files(evaluated: Params, run: str) -> None:
    phases = evaluated.phases(run)
    expected = {"layers.csv", "gradcam.png", "mistakes.png", "gallery.png", "attention.csv"}
    expected |= {f"{phase}-{kind}" for phase in phases for kind in ("curves.png", "training.json")}
    kinds = ("roc.png", "roc.csv", "confusion.png", "confusion.csv", "report.txt", "report.csv")
    expected |= {f"{phase}-{split}-{kind}" for phase in phases for split in SPLITS[run] for kind in kinds}
    expected |= {f"{phase}-test-reliability.{kind}" for phase in phases for kind in ("png", "csv")}
    expected |= {f"{phase}-test-subgroups.csv" for phase in phases}
    plain = [split for split in SPLITS[run] if split != "train_augmented"]
    expected |= {f"{phase}-{split}-examples.png" for phase in phases for split in plain}
    assert {path.name for path in (paths.run_plots(run) / "figures").iterdir()} == expected
    metrics = json.loads(paths.run_metrics(run).read_text())
    assert {phase: tuple(splits) for phase, splits in metrics.items()} == dict.fromkeys(phases, SPLITS[run])


def test_metrics_are_those_of_the_mode_that_counts(evaluated: Params) -> None:
    aug0, aug4 = (json.loads(paths.run_metrics(run).read_text())["base"]["test"] for run in ("xray-aug0", "xray-aug4"))
    assert evaluated.batchnorm == "recalibrated"
    assert aug0["accuracy"] == aug0["accuracy_recalibrated"] == 0.5
    assert aug0["constant"] is aug0["constant_recalibrated"] is aug4["constant_moving"] is True
    assert aug0["constant_batch"] is aug4["constant"] is False
    assert len(aug4["accuracy_seeds"]) == 2
    assert aug4["accuracy"] == pytest.approx(np.mean(aug4["accuracy_seeds"]))


def test_a_tuned_run_says_what_tuning_gains_and_costs(evaluated: Params) -> None:
    metrics = json.loads(paths.run_metrics("alexnet").read_text())
    for split in ("val", "test", "tune_holdout"):
        base, tuned = metrics["base"][split], metrics["tuned"][split]
        assert "tuning_gain" not in base
        assert tuned["tuning_gain"] == pytest.approx(tuned["accuracy"] - base["accuracy"])
        assert tuned["tuning_gain_low"] <= tuned["tuning_gain"] <= tuned["tuning_gain_high"]
        assert tuned["is_tuning_gain_significant"] in (True, False)
    assert not any("tuning_gain" in metrics["tuned"][split] for split in ("train", "tune"))


def test_metrics_agree_with_the_predictions(evaluated: Params) -> None:
    files = [paths.predictions(paths.seed("alexnet", "tuned", seed)) for seed in evaluated.seeds]
    seeds = [read_predictions(file)["test"] for file in files]
    accuracies = [(s.probabilities["recalibrated"].argmax(axis=1) == s.labels).mean() for s in seeds]
    assert json.loads(paths.run_metrics("alexnet").read_text())["tuned"]["test"]["accuracy_seeds"] == accuracies
    confusion = pd.read_csv("plots/runs/alexnet/figures/tuned-test-confusion.csv", index_col="actual")
    assert np.trace(confusion.to_numpy()) == sum(accuracies) * len(seeds[0].labels)
    counts = pd.read_csv("plots/runs/alexnet/confusion.csv").query("part == 'tuned, test'")
    table = counts.pivot(index="actual", columns="predicted", values="count")
    assert table.loc[confusion.index, confusion.columns].to_numpy().tolist() == confusion.to_numpy().tolist()


def test_every_prediction_is_kept_image_by_image(evaluated: Params) -> None:
    table = pd.read_csv(paths.run_predictions("alexnet"))
    assert list(table) == ["phase", "split", "seed", "id", "path", "actual", "predicted", "probability"]
    assert set(table["split"]) == {"val", "tune", "tune_holdout", "test"}
    val = table.query("phase == 'tuned' and split == 'val'")
    metrics = json.loads(paths.run_metrics("alexnet").read_text())["tuned"]["val"]
    right = (val["actual"] == val["predicted"]).groupby(val["seed"]).mean()
    assert right.to_dict() == dict(zip([0, 3], metrics["accuracy_seeds"], strict=True))
    assert val["path"].tolist() == [f"val/{i}" for i in val["id"]]
    assert set(pd.read_csv(paths.run_predictions("xray-aug4"))["split"]) == {"val", "test"}


def test_dvc_plots_have_the_columns_of_their_templates(evaluated: Params) -> None:
    curves = pd.read_csv("plots/runs/alexnet/curves.csv")
    assert list(curves.columns) == ["epoch", "series", "accuracy", "loss"]
    assert list(curves["series"].unique()) == ["train", "val", "tuned train", "tuned val"]
    histories = [pd.read_csv(paths.history(paths.seed("alexnet", "base", seed))) for seed in evaluated.seeds]
    mean = (histories[0]["val_loss"] + histories[1]["val_loss"]) / 2
    assert curves.loc[curves["series"] == "val", "loss"].to_numpy() == pytest.approx(mean.to_numpy())
    classes = [*evaluated.studies["faces"].classes, "micro", "macro"]
    roc = pd.read_csv("plots/runs/alexnet/roc.csv")
    assert list(roc["series"].unique()) == classes
    parts = [f"{phase}, {split}" for phase in ("base", "tuned") for split in SPLITS["alexnet"]]
    assert list(roc["part"].unique()) == parts
    matrices = pd.read_csv("plots/runs/alexnet/confusion.csv")
    assert list(matrices["part"].unique()) == parts
    assert len(matrices) == len(parts) * 8 * 8
    assert list(matrices["actual"].unique()) == list(evaluated.studies["faces"].classes)
    assert list(pd.read_csv("plots/runs/xray-aug4/roc.csv")["series"].unique()) == ["covid"]


def test_areas_are_the_metrics(evaluated: Params) -> None:
    for run, phase, split, series in (("alexnet", "tuned", "test", "macro"), ("xray-aug4", "base", "test", "covid")):
        curves = pd.read_csv(f"plots/runs/{run}/figures/{phase}-{split}-roc.csv").set_index("series")
        metrics = json.loads(paths.run_metrics(run).read_text())
        assert curves.loc[series, "auc"].iloc[0] == pytest.approx(metrics[phase][split]["auc"])


def test_layers_are_at_the_reports_size(evaluated: Params) -> None:
    layers = pd.read_csv("plots/runs/xray-aug4/figures/layers.csv")
    assert layers.iloc[0].tolist() == ["Conv2D", "150x150x64", 1792, 1792]
    assert (layers["parameters"].sum(), layers["trainable"].sum()) == (8_246_145, 8_241_665)


def test_the_same_predictions_give_the_same_bytes(evaluated: Params) -> None:
    before = digests(Path("plots/runs/xray-aug0")) | digests(Path("metrics"))
    evaluate_run(evaluated, "xray-aug0")
    assert digests(Path("plots/runs/xray-aug0")) | digests(Path("metrics")) == before


def test_figures_are_readable_pictures(evaluated: Params) -> None:
    for path in Path("plots").rglob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) >= 120
            assert max(image.size) >= 300
            assert len(image.convert("RGB").getcolors(10**6) or ()) > 10
            assert "Software" not in image.info


def test_an_ablation_sets_its_runs_side_by_side(evaluated: Params) -> None:
    content = json.loads(paths.ablation_metrics("augmentation").read_text())
    assert (content["axis"], content["split"], content["chance"]) == ("augmentation level", "test", 0.5)
    rows = {row["run"]: row for row in content["rows"]}
    assert [(row["run"], row["x"]) for row in content["rows"]] == [("xray-aug0", 0), ("xray-aug4", 4)]
    metrics = json.loads(paths.run_metrics("xray-aug4").read_text())["base"]
    for split in ("train", "train_augmented", "val", "test"):
        assert rows["xray-aug4"][f"{split}_accuracy"] == metrics[split]["accuracy"]
    for name in ("accuracy_low", "accuracy_high", "accuracy_moving", "accuracy_recalibrated", "accuracy_batch"):
        assert rows["xray-aug4"][f"test_{name}"] == metrics["test"][name]
    assert (rows["xray-aug0"]["constant"], rows["xray-aug4"]["constant"]) == (True, False)
    table = pd.read_csv(paths.ablation_plots("augmentation") / "curve.csv")
    assert list(table.columns) == list(content["rows"][0])


def test_an_ablation_says_which_differences_are_significant(evaluated: Params) -> None:
    content = json.loads(paths.ablation_metrics("augmentation").read_text())
    (pair,) = content["differences"]
    assert (pair["first"], pair["second"]) == ("xray-aug4", "xray-aug0")
    accuracies = [row["test_accuracy"] for row in content["rows"]]
    assert pair["difference"] == pytest.approx(accuracies[1] - accuracies[0])
    assert pair["low"] < pair["difference"] < pair["high"]


def test_nets_are_compared_in_each_phase_and_each_with_itself_tuned(evaluated: Params) -> None:
    content = json.loads(paths.ablation_metrics("nets").read_text())
    assert [(row["run"], row["phase"]) for row in content["rows"]] == [
        ("alexnet", "base"), ("alexnet", "tuned"), ("vggnet", "base"), ("vggnet", "tuned"),
    ]  # fmt: skip
    assert content["split"] == "test"
    assert [(pair["first"], pair["second"]) for pair in content["differences"]] == [
        ("vggnet", "alexnet"), ("vggnet, tuned", "alexnet, tuned"),
        ("alexnet, tuned", "alexnet"), ("vggnet, tuned", "vggnet"),
    ]  # fmt: skip
    names = {path.name for path in paths.ablation_plots("nets").iterdir()}
    assert names == {"curve.csv", "curve.png", "differences.csv", "differences.png", "training.png"}


@pytest.mark.parametrize(("positive", "other"), [("normal", "covid"), ("covid", "normal")])
def test_sensitivity_is_about_the_positive_class_which_comes_last(
    positive: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = synthetic_runs.params_with(("xray-aug0",), studies__xray__positive=positive)
    assert list(params.studies["xray"].classes) == [other, positive]
    synthetic_runs.write_samples(params, "xray")
    synthetic_runs.write_run(params, "xray-aug0")
    evaluate_run(params, "xray-aug0")
    table = pd.read_csv(paths.run_predictions("xray-aug0")).query("split == 'test'")
    right = (table["actual"] == table["predicted"]).groupby(table["actual"]).mean()
    metrics = json.loads(paths.run_metrics("xray-aug0").read_text())["base"]["test"]
    assert right[positive] != right[other]
    assert (metrics["sensitivity"], metrics["specificity"]) == (right[positive], right[other])
    figures = paths.run_plots("xray-aug0") / "figures"
    assert f"sensitivity (recall of {positive}, the positive class)" in (figures / "base-test-report.txt").read_text()
    assert set(pd.read_csv(figures / "base-test-roc.csv")["series"]) == {positive}
