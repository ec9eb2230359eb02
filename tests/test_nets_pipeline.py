"""Nets that are graphs, and a start from a file, through every stage in a temporary clone under profile=smoke."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from workspace import Workspace, clone

from cnnstudy.export.litert import PRECISIONS
from cnnstudy.models import assemble
from cnnstudy.models.assemble import Design
from cnnstudy.workspace import files, paths

pytestmark = pytest.mark.slow

NETS: dict[str, dict[str, Any]] = {
    "resnet18": {"net": "resnet18", "options": {"width": 0.25}},
    "mobilenetv3": {"net": "applications", "options": {"name": "MobileNetV3Small"}},
    "efficientnet": {"net": "applications", "options": {"name": "EfficientNetB0"}},
}
START, SIDE = "start/resnet18.weights.h5", 32


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory, data_cache: Path) -> Workspace:
    """A clone in which `cnnstudy repro` has trained, tuned, evaluated and exported the nets, one also from a file."""
    workspace = clone(tmp_path_factory.mktemp("clone"), data_cache)
    content = workspace.compose("model=resnet18", "profile=smoke")
    policies = content["studies"]["faces"]["policies"]
    policies["changed"] = policies["augmented"] | {"crop": 0.1, "brightness": 0.1, "contrast": 0.1, "cutout": 0.2}
    policies["mixed"] = policies["changed"] | {"mixing": 0.2}
    run = {"study": "faces", "policy": "augmented"}
    content["runs"] = {name: run | net for name, net in NETS.items()}
    content["runs"]["mobilenetv3"]["policy"] = "mixed"
    content["runs"]["efficientnet"]["policy"] = "changed"
    content["pretrained"] = {"started": run | NETS["resnet18"] | {"weights": START, "frozen": "features"}}
    content["finetuned"] = dict.fromkeys(NETS, run)
    content["exported"] = {name: {"study": "faces", "phase": "tuned"} for name in NETS}
    content["ablations"]["nets"]["runs"] = {name: name for name in (*NETS, "started")}
    (workspace.path / "params.yaml").write_text(json.dumps(content))  # which is YAML
    (workspace.path / START).parent.mkdir()
    keras.backend.clear_session()
    keras.utils.set_random_seed(11)
    source = assemble.build_plain(Design("resnet18", (("width", 0.25),), SIDE, 3))
    source.save_weights(workspace.path / START)
    workspace.run("cnnstudy", "repro")
    return workspace


@pytest.mark.parametrize("run", NETS)
def test_every_stage_has_its_outputs(rebuilt: Workspace, run: str) -> None:
    metrics = json.loads((rebuilt.path / paths.run_metrics(run)).read_text())
    assert set(metrics) == {"base", "tuned"}
    for phase in metrics:
        folder = rebuilt.path / paths.seed(run, phase, 0)
        with np.load(paths.gradcam(folder)) as maps:
            assert maps["measured/map"].max() > 0
    exported = json.loads((rebuilt.path / paths.export_metrics(run)).read_text())
    assert exported["float32"]["agreement"] > 0.99
    assert all((rebuilt.path / paths.lite(run, precision)).stat().st_size > 10_000 for precision in PRECISIONS)
    table = pd.read_csv(rebuilt.path / paths.phase(run, "base") / paths.LAYERS)
    assert {"Conv2D", "BatchNormalization", "Dense"} <= set(table["type"])


def test_a_start_from_a_file_is_trained_and_evaluated(rebuilt: Workspace) -> None:
    lock = files.parse_settings((rebuilt.path / "dvc.lock").read_text())["stages"]
    assert {"train-pretrained@started", "evaluate-pretrained@started"} <= set(lock)
    assert START in [each["path"] for each in lock["train-pretrained@started"]["deps"]]
    assert set(json.loads((rebuilt.path / paths.run_metrics("started")).read_text())) == {"base"}
    source, trained = (assemble.build_plain(Design("resnet18", (("width", 0.25),), SIDE, each)) for each in (3, 8))
    source.load_weights(rebuilt.path / START)
    trained.load_weights(rebuilt.path / paths.weights(paths.seed("started", "base", 0)))
    # Its features were frozen, and so stayed the file's.
    for one, other in zip(source.get_weights()[:-2], trained.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_page_and_the_summary_name_every_run(rebuilt: Workspace) -> None:
    page = (rebuilt.path / paths.REPORT).read_text()
    assert set(json.loads((rebuilt.path / paths.SUMMARY).read_text())) == {*NETS, "started"}
    assert all(run in page for run in (*NETS, "started"))


def test_a_second_repro_does_nothing_and_another_file_trains_again(rebuilt: Workspace) -> None:
    assert "Data and pipelines are up to date." in rebuilt.run("dvc", "repro")
    keras.backend.clear_session()
    other = assemble.build_plain(Design("resnet18", (("width", 0.5),), SIDE, 3))
    other.save_weights(rebuilt.path / START)
    said = rebuilt.run("dvc", "repro", code=255)
    assert f"{START}: no weights for the layer conv2d ((3, 3, 3, 16)); allowed: those of this net" in said
    assert "Running stage 'train@" not in said
