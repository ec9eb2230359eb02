"""The transcribed numbers add up as printed tables must."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nets import table as layer_table

from cnnstudy.published import hewitt_gunes, reference, reshi

ROOT = Path(__file__).parents[2]
FILES = (*hewitt_gunes.PAPER.files, *reshi.PAPER.files)
FACES = ["anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
# Computed from unrounded rows, printed with two digits.
ROUNDING = 0.0101


@pytest.fixture(scope="module")
def numbers() -> pd.DataFrame:
    return reference.read(ROOT / "data/reference", FILES)


def tables() -> list[tuple[str, str, str]]:
    names = ["study", "table", "split"]
    numbers = reference.read(ROOT / "data/reference", FILES)
    return list(numbers[numbers["metric"] == "precision"].groupby(names).groups)


def as_table(numbers: pd.DataFrame, key: tuple[str, str, str]) -> pd.DataFrame:
    """Rows: classes, '', macro avg, weighted avg; columns: metrics."""
    chosen = numbers.set_index(["study", "table", "split"]).sort_index().loc[key]
    return chosen.pivot(index="class", columns="metric", values="value")


def test_every_classification_report_is_there() -> None:
    faces = {("faces", "3", "train"), ("faces", "3", "val"), ("faces", "4", "tune"), ("faces", "4", "val")}
    faces |= {("faces", "6", "train"), ("faces", "6", "val")}
    xray = {("xray", str(table), split) for table in range(9, 13) for split in ("train_augmented", "test")}
    assert set(tables()) == faces | xray


@pytest.mark.parametrize("key", tables())
def test_a_table_adds_up(numbers: pd.DataFrame, key: tuple[str, str, str]) -> None:
    table = as_table(numbers, key)
    classes = table.loc[FACES if key[0] == "faces" else ["0", "1"]]
    support, total = classes["support"], classes["support"].sum()
    assert (table.loc[["", "macro avg", "weighted avg"], "support"] == total).all()
    for metric in ("precision", "recall", "f1"):
        weighted = np.average(classes[metric], weights=support)
        assert table.loc["macro avg", metric] == pytest.approx(classes[metric].mean(), abs=ROUNDING)
        assert table.loc["weighted avg", metric] == pytest.approx(weighted, abs=ROUNDING)
    assert table.loc["", "accuracy"] == pytest.approx(np.average(classes["recall"], weights=support), abs=ROUNDING)


@pytest.mark.parametrize("key", tables())
def test_f1_is_the_harmonic_mean(numbers: pd.DataFrame, key: tuple[str, str, str]) -> None:
    classes = as_table(numbers, key).drop(index=["", "macro avg", "weighted avg"])
    precision, recall = classes["precision"], classes["recall"]
    harmonic = 2 * precision * recall / (precision + recall).where(precision + recall > 0, 1)
    assert classes["f1"].to_numpy() == pytest.approx(harmonic.to_numpy(), abs=0.02)


def test_specificity_is_the_recall_of_the_class_coded_0(numbers: pd.DataFrame) -> None:
    specificity = numbers[numbers["metric"] == "specificity"]
    assert len(specificity) == 8
    for row in specificity.itertuples():
        same = (numbers["table"] == row.table) & (numbers["split"] == row.split) & (numbers["class"] == "0")
        recall = numbers[same & (numbers["metric"] == "recall")]["value"].item()
        assert row.value == pytest.approx(recall, abs=0.005)


LAYER_TABLES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "2": ("alexnet", 8, {}), "5": ("vggnet", 8, {}), "7": ("mobilenet", 8, {}), "8": ("xraynet", 2, {"depth": 5}),
    **{str(12 + depth): ("xraynet", 2, {"depth": depth}) for depth in range(1, 6)},
}  # fmt: skip


@pytest.mark.parametrize("table", LAYER_TABLES)
def test_our_layers_are_the_reports_row_for_row(table: str) -> None:
    layers = reference.read_layers(ROOT / "data/reference")
    printed = layers[layers["table"] == table]
    assert printed["row"].tolist() == list(range(1, len(printed) + 1))
    net, classes, options = LAYER_TABLES[table]
    rows = layer_table(net, classes, **options)
    ours = list(zip(rows["type"], rows["shape"], rows["parameters"], strict=True))
    assert ours == list(zip(printed["type"], printed["shape"], printed["parameters"], strict=True))


def test_printed_layers_add_up_to_the_printed_totals(numbers: pd.DataFrame) -> None:
    layers = reference.read_layers(ROOT / "data/reference")
    sums = layers.groupby("table")["parameters"].sum()
    totals = numbers[numbers["metric"] == "parameters"].set_index("table")["value"]
    assert set(layers["table"]) == set(LAYER_TABLES)
    assert set(totals.index) == {"2", "5", "7", "8", "13", "14", "15"}  # tables 16 and 17 print none
    assert sums[totals.index].tolist() == totals.tolist()
    trainable = numbers[numbers["metric"] == "trainable"].set_index("table")["value"]
    # Half of BatchNorm's four numbers a channel are not trained.
    norms = layers[layers["type"] == "BatchNormalization"].groupby("table")["parameters"].sum()
    assert (totals - trainable).tolist() == (norms[totals.index] / 2).tolist()


def test_every_item_of_the_contents_is_named_once() -> None:
    contents = reference.read_contents(ROOT / "data/reference")
    items = contents[contents["item"] != "3-2"]["item"].tolist()
    assert len(set(items)) == len(items)
    assert {f"figure {i}" for i in range(1, 23)} <= set(items)
    assert {f"table {i}" for i in range(1, 18)} <= set(items)
    assert set(contents["kind"]) == {
        "samples", "policy", "augmented", "layers", "curves", "roc", "confusion", "report", "augmentation", "depth",
    }  # fmt: skip


def test_depth_accuracies_are_counts_of_xrays(numbers: pd.DataFrame) -> None:
    logs = numbers[numbers["table"].str.startswith("log under table") & (numbers["metric"] == "accuracy")]
    images = logs["split"].map({"test": 40, "train_augmented": 522})
    counts = (logs["value"] * images).round()
    assert counts.tolist() == [38, 522, 40, 504, 25, 291, 17, 316, 19, 316]
    assert (counts / images).to_numpy() == pytest.approx(logs["value"].to_numpy(), abs=5e-5)


def test_no_number_stands_twice(numbers: pd.DataFrame) -> None:
    assert not numbers.drop(columns="value").duplicated().any()
    assert set(numbers["source"]) == {"report", "hewitt_gunes_2018", "reshi_2021"}


def test_find_takes_a_table_where_a_run_has_two(numbers: pd.DataFrame) -> None:
    published = {"source": "report", "run": "xray-aug4", "split": "test"}
    assert reference.find(numbers, **published, table="12") == reference.Published(0.95, "12")
    assert reference.find(numbers, **published, table="log under table 17").value == 0.475  # type: ignore[union-attr]
    assert reference.find(numbers, source="report", run="vggnet", phase="tuned", split="val") is None
