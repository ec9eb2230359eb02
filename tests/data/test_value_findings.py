"""The audit of values: missing, on another scale, contradictory and drifting ones are told; clean ones are not."""

import numpy as np
import pandas as pd
import pytest

from cnnstudy.data.audit import values

RANGES = {"valence": (-1.0, 1.0), "arousal": (-1.0, 1.0)}


@pytest.fixture
def table() -> pd.DataFrame:
    """Two hundred images of train and one hundred of test with values of one distribution, each of its own family."""
    rng = np.random.default_rng(0)
    split = np.repeat(["train", "test"], (200, 100))
    found = pd.DataFrame({"label": np.tile(["happy", "sad"], 150), "split": split})
    numbers = {f"value_{name}": rng.uniform(-0.9, 0.9, 300) for name in RANGES}
    return found.assign(**numbers, copy=range(300), family=range(300))


def kinds(table: pd.DataFrame) -> dict[str, int]:
    found = values.findings(table, RANGES)
    assert {(each.check, each.severity) for each in found} <= {("values", "warning")}
    return {each.kind: each.count for each in found}


def test_clean_values_have_no_findings(table: pd.DataFrame) -> None:
    assert kinds(table) == {}
    assert values.findings(table, {}) == []


def test_missing_values_are_counted(table: pd.DataFrame) -> None:
    table.loc[:29, "value_valence"] = np.nan
    assert kinds(table.drop(columns="value_arousal")) == {
        "valence is missing for 10% of the images": 30,
        "arousal is missing for every image": 300,
    }


def test_values_of_another_scale_are_told(table: pd.DataFrame) -> None:
    table["value_valence"] = 0.5 + table["value_valence"] / 4
    (kind,) = kinds(table)
    assert kind.startswith("valence lies between 0.2")
    assert kind.endswith("of -1 to 1")


def test_copies_that_contradict_each_other_are_told(table: pd.DataFrame) -> None:
    table.loc[1, "copy"], table.loc[3, "copy"] = 0, 2
    table.loc[:3, "value_arousal"] = [0.1, 0.2, -0.5, 0.5]
    table.loc[:3, "value_valence"] = 0.0
    assert kinds(table) == {"copies of an image have different arousal": 2}


def test_a_split_with_other_values_has_drifted(table: pd.DataFrame) -> None:
    test = table["split"] == "test"
    table.loc[test, "value_arousal"] = table.loc[test, "value_arousal"].abs()
    (kind,) = kinds(table)
    assert kind.startswith("arousal differs between train (mean ")
    assert "test (mean 0.4" in kind


def test_a_hundred_images_of_one_person_are_no_evidence_of_drift(table: pd.DataFrame) -> None:
    test = table["split"] == "test"
    table.loc[test, "value_arousal"] = 0.5
    assert kinds(table)
    table.loc[test, "family"] = 1000
    assert kinds(table) == {}


def test_facts_of_each_split() -> None:
    rows = [("train", "a", 0.0), ("train", "a", 0.5), ("train", "b", 1.0), ("val", "a", np.nan)]
    found = values.facts(pd.DataFrame(rows, columns=["split", "label", "value_valence"]), {"valence": (-1.0, 1.0)})
    own = {"images": 3, "missing": 0, "mean": 0.5, "sd": 0.4082, "minimum": 0.0, "maximum": 1.0}
    assert found["valence"]["train"] == own | {"class_means_rmse": 0.2041}
    nothing = dict.fromkeys(("mean", "sd", "minimum", "maximum", "class_means_rmse"))
    assert found["valence"]["val"] == {"images": 1, "missing": 1} | nothing
