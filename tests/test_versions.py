"""Data that is imported from a git repository, and versioned by DVC."""

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from workspace import Workspace, clone

from cnnstudy.workspace import paths

pytestmark = pytest.mark.slow

FOLDER = "data/raw/xrays"


def publish(folder: Path, xrays: int, environment: dict[str, str]) -> None:
    """Commit `xrays` xrays of each class to a git repository of its own."""
    random = np.random.default_rng(xrays)
    for label in ("normal", "covid"):
        for number in range(xrays):
            file = folder / "xrays" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), random.integers(0, 256, (64, 64), np.uint8))
    for command in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", f"--message={xrays} xrays")):
        subprocess.run(["git", *command], cwd=folder, env=environment, check=True)


def test_imported_data_stays_at_its_commit_until_it_is_updated(tmp_path: Path) -> None:
    for name in ("published", "workspace"):
        (tmp_path / name).mkdir()
    workspace = clone(tmp_path / "workspace")
    publish(tmp_path / "published", 10, workspace.environment)
    (workspace.path / FOLDER).parent.mkdir()
    workspace.run("dvc", "import", str(tmp_path / "published"), "xrays", "--out", FOLDER)
    workspace.compose("model=xraynet", "profile=smoke", "xray_data=folders", f"studies.xray.source.path={FOLDER}")
    workspace.run("dvc", "repro", "split@xray")
    assert len((workspace.path / paths.samples("xray")).read_text().splitlines()) == 1 + 20
    workspace.run("git", "add", "--all")
    assert f"{FOLDER}.dvc" in workspace.run("git", "diff", "--cached", "--name-only")
    assert not workspace.run("git", "ls-files", FOLDER)
    workspace.run("git", "commit", "--quiet", "--message=imported")

    publish(tmp_path / "published", 12, workspace.environment)
    assert "up to date" in workspace.run("dvc", "repro", "split@xray")
    assert "up to date" in workspace.run("cnnstudy", "repro", "split@xray")
    (tmp_path / "published").rename(tmp_path / "away")  # as of a server that doesn't answer
    assert "up to date" in workspace.run("cnnstudy", "repro", "split@xray")
    assert " stages would run: " in workspace.run("cnnstudy", "doctor")
    (tmp_path / "away").rename(tmp_path / "published")
    workspace.run("dvc", "update", f"{FOLDER}.dvc")
    workspace.run("dvc", "repro", "split@xray")
    assert len((workspace.path / paths.samples("xray")).read_text().splitlines()) == 1 + 24
    said = workspace.run("cnnstudy", "compare", "HEAD", "--all")
    assert "  xray: 20 images, then 24: 4 added, 20 other content" in said
    assert "  modified data/raw/xrays/" in said

    workspace.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    alone = Workspace(tmp_path / "clone", workspace.environment)
    said = alone.run("cnnstudy", "compare", "HEAD~1", "HEAD")
    assert "  xray: data/xray/samples.csv: not in DVC's cache; `dvc fetch --all-commits` fetches it" in said
    said = alone.run("cnnstudy", "repro", "split@xray", code=2)
    assert said.endswith("is not a folder; allowed: an existing folder; `dvc pull` brings this one\n")
    alone.run("dvc", "pull", FOLDER)
    alone.run("cnnstudy", "repro", "split@xray")
    assert len((alone.path / paths.samples("xray")).read_text().splitlines()) == 1 + 20


def test_a_source_that_is_gone_is_told_before_anything_is_touched(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    workspace, xrays = clone(tmp_path / "workspace"), tmp_path / "published/xrays"
    publish(tmp_path / "published", 10, workspace.environment)
    settings = "model=xraynet", "profile=smoke", "xray_data=folders"
    workspace.compose(*settings, f"studies.xray.source.path={xrays}")
    workspace.run("dvc", "repro", "split@xray")
    samples = (workspace.path / paths.samples("xray")).read_bytes()
    xrays.rename(tmp_path / "moved")
    line = f"error: params.yaml: studies.xray.source.path: '{xrays}' is not a folder; allowed: an existing folder"
    assert workspace.run("cnnstudy", "repro", "split@xray", code=2).splitlines() == [line]
    assert f"fix   parameters: {line.removeprefix('error: ')}" in workspace.run("cnnstudy", "doctor", code=1)
    workspace.compose(*settings, f"studies.xray.source.path={tmp_path}/moved", "studies.xray.split.val=0.4")
    (tmp_path / "moved").rename(xrays)
    said = workspace.run("dvc", "repro", "split@xray", code=255)
    assert f"error: params.yaml: studies.xray.source.path: '{tmp_path}/moved' is not a folder; allowed: " in said
    assert (workspace.path / paths.samples("xray")).read_bytes() == samples
