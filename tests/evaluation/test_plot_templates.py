"""The templates of `dvc plots`, filled as DVC fills them."""

import json
from pathlib import Path

import pytest
from dvc_render.vega import VegaRenderer

TEMPLATES = Path(__file__).parents[2] / ".dvc/plots"


@pytest.mark.parametrize(("name", "x", "y"), [("curves", "epoch", "accuracy"), ("roc", "fpr", "tpr")])
def test_a_template_colours_series_and_sets_revisions_side_by_side(name: str, x: str, y: str) -> None:
    rows = [
        {"rev": rev, "series": series, x: "0.5", y: "0.25", "auc": "0.7"}
        for rev in ("workspace", "HEAD")
        for series in ("train", "val")
    ]
    renderer = VegaRenderer(rows, "data.csv", x=x, y=y, title="alexnet", template=name, template_dir=str(TEMPLATES))
    filled = renderer.get_filled_template()
    assert "<DVC_METRIC" not in json.dumps(filled)
    assert filled["data"]["values"] == rows
    assert filled["facet"]["column"]["field"] == "rev"
    (lines,) = [
        layer for layer in filled["spec"].get("layer", [filled["spec"]]) if layer["mark"]["type"] == "line"
    ]  # fmt: skip
    assert [lines["encoding"][axis]["field"] for axis in ("x", "y", "color")] == [x, y, "series"]
