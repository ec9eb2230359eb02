"""A study of one's own from YAML alone, with a net that ships; test_digits.py tries the commands on another."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from workspace import Workspace, clone

pytestmark = pytest.mark.slow

CLASSES = ("bar", "cross", "disc")
MODEL = """
# @package _global_
defaults:
  - /study/base@studies.shapes
  - _self_
models: {shapes: shapes}
studies:
  shapes:
    title: Shapes
    source: {format: folders, path: data/raw/shapes}
    classes: {bar: [bar], cross: [cross], disc: [disc]}
    image_size: 32
    batch_size: 12
    epochs: 8
    promotion: {minimum: 0.5, accepted: [shortcut]}  # the shapes differ in area, and so in brightness
    policies: {plain: {level: 0, rotation: 0, shift: 0.0, flip: false}, moved: {level: 0, rotation: 5, shift: 0.1, flip: true}}
runs:
  shapes-plain: {study: shapes, policy: plain, net: alexnet}
  shapes-moved: {study: shapes, policy: moved, net: alexnet}
exported:
  shapes-moved: {study: shapes, phase: base}
ablations:
  policy: {study: shapes, axis: augmentation, runs: {shapes-plain: none, shapes-moved: moved}}
"""  # noqa: E501


def draw(label: str, rng: np.random.Generator) -> np.ndarray:
    """A light shape on a dark, noisy ground, grey, 24 x 24."""
    image = rng.integers(0, 60, (24, 24), np.uint8)
    x, y = (int(each) for each in rng.integers(9, 15, 2))
    if label == "disc":
        cv2.circle(image, (x, y), 6, 220, -1)
    else:
        cv2.line(image, (x, y - 7), (x, y + 7), 220, 3)
    if label == "cross":
        cv2.line(image, (x - 7, y), (x + 7, y), 220, 3)
    return image


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = clone(tmp_path_factory.mktemp("shapes"))
    rng = np.random.default_rng(0)
    for label in CLASSES:
        folder = workspace.path / "data/raw/shapes" / label
        folder.mkdir(parents=True)
        for number in range(40):
            cv2.imwrite(str(folder / f"{number:02d}.png"), draw(label, rng))
    (workspace.path / "conf/model/shapes.yaml").write_text(MODEL.lstrip())
    workspace.run("cnnstudy", "params", "model=shapes", "profile=smoke")
    workspace.run("cnnstudy", "repro")
    return workspace


def test_every_stage_ran_for_the_study_and_for_no_other(rebuilt: Workspace) -> None:
    listed = [line.split()[0] for line in rebuilt.run("dvc", "stage", "list", "--all").splitlines()]
    runs = ("shapes-plain", "shapes-moved")
    expected = {f"{stage}@shapes" for stage in ("check", "ingest", "split", "audit", "augment", "occlude")}
    expected |= {f"{stage}@{run}" for stage in ("train", "evaluate") for run in runs}
    assert set(listed) == expected | {"export@shapes-moved", "ablate@policy", "report"}
    assert "up to date" in rebuilt.run("dvc", "repro")


def test_the_net_learnt_the_shapes(rebuilt: Workspace) -> None:
    summary = json.loads((rebuilt.path / "metrics/summary.json").read_text())
    assert set(summary) == {"shapes-plain", "shapes-moved"}
    assert all(each["test_accuracy"] > 0.5 for each in summary.values())


def test_the_page_has_its_own_story(rebuilt: Workspace) -> None:
    page = (rebuilt.path / "report/index.html").read_text()
    assert "Shapes" in page
    for absent in ("Hewitt", "Reshi", "COVID", "Beside the report", "contradicts itself"):
        assert absent not in page


def test_nothing_of_the_library_names_a_study_or_a_net() -> None:
    names = ("faces", "xray", "alexnet", "vggnet", "mobilenet", "xraynet", "covid")
    source = Path(__file__).parents[1] / "src"
    own = ("data/synth/", "data/sources/", "published/", *(f"models/{net}.py" for net in names))
    found = [
        f"{path.relative_to(source)}:{number}"
        for suffix in ("py", "html")
        for path in sorted(source.rglob(f"*.{suffix}"))
        if not path.relative_to(source / "cnnstudy" if "cnnstudy" in path.parts else source).as_posix().startswith(own)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if any(name in line.lower().replace("_", " ").replace("-", " ").replace("@", " ").split() for name in names)
    ]
    assert not found
