"""What stops a training is said with what to change."""

from pathlib import Path

import pytest
import tensorflow as tf

from cnnstudy.errors import UserError
from cnnstudy.params import read_params
from cnnstudy.training import phases

PARAMS = read_params(Path(__file__).parents[2] / "params.yaml")


def test_too_little_memory_says_for_what() -> None:
    too_little = pytest.raises(MemoryError, match=r"^[^\n]*OOM[^\n]*281474976710656[^\n]*$")
    with too_little, phases.user_errors(PARAMS, "alexnet"):
        tf.fill([1 << 48], 1.0)  # more than a process can address


@pytest.mark.parametrize(("run", "key"), [("alexnet", "training.faces"), ("xray-aug0", "training.xray")])
def test_a_loss_that_is_no_number_names_the_rate(run: str, key: str) -> None:
    rate = PARAMS.recipe_of(PARAMS.runs[run].study).learning_rate
    line = rf"^params\.yaml: {key}\.learning_rate: {rate} found, but the loss is nan; allowed: a smaller rate$"
    with pytest.raises(UserError, match=line), phases.user_errors(PARAMS, run):
        raise FloatingPointError("the loss is nan")
