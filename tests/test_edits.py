"""Refusing the result of a stage whose dependencies were edited while it ran."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
STAGE = """
import sys
from pathlib import Path
from cnnstudy.workspace.stage import run_stage

def main():
    before = Path("src/own.py").read_text()
    for edit in Path("edit").read_text().split("||"):
        file, content = edit.split("|")
        if file:
            Path(file).write_text(content)
    Path("out").write_text(before)

run_stage(main)
"""
PARAMS = "runs:\n  a: {rate: 0.1, depth: 1}\n  b: {rate: 0.1}\n"
PIPELINE = f"""
stages:
  one:
    cmd: {sys.executable} src/stage.py
    deps: [src/stage.py, src/own.py]
    params: [runs.a]
    outs: [out]
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=folder, check=True)
    (folder / "src").mkdir()
    (folder / "src" / "stage.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(PIPELINE)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "content", "line"),
    [
        ("", "", ""),
        ("params.yaml", PARAMS.replace("b: {rate: 0.1}", "b: {rate: 0.2}"), ""),
        ("src/other.py", "edited", ""),
        ("data.csv", "edited", ""),
        ("params.yaml", f"# Said otherwise.\n{PARAMS}".replace("0.1, depth", "0.10, depth"), ""),
        (
            "params.yaml",
            PARAMS.replace("rate: 0.1, d", "rate: 0.2, d"),
            "params.yaml: runs.a.rate: 0.2 found; allowed: 0.1",
        ),
        ("params.yaml", PARAMS.replace("depth: 1", "batch: 2"), "params.yaml: runs.a.batch: 2 found; allowed: None"),
        ("params.yaml", "runs: {a", "params.yaml: not YAML: "),
        ("src/own.py", "edited", "src/own.py: edited meanwhile; allowed: the content"),
        ("src/own.py", "edited||dvc.yaml|stages: [", "dvc.yaml: edited meanwhile: "),
    ],
)
def test_an_edit_of_what_a_running_stage_depends_on_is_refused(
    repository: Path, file: str, content: str, line: str
) -> None:
    (repository / "dvc.yaml").write_text(PIPELINE)
    (repository / "params.yaml").write_text(PARAMS)
    (repository / "src" / "own.py").write_text("as it was")
    (repository / "edit").write_text(f"{file}|{content}")
    done = subprocess.run(
        ["dvc", "repro", "--force", "--no-run-cache"],
        cwd=repository, env=os.environ | {"PYTHONPATH": str(SRC)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    errors = [each for each in done.stderr.splitlines() if each.startswith("error: ")]
    if line:
        assert done.returncode
        assert len(errors) == 1
        assert errors[0].startswith(f"error: {line}")
    else:
        assert (done.returncode, errors) == (0, [])
        assert (repository / "out").read_text() == "as it was"


def test_outside_dvc_an_edit_is_not_refused(repository: Path) -> None:
    (repository / "params.yaml").write_text(PARAMS)
    (repository / "src" / "own.py").write_text("as it was")
    (repository / "edit").write_text("src/own.py|edited")
    environment = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    done = subprocess.run(
        [sys.executable, "src/stage.py"], cwd=repository, env=environment | {"PYTHONPATH": str(SRC)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (repository / "src" / "own.py").read_text() == "edited"
