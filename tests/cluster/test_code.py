"""The code that reaches workers: what git would add, but neither sources nor dvc.lock, and nothing here changes."""

import os
import subprocess
from pathlib import Path

import pytest

from cnnstudy.cluster import code
from cnnstudy.errors import UserError


def git(*arguments: str) -> str:
    author = {f"GIT_{role}_{field}": "a@localhost" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}
    done = subprocess.run(["git", *arguments], env=os.environ | author, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    for name in ("kept.py", "edited.py", "dvc.lock", "data/raw/README.md"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    Path(".gitignore").write_text("/ignored\n")
    git("add", "--all")
    git("commit", "--quiet", "--message=start")
    Path("edited.py").write_text("edited")
    Path("new.py").write_text("new")
    Path("ignored").write_text("secret")
    Path("data/raw/face.jpg").write_bytes(b"private")
    return tmp_path


def test_edits_travel_but_no_ignored_files_and_no_sources(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = git("status", "--porcelain"), git("for-each-ref"), git("rev-parse", "HEAD")
    sent = code.snapshot()
    assert (git("status", "--porcelain"), git("for-each-ref"), git("rev-parse", "HEAD")) == before
    assert code.snapshot().commit == sent.commit
    target = tmp_path_factory.mktemp("worker")
    (target / "bundle").write_bytes(sent.bundle)
    os.chdir(target)
    git("init", "--quiet", "code")
    os.chdir("code")
    git("fetch", "--quiet", "../bundle", f"{sent.reference}:refs/x")
    git("checkout", "--quiet", "--detach", sent.commit)
    assert sorted(path.name for path in Path().iterdir()) == [".git", ".gitignore", "edited.py", "kept.py", "new.py"]
    assert Path("edited.py").read_text() == "edited"
    assert sent.prefix == ""


def test_a_folder_of_a_larger_repository_says_where_it_is(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "study").mkdir()
    (repository / "study/params.yaml").write_text("seeds: [0]\n")
    monkeypatch.chdir(repository / "study")
    assert code.snapshot().prefix == "study/"


def test_an_ignored_folder_of_sources_is_no_error(repository: Path) -> None:
    git("rm", "--quiet", "-r", "--cached", "data/raw")
    Path(".gitignore").write_text("/data\n")
    assert code.snapshot().bundle


def test_data_among_the_code_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "LARGEST", 10_000)
    Path("large").write_bytes(os.urandom(20_000))
    with pytest.raises(UserError, match=r"MB of files to send to workers found; allowed: at most .*`dvc add`"):
        code.snapshot()
