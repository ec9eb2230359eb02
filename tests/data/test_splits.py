"""Splits: exact shares, groups and identical files on one side, the source's own splits kept."""

import pandas as pd
import pytest

from cnnstudy.data import splits
from cnnstudy.errors import UserError
from cnnstudy.params import Split


def table(labels: list[str], **columns: list[str]) -> pd.DataFrame:
    count = len(labels)
    content = {"id": list(range(count)), "label": labels, "group": [""] * count, "hint": [""] * count}
    return pd.DataFrame({**content, "sha256": [f"file {i}" for i in range(count)], **columns})


def counts(samples: pd.DataFrame, assigned: pd.DataFrame) -> dict[tuple[str, str], int]:
    return {key: int(n) for key, n in assigned.groupby([samples["label"], "split"]).size().items()}


SHARES = Split(val=0.25, tune=0.2, test=0.0)


def test_shares_are_exact_in_every_class() -> None:
    samples = table(["a"] * 100 + ["b"] * 60)
    assert counts(samples, splits.assign("faces", samples, SHARES, 0)) == {
        ("a", "tune"): 20,
        ("a", "val"): 20,
        ("a", "train"): 60,
        ("b", "tune"): 12,
        ("b", "val"): 12,
        ("b", "train"): 36,
    }


def test_a_seed_gives_one_assignment_and_another_seed_another() -> None:
    samples = table(["a", "b"] * 50)
    first, again, other = (splits.assign("faces", samples, SHARES, seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_a_group_and_identical_files_stay_on_one_side() -> None:
    group = [f"patient {i // 3}" for i in range(60)]
    sha256 = [f"file {i}" for i in range(60)]
    sha256[5] = sha256[40]  # ties two patients together
    samples = table(["a", "b"] * 30, group=group, sha256=sha256)
    assigned = splits.assign("xray", samples, Split(val=0.2, tune=0.0, test=0.2), 0)
    assert (assigned.groupby(group)["split"].nunique() == 1).all()
    assert assigned["split"][5] == assigned["split"][40]
    assert set(assigned["split"]) == {"train", "val", "test"}


def test_the_sources_own_splits_are_kept_exactly() -> None:
    hint = ["train"] * 40 + ["tune"] * 20
    samples = table(["a", "b"] * 30, hint=hint)
    assigned = splits.assign("faces", samples, SHARES, 0)
    assert (assigned["split"] == "tune").tolist() == [name == "tune" for name in hint]
    assert counts(samples, assigned)["a", "val"] == 5


def test_a_class_too_small_for_every_split_is_named() -> None:
    samples = table(["a"] * 20 + ["rare"] * 2)
    with pytest.raises(UserError, match="class 'rare' has 2 images and none in the split"):
        splits.assign("faces", samples, SHARES, 0)


def test_three_images_are_enough_for_three_splits() -> None:
    samples = table(["a"] * 20 + ["rare"] * 3)
    found = counts(samples, splits.assign("faces", samples, SHARES, 0))
    assert {split for label, split in found if label == "rare"} == {"train", "val", "tune"}


@pytest.mark.parametrize("seed", range(5))
def test_a_large_share_or_a_large_group_leaves_a_group_for_every_split(seed: int) -> None:
    few = table(["a", "b"] * 5)
    large = table(["a"] * 10 + ["b"] * 10, group=["1", "2", *["3"] * 8, "4", "5", *["6"] * 8])
    for samples, shares in ((few, Split(val=0.95, tune=0.0, test=0.2)), (large, Split(val=0.15, tune=0.0, test=0.2))):
        found = counts(samples, splits.assign("xray", samples, shares, seed))
        assert set(found) == {(label, split) for label in "ab" for split in ("train", "val", "test")}


def test_a_source_without_training_images_is_an_error() -> None:
    samples = table(["a", "b"] * 4, hint=["val"] * 4 + ["test"] * 4)
    with pytest.raises(UserError, match="class 'a' has 4 images and none in the split 'train'"):
        splits.assign("xray", samples, Split(val=0.15, tune=0.0, test=0.2), 0)


def test_a_source_of_one_class_is_an_error() -> None:
    with pytest.raises(UserError, match="only the class 'normal' has images"):
        splits.assign("xray", table(["normal"] * 20), Split(val=0.15, tune=0.0, test=0.2), 0)
