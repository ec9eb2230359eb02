"""The audit finds rare classes and identical files, and says what to do."""

from pathlib import Path

import pandas as pd

from cnnstudy.data import audit

REJECTS = pd.DataFrame({"path": ["x"], "reason": ["not an image"]})


def findings(labels: list[str], split: list[str], sha256: list[str]) -> dict[str, tuple[str, int]]:
    samples = pd.DataFrame({"label": labels, "sha256": sha256})
    found = audit.audit(samples, pd.DataFrame({"split": split}), REJECTS, tuple(sorted(set(labels))))
    return {finding["kind"]: (finding["severity"], finding["count"]) for finding in found["findings"]}


def test_a_clean_set_has_nothing_to_warn_of_but_rejects() -> None:
    assert findings(["a", "b"] * 2, ["train", "train", "val", "val"], list("1234")) == {
        "class balance": ("info", 0),
        "identical files": ("info", 0),
        "rejected files": ("warning", 1),
    }


def test_identical_files_are_told_apart_by_where_they_are() -> None:
    labels = ["a", "a", "a", "b", "a", "a", "b", "b"]
    split = ["train", "val", "train", "train", "train", "train", "val", "train"]
    found = findings(labels, split, ["1", "1", "2", "2", "3", "3", "4", "5"])
    assert found["identical files in two splits"] == ("severe", 2)
    assert found["identical files under two classes"] == ("severe", 2)
    assert found["identical files within a split"] == ("warning", 2)


def test_a_rare_class_is_named(tmp_path: Path) -> None:
    assert findings(["a"] * 5 + ["b"], ["train"] * 6, list("123456"))["class balance"] == ("warning", 1)
    samples = pd.DataFrame({"label": ["a", "b", "b"]})
    table = audit.balance(samples, pd.DataFrame({"split": ["val", "train", "train"]}), ("a", "b"))
    assert table.to_numpy().tolist() == [[0, 1], [2, 0]]
    audit.save_balance(table, tmp_path / "balance.png")
    assert (tmp_path / "balance.png").stat().st_size > 1000


def test_a_class_without_images_is_named() -> None:
    samples = pd.DataFrame({"label": ["a", "b"], "sha256": ["1", "2"]})
    found = audit.audit(samples, pd.DataFrame({"split": ["train", "val"]}), REJECTS, ("a", "b", "absent"))
    assert "absent (0)" in found["findings"][0]["advice"]
