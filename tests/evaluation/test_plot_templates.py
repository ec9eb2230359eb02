"""The templates of `dvc plots`, filled as DVC fills them."""

import json
from pathlib import Path
from typing import Any

import pytest
from dvc_render.vega import VegaRenderer

TEMPLATES = Path(__file__).parents[2] / ".dvc/plots"


def fill(template: str, x: str, y: str, rows: list[dict[str, str]]) -> dict[str, Any]:
    renderer = VegaRenderer(rows, "data.csv", x=x, y=y, title="alexnet", template=template, template_dir=str(TEMPLATES))
    filled = renderer.get_filled_template()
    assert isinstance(filled, dict)
    return filled


def revisions(**cells: list[str]) -> list[dict[str, str]]:
    names = list(cells)
    values = zip(*cells.values(), strict=True)
    rows = [dict(zip(names, row, strict=True)) for row in values]
    return [{"rev": rev, **row} for rev in ("workspace", "HEAD") for row in rows]


@pytest.mark.parametrize(
    ("name", "x", "y", "row"),
    [
        ("curves", "epoch", "accuracy", "quantity"),
        ("roc", "fpr", "tpr", "part"),
        ("matrix", "predicted", "actual", "part"),
    ],
)
def test_revisions_stand_side_by_side_and_parts_below_each_other(name: str, x: str, y: str, row: str) -> None:
    rows = revisions(**{x: ["0.5", "1"], y: ["0.25", "1"], "series": ["train", "val"], "part": ["base, val"] * 2,
                        "auc": ["0.7"] * 2, "count": ["3", "4"], "loss": ["1", "2"]})  # fmt: skip
    filled = fill(name, x, y, rows)
    assert "<DVC_METRIC" not in json.dumps(filled)
    assert filled["data"]["values"] == rows
    assert filled["facet"]["column"]["field"] == "rev"
    assert filled["facet"]["row"]["field"] == row


def test_curves_show_accuracy_and_loss_of_every_series() -> None:
    filled = fill("curves", "epoch", "accuracy", revisions(epoch=["1"], accuracy=["0.5"], loss=["1"], series=["val"]))
    assert filled["transform"][0] == {"fold": ["accuracy", "loss"], "as": ["quantity", "value"]}
    encoding = filled["spec"]["encoding"]
    assert [encoding[axis]["field"] for axis in ("x", "y", "color")] == ["epoch", "value", "series"]
    assert filled["resolve"] == {"scale": {"y": "independent"}}


def test_roc_curves_are_coloured_by_series() -> None:
    filled = fill("roc", "fpr", "tpr", revisions(fpr=["0"], tpr=["1"], series=["happy"], part=["base, val"], auc=["1"]))
    (lines,) = [layer for layer in filled["spec"]["layer"] if layer["mark"]["type"] == "line"]
    assert [lines["encoding"][axis]["field"] for axis in ("x", "y", "color")] == ["fpr", "tpr", "series"]


def test_a_matrix_shades_each_row_by_its_shares_and_keeps_the_classes_order() -> None:
    filled = fill("matrix", "predicted", "actual", revisions(actual=["b"], predicted=["a"], count=["3"], part=["x"]))
    (total,) = [each["groupby"] for each in filled["transform"] if "joinaggregate" in each]
    assert total == ["rev", "part", "actual"]
    encoding = filled["spec"]["encoding"]
    assert [encoding[axis]["field"] for axis in ("x", "y")] == ["predicted", "actual"]
    assert encoding["x"]["sort"] is encoding["y"]["sort"] is None
