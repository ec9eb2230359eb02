"""Killed at random moments, a rebuild ends as one that nobody kills; `make soak` does more of the same."""

import random
from pathlib import Path

import pytest
import soak

pytestmark = pytest.mark.slow

RUNS = ("xray-aug0",)


def test_three_kills_change_nothing(tmp_path: Path) -> None:
    expected = soak.undisturbed(soak.prepare(tmp_path / "undisturbed", RUNS))
    soak.disturb(soak.prepare(tmp_path / "disturbed", RUNS), random.Random(0), 3, expected)
