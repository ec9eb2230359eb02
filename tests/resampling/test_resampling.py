"""Other splits of the data: how they are made, what is trained on them, and what the results say."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic_runs
from synthetic_runs import params_with

from cnnstudy.commands import resample
from cnnstudy.config.schema import Params, Pretrained
from cnnstudy.data import samples
from cnnstudy.errors import UserError
from cnnstudy.evaluation.intervals import resampled_interval
from cnnstudy.resampling import mislabelled, plans, results, retrained
from cnnstudy.resampling.retrained import Predicted
from cnnstudy.workspace import files, paths


def table(count: int = 120) -> pd.DataFrame:
    """Two classes, persons with two images each, 20 % in test and a quarter of the others in val, and a split tune."""
    split = np.resize(["train", "train", "train", "val", "test"], count // 2).repeat(2)
    split[-20:] = "tune"
    families = np.arange(count) // 2
    return pd.DataFrame(
        {"id": np.arange(count), "label": np.resize(["a", "b"], count // 2).repeat(2), "group": families.astype(str),
         "source": "x", "source_split": split, "split": split, "copy": np.arange(count), "family": families}
    )  # fmt: skip


def test_other_splits_keep_the_shares_the_persons_and_the_images_of_tune() -> None:
    samples_ = table()
    wanted = plans.shares(samples_)
    assert (wanted.test, wanted.val) == (0.2, 0.25)
    assert wanted.ratio == pytest.approx(0.2 / 0.6)
    found = list(plans.repeated("faces", samples_, wanted, 3, seed=0))
    assert not (found[0] == found[1]).all()
    for split in found:
        assert ((split == "tune") == (samples_["split"] == "tune")).all()
        assert pd.Series(split).groupby(samples_["family"]).nunique().max() == 1
        assert [(split == name).sum() for name in ("train", "val", "test")] == [60, 20, 20]
    again = list(plans.repeated("faces", samples_, wanted, 3, seed=0))
    assert all((one == other).all() for one, other in zip(found, again, strict=True))


def test_every_image_is_in_the_test_split_of_one_fold() -> None:
    samples_ = table()
    found = list(plans.folds("faces", samples_, plans.shares(samples_), 5, seed=0))
    tested = np.array([split == "test" for split in found])
    pooled = (samples_["split"] != "tune").to_numpy()
    assert (tested.sum(axis=0) == pooled).all()
    for split in found:
        assert pd.Series(split).groupby(samples_["family"]).nunique().max() == 1
        assert (split == "val").sum() == 20


def test_more_folds_than_groups_are_refused() -> None:
    samples_ = table(40)
    with pytest.raises(
        UserError, match="--folds: 9 found, but class 'a' of faces has 5 images or groups; allowed: 2 to 5"
    ):
        next(plans.folds("faces", samples_, plans.shares(samples_), 9, seed=0))


def test_the_corrected_interval_is_wider_than_students_by_the_overlap() -> None:
    values = np.array([0.8, 0.82, 0.84, 0.86, 0.88])
    low, high = resampled_interval(values, 0.25)
    # By hand: t(4, 0.975) = 2.776445, s = 0.0316228, sqrt(1 / 5 + 0.25) = 0.6708204.
    assert (low, high) == pytest.approx((0.84 - 0.0588976, 0.84 + 0.0588976), abs=1e-6)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    params = params_with(("xray-aug0", "xray-aug4"))
    synthetic_runs.write_samples(params, "xray")
    content = samples.read_samples("xray")
    pd.DataFrame({"id": content["id"], "copy": content["id"], "family": content["id"], "reason": ""}).to_csv(
        paths.families("xray"), index=False
    )
    return params


def test_trainings_see_the_other_splits_and_the_repository_stays_as_it_is(study: Params) -> None:
    before = paths.splits("xray").read_bytes()
    home = Path.cwd()
    splits = np.array(["test"] * 10 + ["train"] * 60 + ["val"] * 20, dtype=object)
    with retrained.other_splits(study, "xray", splits):
        dataset = samples.load("xray", study.studies["xray"].classes)
        policy = pd.read_csv(paths.policy("xray", "aug4"))
        assert dataset.ids("test").tolist() == list(range(10))
        assert len(policy) == 5 * 60
        assert set(policy["id"]) == set(range(10, 70))
        inside = Path.cwd()
    assert Path.cwd() == home
    assert not inside.exists()
    assert paths.splits("xray").read_bytes() == before


def predicting(skills: dict[str, list[float]]) -> resample.Train:
    """A training whose share of right predictions is the run's next skill."""
    left = {run: list(values) for run, values in skills.items()}

    def train(params: Params, run: str, seed: int) -> Predicted:
        dataset = samples.load("xray", params.studies["xray"].classes)
        ids = dataset.ids("test")
        right = np.arange(len(ids)) < left[run].pop(0) * len(ids)
        answers = np.where(right, dataset.labels[ids], 1 - dataset.labels[ids])
        return Predicted(ids, dataset.labels[ids], np.eye(2)[answers] * 0.8 + 0.1)

    return train


