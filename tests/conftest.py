"""TensorFlow as the stages set it up, before any test imports it; the order of the tests; what is made for all."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

import cnnstudy  # noqa: F401  sets the threads of what the tests import

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# However busy the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Files that take a minute or more, the longest first, so that no process is left alone with one at the end.
LONG = (
    "test_pipeline",
    "test_nets_pipeline",
    "test_concurrency",
    "test_digits",
    "test_third_study",
    "test_cluster",
    "test_study",
    "test_search",
    "test_repro",
    "test_pretrained",
    "test_tracking_live",
    "test_kills",
    "test_doctor",
    "test_applications",
    "test_promote",
)


# What a test must leave as it was: the next one in its process starts others with it.
OURS = ("CNNSTUDY_", "DVC_")

Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(autouse=True, scope="module")
def _environment_is_left() -> Iterator[None]:
    before = _ours()
    yield
    assert _ours() == before


def _ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(OURS)}


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """A function that returns a named folder; the first process that asks for the folder fills it."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def made(name: str, fill: Callable[[Path], None]) -> Path:
        folder = root / name
        done = folder.with_suffix(".done")
        with FileLock(folder.with_suffix(".lock")):
            if not done.exists():
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def data_cache(once: Once) -> Path:
    """A DVC cache with the smoke profile's data, splits, audits and augmentation tables, which DVC then restores."""
    from workspace import clone

    def fill(folder: Path) -> None:
        workspace = clone(folder)
        workspace.compose("profile=smoke")
        workspace.run("dvc", "repro", "augment@faces", "augment@xray")

    return once("data", fill) / ".dvc/cache"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, and leave the order within a file."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print a failure at once where other processes run the tests: a run that is ended early has no summary."""
    if report.failed and hasattr(report, "node") and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.when} of {report.nodeid}\n{report.longreprtext[-6000:]}", flush=True)
