"""An ablation over the learning rate, which no code knows of, is one YAML file."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from stored import record
from workspace import clone

pytestmark = pytest.mark.slow

MODEL = """\
# @package _global_
defaults: [/study/xray, _self_]
models: {rates: rates}
runs:
  slow: {study: xray, policy: aug0, net: xraynet, options: {depth: 1}, training: {learning_rate: 0.0001}}
  usual: {study: xray, policy: aug0, net: xraynet, options: {depth: 1}}
  fast: {study: xray, policy: aug0, net: xraynet, options: {depth: 1}, training: {learning_rate: 0.01, epochs: 2}}
ablations:
  rates: {study: xray, axis: learning rate, runs: {fast: 0.01, slow: 0.0001, usual: 0.001}}
"""


def test_a_learning_rate_ablation_is_yaml_alone(tmp_path: Path, data_cache: Path) -> None:
    workspace = clone(tmp_path / "rates", data_cache)
    (workspace.path / "conf/model/rates.yaml").write_text(MODEL)
    workspace.run(
        "cnnstudy",
        "params",
        "model=rates",
        "profile=smoke",
        "studies.xray.epochs=1",
        "studies.xray.options.widths=reshi",
    )
    workspace.run("cnnstudy", "repro")
    content = json.loads((workspace.path / "metrics/ablations/rates.json").read_text())
    assert [(row["run"], row["x"]) for row in content["rows"]] == [("slow", 0.0001), ("usual", 0.001), ("fast", 0.01)]
    assert (workspace.path / "plots/ablations/rates/curve.png").stat().st_size > 5_000
    histories = {
        run: pd.read_csv(workspace.path / f"models/{run}/base/seed0/history.csv") for run in ("slow", "usual", "fast")
    }
    assert {run: len(history) for run, history in histories.items()} == {"slow": 1, "usual": 1, "fast": 2}
    # The epoch's loss is a mean over steps of different lengths from the same weights.
    assert len({history["loss"][0] for history in histories.values()}) == 3
    recorded = {each["name"]: each["params"] for each in record(workspace.path)}
    assert {run: recorded[run]["training.learning_rate"] for run in histories} == {
        "slow": "0.0001", "usual": str(_usual(workspace.path)), "fast": "0.01",
    }  # fmt: skip
    assert recorded["fast"]["epochs"] == "2"
    assert workspace.run("git", "status", "--porcelain", "dvc.yaml", ".gitignore", "src").strip() == ""


def _usual(root: Path) -> float:
    params = yaml.safe_load((root / "params.yaml").read_text())
    return float(params["studies"]["xray"]["training"]["learning_rate"])
