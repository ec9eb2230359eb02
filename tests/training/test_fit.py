"""A training that cannot go on ends with a message that says what to change."""

import json
import re
from pathlib import Path

import built
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from synthetic_runs import params_with, write_samples

from cnnstudy.config.schema import Params
from cnnstudy.data import augment, samples
from cnnstudy.errors import UserError
from cnnstudy.training import environment, fit
from cnnstudy.workspace import edits, paths

PARAMS = built.params()


def test_too_little_memory_says_for_what() -> None:
    too_little = pytest.raises(MemoryError, match=r"^[^\n]*OOM[^\n]*281474976710656[^\n]*$")
    with too_little, fit.user_errors(fit.base(PARAMS, "alexnet")):
        tf.fill([1 << 48], 1.0)  # more than a process can address


def test_only_the_tuning_phase_and_a_pretrained_start_freeze() -> None:
    params = built.params(studies__faces__finetune__frozen="features")
    assert [phase(params, "alexnet").frozen for phase in (fit.base, fit.tuned)] == ["none", "features"]
    assert fit.tuned(PARAMS, "alexnet").frozen == "none"
    start = PARAMS.runs["alexnet"].model_dump() | {"weights": "start.keras", "frozen": 3}
    assert fit.base(built.params(runs={}, pretrained={"alexnet": start}), "alexnet").frozen == 3


def test_tuning_also_trains_on_a_share_of_train_of_every_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = params_with(("alexnet",), studies__faces__finetune__train_share=0.25)
    write_samples(params, "faces")
    splits = pd.read_csv(paths.splits("faces"))
    augment.make(params.policy_of("alexnet"), splits).to_csv(paths.policy("faces", "augmented"), index=False)
    dataset = samples.load("faces", params.studies["faces"].classes)
    data = fit.training_data(params, "alexnet", fit.tuned(params, "alexnet"), dataset)
    assert data.split == "tune"
    assert data.rows["split"].value_counts().to_dict() == {"tune": 40, "train": 24}
    assert not data.is_one_split
    assert (data.labels == dataset.labels[data.ids]).all()
    train = data.labels[data.rows["split"] == "train"]
    assert np.bincount(train).tolist() == [3] * 8
    again = fit.training_data(params, "alexnet", fit.tuned(params, "alexnet"), dataset)
    assert (data.ids == again.ids).all()
    base = fit.training_data(params, "alexnet", fit.base(params, "alexnet"), dataset)
    assert (base.split, base.is_one_split, len(base)) == ("train", True, 96)


@pytest.mark.parametrize(
    ("phase", "key"),
    [
        (fit.base(PARAMS, "alexnet"), "studies.faces.training.learning_rate"),
        (fit.tuned(PARAMS, "alexnet"), "studies.faces.finetune.learning_rate"),
        (fit.base(PARAMS, "xray-aug0"), "studies.xray.training.learning_rate"),
    ],
)
def test_a_loss_that_is_no_number_names_the_rate(phase: fit.Phase, key: str) -> None:
    line = (
        rf"^params\.yaml: {re.escape(key)}: {phase.learning_rate} found, but the loss is nan; allowed: a smaller rate$"
    )
    with pytest.raises(UserError, match=line), fit.user_errors(phase):
        raise FloatingPointError("the loss is nan")


def test_answers_that_are_no_numbers_are_refused_in_the_mode_that_counts() -> None:
    whole, broken = np.ones((2, 2), np.float32), np.array([[0.5, 0.5], [np.nan, np.nan]], np.float32)
    arrays: dict[str, np.ndarray] = {"val/id": np.arange(2), "val/recalibrated": whole, "val/moving": broken}
    fit.refuse_nan(arrays, "recalibrated")
    with pytest.raises(FloatingPointError, match="some predictions on val are not numbers"):
        fit.refuse_nan(arrays, "moving")


def test_a_seed_that_may_differ_is_said_by_the_process_that_ends_the_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    is_edited = True

    def train(params: Params, run: str, phase: fit.Phase, seed: int, folder: Path, report: object) -> None:
        (folder / "done" / f"seed{seed}").mkdir(parents=True)
        environment.allow_nondeterminism()

    def check() -> None:
        if is_edited:
            raise UserError("edited meanwhile")

    monkeypatch.setattr(fit, "_key", lambda *_: "key")
    monkeypatch.setattr(fit, "_train_seed", train)
    monkeypatch.setattr(fit, "_write_layers", lambda *_: None)
    monkeypatch.setattr(edits, "check", check)
    tf.config.experimental.enable_op_determinism()
    try:
        with pytest.raises(UserError, match="edited meanwhile"):
            fit.train_phase(PARAMS, "alexnet", fit.base(PARAMS, "alexnet"), lambda *_: None)
        tf.config.experimental.enable_op_determinism()  # as another process begins
        is_edited = False
        fit.train_phase(PARAMS, "alexnet", fit.base(PARAMS, "alexnet"), lambda *_: None)
    finally:
        environment.allow_nondeterminism()
    assert json.loads(paths.facts("alexnet", "base").read_text())["deterministic"] is False


def test_seeds_trained_elsewhere_are_taken_with_the_facts_of_their_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params, trained = built.params(seeds=[0, 1]), []

    def train(params: Params, run: str, phase: fit.Phase, seed: int, folder: Path, report: object) -> None:
        trained.append(seed)
        done = folder / "done" / f"seed{seed}"
        done.mkdir(parents=True)
        (done / "weights").write_text(str(len(trained)))

    monkeypatch.setattr(fit, "_key", lambda *_: "key")
    monkeypatch.setattr(fit, "_train_seed", train)
    monkeypatch.setattr(fit, "_write_layers", lambda *_: None)
    given = tmp_path / "given"
    given.mkdir()
    fit.train_apart(params, "alexnet", fit.base(params, "alexnet"), 1, given, lambda *_: None)
    assert sorted(path.name for path in given.iterdir()) == ["facts-seed1.json", "seed1"]
    assert not paths.checkpoints().exists()
    facts = json.loads((given / "facts-seed1.json").read_text())
    (given / "facts-seed1.json").write_text(json.dumps(facts | {"gpus": "H9", "deterministic": False}))
    monkeypatch.setenv("CNNSTUDY_SEEDS", str(given))
    fit.train_phase(params, "alexnet", fit.base(params, "alexnet"), lambda *_: None)
    assert trained == [1, 0]
    folder = paths.phase("alexnet", "base")
    assert [(folder / f"seed{seed}/weights").read_text() for seed in (0, 1)] == ["2", "1"]
    found = json.loads(paths.facts("alexnet", "base").read_text())
    assert found == facts | {"gpus": f"{facts['gpus']} and H9", "deterministic": False}
