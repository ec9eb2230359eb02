"""Accuracy by subgroup: which columns form subgroups, and which gaps are found."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from cnnstudy.data.synth import faces, xrays
from cnnstudy.evaluation.subgroups import FEWEST, bands, columns, measure


def table(count: int = 30, **others: object) -> pd.DataFrame:
    usual: dict[str, object] = {
        "id": range(count),
        "source": "folders",
        "path": [f"happy/{i}.png" for i in range(count)],
        "mode": "RGB",
        "width": 64,
        "height": 64,
    }
    return pd.DataFrame(usual | others)


def test_columns_with_one_value_or_many_form_no_subgroups() -> None:
    assert columns(table()) == {}
    assert columns(table(kept_name=[f"person {i}" for i in range(30)])) == {}


def test_columns_of_a_source_and_of_its_files_form_subgroups_and_what_is_missing_is_one() -> None:
    found = columns(
        table(
            path=[f"a.{'JPG' if i % 2 else 'png'}" for i in range(30)],
            kept_sex=["f", "m", " "] * 10,
            kept_age=[str(i) if i % 5 else "" for i in range(30)],
            width=[32] * 15 + [500] * 15,
        )
    )
    assert set(found) == {"file type", "sex", "age", "size"}
    assert sorted(set(found["file type"])) == [".jpg", ".png"]
    assert found["sex"][:3].tolist() == ["f", "m", "unknown"]
    assert found["age"][0] == "unknown"
    assert [found["age"][i] for i in (1, 14, 29)] == ["low", "middle", "high"]
    assert set(found["size"]) == {"low", "high"} or set(found["size"]) == {"low", "middle"}


def test_synthetic_images_are_grouped_by_how_they_were_generated() -> None:
    found = columns(table(4), {i: {"glasses": "yes" if i == 2 else "no"} for i in range(3)})
    assert found["glasses"].tolist() == ["no", "no", "yes", "unknown"]


def test_bands_are_thirds_of_the_known_numbers() -> None:
    found = bands(np.array([*range(9), np.nan]))
    assert found.tolist() == ["low"] * 3 + ["middle"] * 3 + ["high"] * 3 + [""]
    assert set(bands(np.full(4, 7.0))) == {"low"}
    assert set(bands(np.full(4, np.nan))) == {""}


def simulated(harm: float, count: int = 400, seed: int = 0) -> pd.DataFrame:
    """Predictions right with 0.9, and with 0.9 - harm in the first quarter of the images."""
    rng = np.random.default_rng(seed)
    is_worse = np.arange(count) < count // 4
    is_right = rng.random(count) < np.where(is_worse, 0.9 - harm, 0.9)
    labels = rng.integers(0, 2, count)
    probabilities = np.eye(2)[np.where(is_right, labels, 1 - labels)] * 0.8 + 0.1
    grouping = {
        "glasses": np.where(is_worse, "yes", "no"),
        "site": np.where(rng.random(count) < 0.5, "A", "B"),
        "rare": np.where(np.arange(count) < FEWEST - 1, "x", "y"),
    }
    return measure(grouping, labels, [probabilities], np.arange(count)).set_index(["column", "value"])


def test_a_gap_is_found_and_names_the_subgroup() -> None:
    found = simulated(0.3)
    assert found.loc[("glasses", "yes"), "is_significant"]
    assert found.loc[("glasses", "yes"), "gap"] == pytest.approx(0.3, abs=0.1)
    assert found.loc[("glasses", "yes"), "gap_low"] < 0.3 < found.loc[("glasses", "yes"), "gap_high"]
    assert found.loc[("glasses", "no"), "gap"] == pytest.approx(-found.loc[("glasses", "yes"), "gap"])
    assert not found.loc[("site", "A"), "is_significant"]
    assert found.loc[("glasses", "yes"), "images"] == 100
    assert found.loc[("glasses", "yes"), "confidence_gap"] == pytest.approx(
        0.9 - found.loc[("glasses", "yes"), "accuracy"]
    )
    assert 0 < found.loc[("glasses", "yes"), "sensitivity"] < 1


def test_few_images_are_shown_and_not_compared() -> None:
    found = simulated(0.0)
    assert found.loc[("rare", "x"), "images"] == FEWEST - 1
    assert found.loc[["rare"], "gap"].isna().all()


def test_false_alarms_are_as_rare_as_promised() -> None:
    alarms = sum(simulated(0.0, 200, seed)["is_significant"].eq(True).any() for seed in range(200))
    assert alarms <= 20


@pytest.mark.parametrize("generator", [faces, xrays])
def test_a_generator_names_subgroups_and_can_harm_one_of_them(generator: object) -> None:
    def specified(label: str, harm: float) -> list[dict[str, object]]:
        made = (generator.specify(label, "test", i, 0, {"subgroup_harm": harm}) for i in range(40))  # type: ignore[attr-defined]
        return [json.loads(json.dumps(asdict(each))) for each in made]

    label = generator.CLASSES[-1]  # type: ignore[attr-defined]
    plain, harmed = specified(label, 0.0), specified(label, 0.5)
    named = [generator.subgroups(each) for each in plain]  # type: ignore[attr-defined]
    assert named == [generator.subgroups(each) for each in harmed]  # type: ignore[attr-defined]
    assert all(len({each[name] for each in named}) > 1 for name in named[0])
    differs = [one != other for one, other in zip(plain, harmed, strict=True)]
    name, value = ("glasses", "yes") if generator is faces else ("view", "AP")
    assert differs == [each[name] == value for each in named]
