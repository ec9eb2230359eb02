"""Splits: exact shares, groups and identical files on one side, the source's own splits kept."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from cnnstudy.config.schema import Split
from cnnstudy.data import splits
from cnnstudy.errors import UserError


def table(labels: list[str], **columns: list[str]) -> pd.DataFrame:
    count = len(labels)
    content: dict[str, Any] = {"id": list(range(count)), "label": labels, "source": ["x"] * count}
    content |= {"group": [""] * count, "source_split": [""] * count, "sha256": [f"file {i}" for i in range(count)]}
    return pd.DataFrame({**content, **columns})


def assign(study: str, samples: pd.DataFrame, shares: Split, seed: int) -> pd.DataFrame:
    return splits.assign(study, samples, pd.factorize(samples["sha256"])[0], shares, seed)


def counts(samples: pd.DataFrame, assigned: pd.DataFrame) -> dict[tuple[str, str], int]:
    return {key: int(n) for key, n in assigned.groupby([samples["label"], "split"]).size().items()}


def settings(**shares: Any) -> Split:
    return Split(**{"leaks": "drop", "conflicts": "drop", **shares})


SHARES = settings(val=0.25, tune=0.2, test=0.0)


def test_shares_are_exact_in_every_class() -> None:
    samples = table(["a"] * 100 + ["b"] * 60)
    assert counts(samples, assign("faces", samples, SHARES, 0)) == {
        ("a", "tune"): 20,
        ("a", "val"): 20,
        ("a", "train"): 60,
        ("b", "tune"): 12,
        ("b", "val"): 12,
        ("b", "train"): 36,
    }


def test_a_seed_gives_one_assignment_and_another_seed_another() -> None:
    samples = table(["a", "b"] * 50)
    first, again, other = (assign("faces", samples, SHARES, seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_a_group_and_identical_files_stay_on_one_side() -> None:
    group = [f"patient {i // 3}" for i in range(60)]
    sha256 = [f"file {i}" for i in range(60)]
    sha256[5] = sha256[41]  # ties two patients together
    samples = table(["a", "b"] * 30, group=group, sha256=sha256)
    assigned = assign("xray", samples, settings(val=0.2, tune=0.0, test=0.2), 0)
    assert (assigned.groupby(group)["split"].nunique() == 1).all()
    assert assigned["split"][5] == assigned["split"][41]
    assert set(assigned["split"]) == {"train", "val", "test"}


def test_the_sources_own_splits_are_kept_exactly() -> None:
    source_split = ["train"] * 40 + ["tune"] * 20
    samples = table(["a", "b"] * 30, source_split=source_split)
    assigned = assign("faces", samples, SHARES, 0)
    assert (assigned["split"] == "tune").tolist() == [name == "tune" for name in source_split]
    assert counts(samples, assigned)["a", "val"] == 5


def test_a_share_of_tune_is_held_out_and_the_other_splits_stay() -> None:
    group = [f"person {i // 2}" for i in range(120)]
    samples = table(["a", "b"] * 60, group=group, source_split=["tune"] * 80 + ["train"] * 40)
    copies = pd.factorize(samples["sha256"])[0]
    whole, parted = (splits.assign("faces", samples, copies, SHARES, 0, share) for share in (0.0, 0.25))
    held = parted["split"] == "tune_holdout"
    assert counts(samples, parted)["a", "tune_holdout"] == counts(samples, parted)["b", "tune_holdout"] == 10
    assert set(whole["split"][held]) == {"tune"}
    assert parted["split"][~held].equals(whole["split"][~held])
    assert (parted.groupby(group)["split"].nunique() == 1).all()


def test_nothing_is_held_out_where_a_class_has_one_group_in_tune() -> None:
    samples = table(["a"] * 20 + ["b"] * 20, source_split=(["tune"] * 5 + ["train"] * 15) * 2,
                    group=["one"] * 5 + [""] * 35)  # fmt: skip
    assigned = splits.assign("faces", samples, samples["id"].to_numpy(), SHARES, 0, 0.4)
    assert set(assigned["split"]) == {"train", "val", "tune"}


def test_a_share_of_tune_without_a_split_tune_holds_nothing_out() -> None:
    samples = table(["a", "b"] * 50)
    assigned = splits.assign("xray", samples, samples["id"].to_numpy(), settings(val=0.2, tune=0.0, test=0.2), 0, 0.25)
    assert set(assigned["split"]) == {"train", "val", "test"}


def test_each_source_of_a_mixed_one_keeps_its_own_splits_or_is_given_some() -> None:
    labels = ["normal"] * 20 + ["covid"] * 20
    samples = table(labels, source=["a"] * 20 + ["b"] * 20, source_split=["train"] * 16 + ["test"] * 4 + [""] * 20)
    assigned = assign("xray", samples, settings(val=0.25, tune=0.0, test=0.2), 0)
    assert (assigned["split"].iloc[:20] == "test").tolist() == [False] * 16 + [True] * 4
    assert counts(samples, assigned) == {
        ("normal", "train"): 12, ("normal", "val"): 4, ("normal", "test"): 4,
        ("covid", "train"): 12, ("covid", "val"): 4, ("covid", "test"): 4,
    }  # fmt: skip


def test_tune_and_test_are_shares_of_all() -> None:
    samples = table(["a"] * 100 + ["b"] * 100)
    found = counts(samples, assign("faces", samples, settings(val=0.25, tune=0.5, test=0.4), 0))
    assert [found["a", split] for split in ("tune", "test", "val", "train")] == [50, 40, 2, 8]


def test_a_copy_in_another_sources_test_does_not_take_a_source_its_own() -> None:
    samples = table(
        ["a", "b"] * 70,
        source=["x"] * 100 + ["y"] * 40,
        source_split=[""] * 100 + ["train", "train", "test", "test"] * 10,
    )
    samples.loc[[0, 102], "sha256"] = "one file"
    assigned = assign("xray", samples, settings(val=0.25, tune=0.0, test=0.2), 0)
    assert assigned["split"][0] == "dropped"
    assert (assigned["split"][:100] == "test").sum() == 20
    assert (assigned["split"][100:] == "test").sum() == 20


def test_copies_in_two_sources_stay_on_one_side() -> None:
    samples = table(["normal", "covid"] * 20, source=["a"] * 20 + ["b"] * 20)
    copies = np.arange(40) % 20
    for seed in range(5):
        split = splits.assign("xray", samples, copies, settings(val=0.25, tune=0.0, test=0.2), seed)["split"].to_numpy()
        assert (split[:20] == split[20:]).all()


def test_a_class_too_small_for_every_split_is_named() -> None:
    samples = table(["a"] * 20 + ["rare"] * 2)
    with pytest.raises(UserError, match=r"class 'rare' has 2 images and none in the split"):
        assign("faces", samples, SHARES, 0)


def test_three_images_are_enough_for_three_splits() -> None:
    samples = table(["a"] * 20 + ["rare"] * 3)
    found = counts(samples, assign("faces", samples, SHARES, 0))
    assert {split for label, split in found if label == "rare"} == {"train", "val", "tune"}


@pytest.mark.parametrize("seed", range(5))
def test_a_large_share_or_a_large_group_leaves_a_group_for_every_split(seed: int) -> None:
    few = table(["a", "b"] * 5)
    large = table(["a"] * 10 + ["b"] * 10, group=["1", "2", *["3"] * 8, "4", "5", *["6"] * 8])
    for samples, shares in (
        (few, settings(val=0.95, tune=0.0, test=0.2)),
        (large, settings(val=0.15, tune=0.0, test=0.2)),
    ):
        found = counts(samples, assign("xray", samples, shares, seed))
        assert set(found) == {(label, split) for label in "ab" for split in ("train", "val", "test")}


def test_a_source_without_training_images_is_an_error() -> None:
    samples = table(["a", "b"] * 4, source_split=["val"] * 4 + ["test"] * 4)
    with pytest.raises(UserError, match="class 'a' has 4 images and none in the split 'train'"):
        assign("xray", samples, settings(val=0.15, tune=0.0, test=0.2), 0)


def test_a_source_of_one_class_is_an_error() -> None:
    with pytest.raises(UserError, match="only the class 'normal' has images"):
        assign("xray", table(["normal"] * 20), settings(val=0.15, tune=0.0, test=0.2), 0)


def with_source_splits() -> pd.DataFrame:
    """Twenty images each of two classes in train, and ten each in test."""
    return table(["a", "b"] * 30, source_split=["train"] * 40 + ["test"] * 20)


def test_a_training_copy_of_a_test_image_is_dropped_and_the_test_kept() -> None:
    samples = with_source_splits()
    samples.loc[3, "sha256"] = samples["sha256"][51]
    samples.loc[[10, 50], "group"] = "patient"
    assigned = assign("xray", samples, settings(val=0.2, tune=0.0, test=0.2), 0)
    assert assigned["split"][[3, 10]].tolist() == ["dropped", "dropped"]
    assert assigned["reason"][3] == "a copy, or the same person, is in test"
    assert (assigned["split"][40:] == "test").all()
    assert (assigned["reason"] != "").sum() == 2
    assert (assigned["split"] == "val").sum() == 8
    kept = assign("xray", samples, settings(val=0.2, tune=0.0, test=0.2, leaks="keep"), 0)
    assert not (kept["split"] == "dropped").any()


def test_all_copies_of_a_picture_under_two_classes_are_dropped() -> None:
    samples = with_source_splits()
    samples.loc[[0, 1, 40], "sha256"] = "one file"
    assigned = assign("xray", samples, settings(val=0.2, tune=0.0, test=0.2), 0)
    assert assigned.index[assigned["split"] == "dropped"].tolist() == [0, 1, 40]
    assert set(assigned["reason"][[0, 1, 40]]) == {"the same image is under another class too"}
    kept = assign("xray", samples, settings(val=0.2, tune=0.0, test=0.2, conflicts="keep", leaks="keep"), 0)
    assert not (kept["split"] == "dropped").any()


def test_a_class_whose_images_are_all_under_another_too_is_named() -> None:
    samples = table(["a"] * 20 + ["b"] * 20 + ["rare"] * 3)
    samples.loc[[40, 41, 42], "sha256"] = samples["sha256"][:3].tolist()
    with pytest.raises(UserError, match=r"class 'rare' has 3 images and all are dropped, .*split.conflicts: keep"):
        assign("faces", samples, SHARES, 0)
    both = table(["a", "b"] * 10, sha256=[f"file {i // 2}" for i in range(20)])
    with pytest.raises(UserError, match="class 'a' has 10 images and all are dropped"):
        assign("faces", both, SHARES, 0)


def test_a_class_that_loses_its_images_is_named() -> None:
    samples = table(["a"] * 20 + ["rare"] * 3)
    samples.loc[[0, 20], "sha256"] = "one file"
    with pytest.raises(UserError, match=r"class 'rare' has 2 images .* studies.faces.classes can name 'rare'"):
        assign("faces", samples, SHARES, 0)


@pytest.mark.parametrize("seed", range(60))
def test_patients_with_xrays_of_both_classes_leave_each_class_a_patient_for_every_split(seed: int) -> None:
    rng, fewest = np.random.default_rng(seed), 0
    while fewest < 4:
        patients = [("a", "b"), ("b",), ("a",), ("a", "b"), *(("a", "b", "ab")[i] for i in rng.integers(0, 3, 4))]
        xrays = [(label, f"p{i}") for i, its in enumerate(patients) for label in its for _ in range(rng.integers(1, 5))]
        samples = table([label for label, _ in xrays], group=[patient for _, patient in xrays])
        fewest = samples.groupby("label")["group"].nunique().min()
    assigned = assign("xray", samples, settings(val=0.15, tune=0.0, test=0.2), seed)
    assert counts(samples, assigned).keys() == {(label, split) for label in "ab" for split in ("train", "val", "test")}
    assert (assigned["split"].groupby(samples["group"]).nunique() == 1).all()
