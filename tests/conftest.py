"""TensorFlow as the stages set it up, before any test imports it; and the order of the tests."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# Files that take a minute or more, the longest first: of two workers none is then left alone with one at the end.
LONG = ("test_pipeline", "test_concurrency", "test_repro", "test_kills", "test_synth_faces")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, and leave the order within a file."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))
