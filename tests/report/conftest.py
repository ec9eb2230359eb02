"""The page of a small workspace, made once for all tests of the folder."""

from collections.abc import Iterator

import pytest
from reported import make_workspace, render

from cnnstudy.params import Params


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Params]:
    """Parameters of evaluated runs in the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("reported"))
        yield make_workspace()


@pytest.fixture(scope="module")
def html(workspace: Params) -> str:
    """The page of `workspace`."""
    return render(workspace)
