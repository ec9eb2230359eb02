"""`cnnstudy back` puts the workspace back to the last commit, whatever an experiment left there."""

import os
import subprocess
from pathlib import Path

import pytest

from cnnstudy.commands import back
from cnnstudy.errors import UserError
from cnnstudy.workspace import dvc

pytestmark = pytest.mark.slow

YAML = """stages:
  make:
    foreach: ${names}
    do:
      cmd: mkdir -p out && cp params.yaml out/${key}
      params: [value]
      outs: ["out/${key}"]
  sum:
    cmd: cat params.yaml > metrics/summary.json
    params: [value]
    metrics: [metrics/summary.json: {cache: false}]
"""


def run(*command: str) -> str:
    """Run a command here, which must end well."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository with a commit of two stages' results, which an experiment has then changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@localhost")
    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    for folder in ("src", "conf", "metrics"):
        Path(folder).mkdir()
    Path("src/stage.py").write_text("")
    Path("dvc.yaml").write_text(YAML)
    Path("params.yaml").write_text("value: 1\nnames: {a: 0, b: 0}\n")
    Path(".gitignore").write_text("/out\n")
    run("dvc", "repro", "--quiet")
    run("git", "add", ".")
    run("git", "commit", "--quiet", "--message", "start")


def vary() -> None:
    """Change the workspace as `dvc exp run` does: other parameters, with one stage more and one less than HEAD."""
    Path("params.yaml").write_text("value: 2\nnames: {b: 0, c: 0}\n")
    run("dvc", "repro", "--quiet")


@pytest.mark.usefixtures("_repository")
def test_everything_is_as_in_the_last_commit(capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("out/a").read_bytes()
    vary()
    Path("out/a").unlink()
    assert "dvc.lock" in run("git", "status", "--porcelain")
    back.put_back()
    assert run("git", "status", "--porcelain") == ""
    assert Path("out/a").read_bytes() == Path("out/b").read_bytes() == before
    assert not Path("out/c").exists()
    assert not dvc.plan([]).needs
    said = capsys.readouterr().out
    assert said.startswith("Restored from the last commit: dvc.lock, metrics/summary.json, params.yaml; their ")
    kept = said.strip().rstrip("`").rpartition(" ")[2]
    assert run("git", "show", f"{kept}:params.yaml").startswith("value: 2")


@pytest.mark.usefixtures("_repository")
def test_what_git_has_of_an_output_stays() -> None:
    """The stage is not among those of the last commit's parameters."""
    Path("out/kept").write_text("value")
    run("git", "add", "--force", "out/kept")
    run("git", "commit", "--quiet", "--message", "kept")
    Path("params.yaml").write_text("value: 1\nnames: {a: 0, b: 0, kept: 0}\n")
    back.put_back()
    assert Path("out/kept").read_text() == "value"


@pytest.mark.usefixtures("_repository")
def test_an_applied_experiment_goes_too(capsys: pytest.CaptureFixture[str]) -> None:
    run("dvc", "exp", "run", "--temp", "--quiet", "--name", "other", "--set-param", "value=3")
    run("dvc", "exp", "apply", "other")
    assert "value: 3" in Path("params.yaml").read_text()
    back.put_back()
    assert run("git", "status", "--porcelain") == ""
    assert Path("out/a").read_text() == Path("params.yaml").read_text()
    back.put_back()  # a second time there is nothing to do, and nothing said
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.usefixtures("_repository")
def test_what_the_cache_lacks_is_left_to_be_made() -> None:
    vary()
    subprocess.run(["rm", "-r", ".dvc/cache"], check=True)
    back.put_back()
    assert run("git", "status", "--porcelain") == ""
    assert "make@a" in dvc.plan([]).needs


@pytest.mark.usefixtures("_repository")
@pytest.mark.parametrize("name", ["src/stage.py", "src/new.py", "dvc.yaml"])
def test_edits_of_code_are_refused_and_nothing_is_touched(name: str) -> None:
    vary()
    Path(name).write_text("# edited\n" if name.endswith(".py") else YAML + "# edited\n")
    with pytest.raises(UserError, match=rf"^{name}: edited; allowed: the last commit's, `git stash` "):
        back.put_back()
    assert Path("params.yaml").read_text().startswith("value: 2")
    assert Path("out/c").exists()


def test_without_a_commit_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^\.dvc: no such folder; "):
        back.back()
    run("git", "init", "--quiet")
    with pytest.raises(UserError, match=r"^git ls-tree: .*; allowed: a repository with such a commit$"):
        back.put_back()
