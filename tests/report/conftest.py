"""The page of a small workspace, made once for all tests of the folder, whichever process they run in."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from reported import make_workspace, render

from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params

PAGE = Path("page.html")


@pytest.fixture(scope="session")
def made(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A workspace with its page, which no test may change."""

    def fill(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            PAGE.write_text(render(make_workspace()), encoding="utf-8")

    return once("reported", fill)


@pytest.fixture(scope="module")
def workspace(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Params]:
    """Parameters of evaluated runs in the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shutil.copytree(made, tmp_path_factory.mktemp("reported") / "copy"))
        yield read_params()


@pytest.fixture(scope="module")
def html(workspace: Params) -> str:
    """The page of `workspace`."""
    return PAGE.read_text(encoding="utf-8")
