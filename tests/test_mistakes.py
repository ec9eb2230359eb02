"""Users' mistakes: each is answered in one line before anything takes long."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from workspace import Workspace, clone

from cnnstudy.config.messages import nearest
from cnnstudy.workspace import paths

ROOT = Path(__file__).parents[1]
STAGES = sorted(path.name for path in (ROOT / "src").glob("*.py"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return clone(tmp_path_factory.mktemp("clone"))


@pytest.mark.parametrize("script", STAGES)
def test_a_stage_without_the_environment_says_so(script: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"DVC_STAGE": script}
    command = [sys.executable, "-S", f"src/{script}", "faces"]  # without the packages that are installed
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == f"error: {sys.executable} lacks the project's packages; run `. .venv/bin/activate` first"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("faces.epoch=3", "studies.faces.epochs"),
        ("studies.faces.epoch=3", "studies.faces.epochs"),
        ("studies.xray.trainng.optimizer=adam", "studies.xray.training.optimizer"),
        ("+studies.faces.epoch=3", "epochs"),
        ("modle=mobilenet", "model"),
        ("seds=[1]", "seeds"),
        ("model=mobilnet", "mobilenet"),
    ],
)
def test_of_a_misspelt_key_the_nearest_is_named(workspace: Workspace, override: str, key: str) -> None:
    (line,) = workspace.run("cnnstudy", "params", override, code=2).splitlines()
    assert line.startswith("error: ")
    assert f"; nearest: {key}" in line
    assert line.partition("; nearest: ")[2].partition(";")[0] == key


@pytest.mark.parametrize(("old", "new"), [("\n    epochs:", "\n    epoch:"), ("\nseeds:", "\nseed:")])
def test_check_names_it_too(workspace: Workspace, old: str, new: str) -> None:
    text = (workspace.path / "params.yaml").read_text()
    (workspace.path / "params.yaml").write_text(text.replace(old, new, 1))
    try:
        (line,) = workspace.run("cnnstudy", "check", code=2).splitlines()
    finally:
        (workspace.path / "params.yaml").write_text(text)
    assert line.startswith("error: params.yaml: ")
    assert line.endswith(f"; nearest: {old.strip().rstrip(':')}")


def test_of_a_word_that_is_like_none_nothing_is_named() -> None:
    assert nearest("xyzzy", ["epochs", "seeds"]) == ""


@pytest.mark.parametrize("command", ["check", "repro"])
def test_an_absent_folder_is_noticed_before_any_stage(workspace: Workspace, command: str) -> None:
    workspace.compose("faces_data=fer2013")
    (line,) = workspace.run("cnnstudy", command, code=2).splitlines()
    workspace.compose()
    assert line.startswith("error: params.yaml: studies.faces.source.path: 'data/raw/fer2013' is not a folder; allowed")
    assert not (workspace.path / "dvc.lock").exists()


def test_a_second_rebuild_is_refused(workspace: Workspace) -> None:
    lock = workspace.path / paths.REBUILD_LOCK
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        (line,) = workspace.run("cnnstudy", "repro", code=2).splitlines()
        (other,) = workspace.run("cnnstudy", "back", code=2).splitlines()
    assert line == other == "error: another `cnnstudy repro` is at work here; allowed: one at a time"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--run", "alexnet", "/nope.jpg"),
            "/nope.jpg: no such file or folder; allowed: an image",
        ),
        (("--run", "alexnet", "empty"), "empty: no image found"),
        (("--run", "alexnt", "Makefile"), "'alexnt' found"),
        (("--run", "alexnet", "Makefile"), "models/alexnet/tuned/seed0/model.weights.h5: no such file; "),
    ],
)
def test_a_prediction_of_nothing_or_by_nothing_imports_nothing(
    workspace: Workspace, arguments: tuple[str, ...], words: str
) -> None:
    (workspace.path / "empty").mkdir(exist_ok=True)
    code = (
        "import sys, cnnstudy.cli\n"
        f"sys.argv = ['cnnstudy', 'predict', *{arguments!r}]\n"
        "try:\n    cnnstudy.cli.main()\n"
        "finally:\n    assert not {'tensorflow', 'numpy'} & sys.modules.keys()\n"
    )
    said = workspace.run(sys.executable, "-c", code, code=2)
    (line,) = said.splitlines()
    assert line.startswith("error: ")
    assert words in line
