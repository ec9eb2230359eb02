"""The project in a folder without git, of another user, or inside a larger repository."""

import shutil
import sys
from pathlib import Path

import pytest
from workspace import Workspace, clone


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "large/study").mkdir(parents=True)
    return clone(tmp_path / "large/study")


def test_a_download_without_git_is_told_how_to_become_a_repository(workspace: Workspace) -> None:
    shutil.rmtree(workspace.path / ".git")
    (line,) = workspace.run("cnnstudy", "repro", "check@faces", code=2).splitlines()
    assert line == (
        f"error: {workspace.path}: not a git repository, as after a download without git's history; "
        "`git init && git add --all && git commit --message=start` makes it one"
    )
    for command in (("compare", "HEAD"), ("experiments",), ("back",)):
        assert workspace.run("cnnstudy", *command, code=2).splitlines() == [line]
    assert f"fix   git: {line.removeprefix('error: ')}" in workspace.run("cnnstudy", "doctor", code=1)
    assert f"warning: {line.removeprefix('error: ')}; without it only " in workspace.run("cnnstudy", "track")
    workspace.run("git", "init", "--quiet")
    workspace.run("git", "add", "--all")
    workspace.run("git", "commit", "--quiet", "--message=start")
    workspace.run("cnnstudy", "repro", "check@faces")


def test_a_folder_of_another_user_is_told_what_git_wants(workspace: Workspace) -> None:
    workspace.environment["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"
    (line,) = workspace.run("cnnstudy", "repro", "check@faces", code=2).splitlines()
    remedy = f"`git config --global --add safe.directory '{workspace.path}'` lets git read it"
    assert line == f"error: {workspace.path}: owned by another user; {remedy}"
    for command in (("compare", "HEAD"), ("experiments",), ("back",)):
        assert workspace.run("cnnstudy", *command, code=2).splitlines() == [line]


def test_a_user_without_a_name_is_called_by_the_id(workspace: Workspace) -> None:
    nameless = "import getpass, pwd; pwd.getpwuid = lambda uid: {}[uid]; import sys; sys.argv[0] = 'cnnstudy'"
    run = f"{nameless}; from cnnstudy.cli import main; main()"
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        workspace.environment.pop(name, None)
    workspace.run(sys.executable, "-c", run, "repro", "check@faces")
    workspace.run(sys.executable, "-c", run, "experiments")


@pytest.mark.slow
def test_in_a_larger_repository_everything_is_recorded(workspace: Workspace) -> None:
    shutil.rmtree(workspace.path / ".git")
    large = Workspace(workspace.path.parent, workspace.environment)
    large.run("git", "init", "--quiet")
    (large.path / "notes.txt").write_text("other work")
    workspace.run("cnnstudy", "params", "model=xraynet", "profile=smoke")
    large.run("git", "add", "--all")
    large.run("git", "commit", "--quiet", "--message=start")
    workspace.run("cnnstudy", "repro", "evaluate@xray-aug0")
    large.run("git", "add", "--all")
    large.run("git", "commit", "--quiet", "--message=results")
    assert "MLflow has 1 of 1 runs" in workspace.run("cnnstudy", "track")
    assert "xray: " in workspace.run("cnnstudy", "compare", "HEAD~1", "HEAD")
    shutil.rmtree(workspace.path / "models")  # so that the record is HEAD's
    (workspace.path / "mlflow.db").unlink()
    said = workspace.run("cnnstudy", "track")
    assert "warning" not in said
    assert "MLflow has 1 of 1 runs" in said
