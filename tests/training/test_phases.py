"""What stops a training is said with what to change."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.training import environment, phases
from cnnstudy.workspace import edits, paths

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


def test_answers_that_are_no_numbers_are_refused_in_the_mode_that_counts() -> None:
    whole, broken = np.ones((2, 2), np.float32), np.array([[0.5, 0.5], [np.nan, np.nan]], np.float32)
    arrays: dict[str, np.ndarray] = {"val/id": np.arange(2), "val/recalibrated": whole, "val/moving": broken}
    phases.refuse_nan(arrays, "recalibrated")
    with pytest.raises(FloatingPointError, match="of the answers on val some are no numbers"):
        phases.refuse_nan(arrays, "moving")


def test_a_seed_that_may_differ_is_said_by_the_process_that_ends_the_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    is_edited = True

    def train(params: Params, run: str, phase: phases.Phase, seed: int, folder: Path, report: object) -> None:
        (folder / "done" / f"seed{seed}").mkdir(parents=True)
        environment.allow_nondeterminism()

    def check() -> None:
        if is_edited:
            raise UserError("edited meanwhile")

    monkeypatch.setattr(phases, "_key", lambda *_: "key")
    monkeypatch.setattr(phases, "_train_seed", train)
    monkeypatch.setattr(edits, "check", check)
    tf.config.experimental.enable_op_determinism()
    try:
        with pytest.raises(UserError, match="edited meanwhile"):
            phases.train_phase(PARAMS, "alexnet", phases.base(PARAMS, "alexnet"), lambda *_: None)
        tf.config.experimental.enable_op_determinism()  # as another process begins
        is_edited = False
        phases.train_phase(PARAMS, "alexnet", phases.base(PARAMS, "alexnet"), lambda *_: None)
    finally:
        environment.allow_nondeterminism()
    assert json.loads(paths.facts("alexnet", "base").read_text())["deterministic"] is False