def test_the_results_are_means_with_corrected_intervals_and_paired_differences(study: Params) -> None:
    skills = {"xray-aug0": [0.5, 0.6, 0.7, 0.6], "xray-aug4": [0.8, 0.9, 1.0, 0.9]}
    resample.write_splits(study, "xray", list(skills), False, 4, predicting(skills))
    content = json.loads(paths.other_splits("xray-synthetic").read_text())
    assert (content["kind"], content["count"]) == ("random splits", 4)
    assert content["runs"]["xray-aug4"]["accuracies"] == skills["xray-aug4"]
    wanted = plans.shares(samples.read_table("xray"))
    low, high = resampled_interval(np.array(skills["xray-aug0"]), wanted.ratio)
    found = content["runs"]["xray-aug0"]
    assert (found["accuracy"], found["accuracy_low"], found["accuracy_high"]) == pytest.approx(
        (0.6, low, high), abs=1e-4
    )
    (pair,) = content["differences"]
    assert (pair["first"], pair["second"], pair["significant"]) == ("xray-aug0", "xray-aug4", True)
    assert pair["difference"] == pytest.approx(-0.3)


def test_results_of_other_data_or_settings_are_not_shown(study: Params) -> None:
    resample.write_splits(study, "xray", ["xray-aug0"], True, 2, predicting({"xray-aug0": [0.5, 0.75]}))
    md5 = files.md5(paths.samples("xray"))
    assert results.read(study, "xray", md5)["kind"] == "folds"
    assert results.read(study, "xray", "another") == {}
    other = study.studies["xray"].model_copy(update={"epochs": 7})
    assert results.read(study.model_copy(update={"studies": study.studies | {"xray": other}}), "xray", md5) == {}
    assert results.read(study.model_copy(update={"runs": {}}), "xray", md5) == {}
    content = json.loads(paths.other_splits("xray-synthetic").read_text())["runs"]["xray-aug0"]
    # Two folds: as many test images as are left for val and train, of which val takes a fifth.
    bounds = resampled_interval(np.array([0.5, 0.75]), 1 / 0.8)
    assert (content["accuracy_low"], content["accuracy_high"]) == (max(0, bounds[0]), min(1, bounds[1]))


def test_two_runs_may_start_from_one_file(study: Params) -> None:
    Path("start.keras").write_text("weights")
    run = study.runs["xray-aug0"].model_dump() | {"weights": "start.keras"}
    both = study.model_copy(update={"pretrained": {name: Pretrained.model_validate(run) for name in ("one", "two")}})
    with retrained.other_splits(both, "xray", samples.read_table("xray")["split"].to_numpy()):
        assert Path("start.keras").read_text() == "weights"


def test_an_image_with_a_flipped_label_is_first_and_a_suspect() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 800)
    given = truth.copy()
    flipped = rng.choice(800, 40, replace=False)
    given[flipped] = (truth[flipped] + rng.integers(1, 4, 40)) % 4
    logits = rng.normal(size=(800, 4)) + 4 * np.eye(4)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = mislabelled.suspects(given, probabilities)
    assert set(found.columns) == {"row", "given", "likely", "probability", "margin", "is_suspect"}
    first = found.head(round(0.07 * 800))
    assert np.isin(flipped, first["row"]).mean() >= 0.8
    suspects = found[found["is_suspect"]]["row"]
    assert np.isin(suspects, flipped).mean() > 0.9
    assert len(suspects) > 25
    assert (found["likely"] != found["given"]).all()


def test_a_net_that_agrees_with_every_label_has_no_suspects() -> None:
    given = np.resize([0, 1, 2], 60)
    found = mislabelled.suspects(given, np.eye(3)[given] * 0.7 + 0.1)
    assert not found["is_suspect"].any()
    assert found["margin"].to_numpy() == pytest.approx(0.7)


def test_suspects_are_listed_and_shown(study: Params) -> None:
    resample.write_suspects(study, "xray", "xray-aug0", 3, predicting({"xray-aug0": [0.9, 0.9, 0.9]}))
    listed = pd.read_csv(paths.suspects("xray") / "suspects.csv")
    assert sorted(listed["id"]) == list(range(90))
    assert listed["is_suspect"].sum() == 9
    assert listed["is_suspect"].iloc[:9].all()
    assert (listed["given"] != listed["likely"]).all()
    shown = {path.name for path in paths.suspects("xray").iterdir()}
    assert shown == {"suspects.csv"} | {f"{name}.png" for name in listed[listed["is_suspect"]]["given"]}


def test_settings_of_values_do_not_matter_to_other_splits(study: Params) -> None:
    """Results that are committed stay valid when a setting is added that these runs do not use."""
    changed = study.studies["xray"].training.model_copy(update={"value_loss": "ccc", "value_weight": 3.0})
    other = study.model_copy(
        update={"studies": {**study.studies, "xray": study.studies["xray"].model_copy(update={"training": changed})}}
    )
    run = study.runs_of("xray")[0]
    assert results.settings_md5(other, "xray", [run]) == results.settings_md5(study, "xray", [run])
