"""Differences between two states of the data; test_pipeline.py compares two commits."""

import re
from pathlib import Path

import pandas as pd
import pytest
from workspace import ROOT, Workspace, clone

from cnnstudy.commands.compare import ASPECTS, NAME, difference
from cnnstudy.workspace import paths


def table(*rows: str) -> pd.DataFrame:
    """A table of samples, each given as 'path content label split'."""
    return pd.DataFrame([["synthetic", *row.split()] for row in rows], columns=[*NAME, *ASPECTS], dtype=str)


BEFORE = table("a x happy train", "b y sad val", "c z sad train")


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (BEFORE.iloc[::-1], "the same 3 images"),
        (table("a x happy train", "b y sad val"), "3 images, then 2: 1 removed"),
        (table(*["a x happy train", "b y sad val", "c z sad train", "d x sad val"]), "3 images, then 4: 1 added"),
        (table("a v happy train", "b w sad val", "c z sad train"), "3 images: 2 other content"),
        (
            table("a x sad train", "b y sad train", "e z sad train"),
            "3 images: 1 added, 1 removed, 1 another label, 1 another split",
        ),
        (table(), "3 images, then 0: 3 removed"),
    ],
)
def test_samples_are_the_same_where_their_source_calls_them_so(after: pd.DataFrame, words: str) -> None:
    assert difference(BEFORE, after) == words


def test_what_is_not_in_the_cache_is_not_taken_for_the_same(workspace: Workspace) -> None:
    lock = (ROOT / paths.LOCK).read_text()
    (hashed,) = set(re.findall(r"path: plots/runs/xray-aug0/figures\n +hash: md5\n +md5: (\w+)", lock))
    for text in (lock, lock.replace(hashed, hashed[::-1])):
        (workspace.path / paths.LOCK).write_text(text)
        workspace.run("git", "add", "--all")
        workspace.run("git", "commit", "--quiet", "--message=lock")
    lines = workspace.run("cnnstudy", "compare", "HEAD~1", "HEAD").splitlines()
    assert lines[1:4] == ["Data", "  faces: the same images", "  xray: the same images"]
    folder = paths.run_plots("xray-aug0") / "figures"
    assert f"  modified {folder}/ (files not in DVC's cache)" in lines
    assert lines[-1] == "  1 folder: not in DVC's cache; `dvc fetch --all-commits` fetches it from a remote"


def test_a_renamed_run_is_deleted_and_added(workspace: Workspace) -> None:
    texts = {path: (ROOT / path).read_text() for path in (paths.LOCK, paths.PARAMS)}
    for name in ("xray-aug0", "xray-zero"):
        for path, text in texts.items():
            (workspace.path / path).write_text(text.replace("xray-aug0", name))
        workspace.run("git", "add", "--all")
        workspace.run("git", "commit", "--quiet", "--allow-empty", f"--message={name}")
    lines = workspace.run("cnnstudy", "compare", "--all", "HEAD~1", "HEAD").splitlines()
    assert any(line.startswith("  deleted models/xray-aug0/base/") for line in lines)
    assert any(line.startswith("  added models/xray-zero/base/") for line in lines)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return clone(tmp_path)


def test_an_unknown_commit_is_one_line_and_exit_code_2(workspace: Workspace) -> None:
    refused = workspace.run("cnnstudy", "compare", "HEAD", "nowhere", code=2)
    assert refused == "error: nowhere: no such commit; allowed: a branch, tag, commit or experiment\n"
