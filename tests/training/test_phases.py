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
    with too_little, phases.user_errors(phases.base(PARAMS, "alexnet")):
        tf.fill([1 << 48], 1.0)  # more than a process can address


def test_only_the_tuning_phase_freezes() -> None:
    faces = PARAMS.faces.model_copy(update={"tuned_frozen": "features"})
    params = PARAMS.model_copy(update={"faces": faces})
    assert [phase(params, "alexnet").frozen for phase in (phases.base, phases.tuned)] == ["none", "features"]
    assert phases.tuned(PARAMS, "alexnet").frozen == "none"


@pytest.mark.parametrize(
    ("phase", "key"),
    [
        (phases.base(PARAMS, "alexnet"), "training.faces.learning_rate"),
        (phases.tuned(PARAMS, "alexnet"), "faces.tuned_learning_rate"),
        (phases.base(PARAMS, "xray-aug0"), "training.xray.learning_rate"),
    ],
)
def test_a_loss_that_is_no_number_names_the_rate(phase: phases.Phase, key: str) -> None:
    line = rf"^params\.yaml: {key}: {phase.learning_rate} found, but the loss is nan; allowed: a smaller rate$"
    with pytest.raises(UserError, match=line), phases.user_errors(phase):
        raise FloatingPointError("the loss is nan")
