"""The command line, as a user runs it."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tracking.finished_runs import finish

from cnnstudy import cli
from cnnstudy.config.compose import _text, composed
from cnnstudy.errors import UserError
from cnnstudy.tracking import store
from cnnstudy.workspace import paths

# Of SQLAlchemy, about MLflow's own tables.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with conf/ and a place for the store."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["cnnstudy", *arguments])
    cli.main()


def test_help_names_the_commands_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, cnnstudy.cli\n"
        "sys.argv = ['cnnstudy', '--help']\n"
        "try:\n    cnnstudy.cli.main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'mlflow', 'dvc', 'pandas', 'numpy', 'tensorflow', 'pydantic', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert all(command in done.stdout for command in ("params", "track", "ui"))


def test_params_composes_what_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    call(monkeypatch, "params")
    assert paths.PARAMS.read_bytes() == (ROOT / paths.PARAMS).read_bytes()


def test_params_takes_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    call(monkeypatch, "params", "model=mobilenet", "profile=smoke", "seeds=[1,2]")
    content = yaml.safe_load(paths.PARAMS.read_text())
    assert (content["models"], content["profile"]) == ({"mobilenet": "mobilenet"}, "smoke")
    assert content["seeds"] == [1, 2]
    assert list(content["runs"]) == ["mobilenet"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model=resnet", ("resnet", "mobilenet", "xraynet")),
        ("no_such_key=1", ("no_such_key",)),
        ("model=null", ("conf", "model=null", "must be a string")),
        ("profile=3", ("conf", "profile=3", "must be a string")),
        ("studies.faces.epochs=many", ("params.yaml", "studies.faces.epochs", "'many'", "integer")),
        ("batchnorm=frozen", ("params.yaml", "batchnorm", "'frozen'", "moving", "recalibrated")),
    ],
)
def test_a_wrong_override_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], override: str, words: tuple[str, ...]
) -> None:
    call(monkeypatch, "params")
    before = paths.PARAMS.read_text()
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, "params", override)
    assert end.value.code == 2
    assert paths.PARAMS.read_text() == before
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in words)


@pytest.mark.parametrize("content", [b"seeds: [1, 2", b"# Latin: \xe9", b"data_seed: -2\n"])
def test_what_is_wrong_in_conf_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (paths.CONF / "profile" / "quick.yaml").write_bytes(b"# @package _global_\nprofile: quick\n" + content)
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, "params")
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(("error: conf: ", "error: params.yaml: "))
    with pytest.raises(UserError, match=r"^conf: "):
        composed([])


def test_any_path_comes_through_an_override() -> None:
    for path in ("/data/faces", "/data/J\u00f6rg's (1), x=y", "~x", "a b ", "/a\\'b", "null", "12", '"q"'):
        found = composed([f"studies.faces.source.path={_text(path)}"])["studies.faces.source.path"]
        assert found == path


def test_an_empty_path_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, "predict", "--run", "alexnet", "")
    assert end.value.code == 2
    assert "'' found; allowed: an image, or a folder of images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("repro", "--jobs", "0"), "--jobs: 0 found"),
        (("ui", "--port", "99999"), "--port: 99999 found"),
        (("ui", "--port", "0"), "--port: 0 found"),
        (("app", "--port", "-1"), "--port: -1 found"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, *command)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {words}; allowed: ")


def test_a_port_that_is_taken_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as end:
        call(monkeypatch, "ui", "--port", str(taken.getsockname()[1]))
    assert end.value.code == 2
    assert "allowed: a port of this machine that is free" in capsys.readouterr().err


def test_outside_the_repository_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for command in ("params", "track", "ui"):
        with pytest.raises(SystemExit) as end:
            call(monkeypatch, command)
        assert end.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_track_records_what_is_there_and_ui_serves_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(("alexnet", "xray-aug4"))
    call(monkeypatch, "track")
    what = "runs, ablations and pages of HEAD, its experiments and the workspace"
    assert capsys.readouterr().out == f"MLflow has 5 of 5 {what}\n"
    served: list[tuple[Path, list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda *program: served.append(program))
    call(monkeypatch, "ui", "--port", "5123")
    ((program, arguments, environment),) = served
    assert program.name == "mlflow"
    assert arguments[1:] == ["ui", "--host=127.0.0.1", "--port=5123", "--workers=1"]
    assert environment["MLFLOW_BACKEND_STORE_URI"] == store.uri()
    said = capsys.readouterr().out.splitlines()
    for study in ("faces", "xray"):
        experiment = store.client().get_experiment_by_name(study)
        assert experiment
        page = f"http://127.0.0.1:5123/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
        more = {"nets": "", "curves": "&compareRunsMode=CHART", "ablations": ""}
        for view, each in more.items():
            assert f"  {study}, {view}: {page}&viewStateShareKey={view}{each}" in said


def test_track_fails_where_the_store_can_not_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(("alexnet",))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, "track")
    assert end.value.code == 1
    warning, no_git = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: alexnet: not recorded in MLflow")
    assert "not a git repository" in no_git


def test_a_server_has_its_own_ui(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, "ui")
    assert end.value.code == 2
    assert "MLFLOW_TRACKING_URI" in capsys.readouterr().err
