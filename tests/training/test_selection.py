"""Which epoch is kept, when a training stops early, and what the labels are smoothed to."""

import dataclasses
import math

import keras
import numpy as np
import pytest
from training.small_net import (
    ADAM,
    SCHEDULE,
    Make,
    bright_or_dark,
    built,
    doubtful,
    sigmoid,
    small,
    trained,
    training,
    unkept,
)

from cnnstudy.config.schema import BatchNormMode, Training
from cnnstudy.data.samples import Dataset
from cnnstudy.training import inference, loop, selection
from cnnstudy.training.selection import Score

# Steps so long that a net is soon too sure of itself.
LONG = ADAM.model_copy(update={"learning_rate": 0.3})


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return bright_or_dark()


def of(settings: Training, **changes: object) -> Training:
    return settings.model_copy(update=changes)


def test_a_higher_accuracy_is_better_then_a_lower_loss_then_the_earlier_epoch() -> None:
    first = Score(1, 0.5, 1.0)
    assert first.is_better(None)
    assert Score(2, 0.6, 9.0).is_better(first)
    assert Score(2, 0.5, 0.9).is_better(first)
    for worse in (Score(2, 0.5, 1.0), Score(2, 0.4, 0.1), Score(2, 0.5, 1.1), Score(2, 0.5, math.nan)):
        assert not worse.is_better(first)


def test_patience_counts_epochs_since_the_best() -> None:
    best = Score(3, 0.5, 1.0)
    assert [selection.is_over(epochs, best, 2) for epochs in (3, 4, 5, 6)] == [False, False, True, True]
    assert not selection.is_over(100, best, 0)
    assert not selection.is_over(0, None, 1)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["moving", "recalibrated"])
@pytest.mark.parametrize("make", [small, sigmoid])
def test_the_best_epochs_weights_are_kept(make: Make, mode: BatchNormMode) -> None:
    schedule, dataset = dataclasses.replace(SCHEDULE, batchnorm=mode), doubtful()
    data = training(dataset)
    model, history = trained(dataset, data, make, settings=of(LONG, selection="best"), schedule=schedule)
    assert len(history) == 6
    order = np.lexsort((history["epoch"], history["selection_loss"], -history["selection_accuracy"]))
    best = int(history["epoch"].iloc[order[0]])
    assert best < 6
    shorter = dataclasses.replace(schedule, epochs=best)
    there, _ = trained(dataset, data, make, settings=LONG, schedule=shorter)
    for kept, weight in zip(model.get_weights(), there.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weight)


def test_epochs_are_compared_in_the_mode_that_counts(dataset: Dataset) -> None:
    data = training(dataset)
    _, moving = trained(dataset, data, settings=of(ADAM, patience=9))
    assert moving["selection_accuracy"].tolist() == moving["val_accuracy"].tolist()
    assert moving["selection_loss"].tolist() == moving["val_loss"].tolist()
    schedule = dataclasses.replace(SCHEDULE, batchnorm="recalibrated")
    model, batch = trained(dataset, data, settings=of(ADAM, patience=9), schedule=schedule)
    assert batch[list(moving.columns[:5])].equals(moving[list(moving.columns[:5])])
    # One batch holds the whole split, so these are the statistics of all its images.
    everything = dataclasses.replace(schedule, batch_size=40)
    arrays = inference.predict_splits(model, dataset, data, everything, "val")
    right = arrays["val/batch"][np.arange(40), arrays["val/label"]]
    assert batch["selection_accuracy"].iloc[-1] == (right > 0.5).mean()
    assert batch["selection_loss"].iloc[-1] == pytest.approx(-np.log(right).mean(), rel=1e-4)


def test_without_selection_and_patience_nothing_is_compared(dataset: Dataset) -> None:
    _, history = trained(dataset, training(dataset))
    assert list(history.columns) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["last", "best"])
def test_a_training_without_patience_left_stops(kept: str) -> None:
    schedule, dataset = dataclasses.replace(SCHEDULE, epochs=20, batchnorm="recalibrated"), doubtful()
    data = training(dataset)
    model, history = trained(dataset, data, settings=of(LONG, patience=2, selection=kept), schedule=schedule)
    order = np.lexsort((history["epoch"], history["selection_loss"], -history["selection_accuracy"]))
    best = int(history["epoch"].iloc[order[0]])
    assert len(history) == best + 2 < 20
    shorter = dataclasses.replace(schedule, epochs=best if kept == "best" else best + 2)
    there, _ = trained(dataset, data, settings=LONG, schedule=shorter)
    for weight, other in zip(model.get_weights(), there.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.slow
@pytest.mark.parametrize("make", [small, sigmoid])
def test_smoothed_labels_are_learnt_and_losses_are_told_without(dataset: Dataset, make: Make) -> None:
    data = training(dataset)
    still = of(ADAM, learning_rate=1e-12)
    one = dataclasses.replace(SCHEDULE, epochs=1)
    _, plain = trained(dataset, data, make, settings=still, schedule=one)
    _, smoothed = trained(dataset, data, make, settings=of(still, label_smoothing=0.4), schedule=one)
    for column in plain:
        assert smoothed[column].item() == pytest.approx(plain[column].item(), rel=1e-5)
    long = dataclasses.replace(SCHEDULE, epochs=8, batchnorm="recalibrated")
    surest = []
    for smoothing in (0.0, 0.4):
        model, _ = trained(dataset, data, make, settings=of(LONG, label_smoothing=smoothing), schedule=long)
        arrays = inference.predict_splits(
            model, dataset, data, dataclasses.replace(long, batchnorm="recalibrated"), "val"
        )
        surest.append(np.median(arrays["train/recalibrated"].max(axis=1)))
    assert surest[0] > 0.95
    assert surest[1] == pytest.approx(0.8, abs=0.08)  # what 0.4 spread over two classes leaves


@pytest.mark.parametrize(
    ("make", "outputs", "labels", "targets"),
    [
        (small, [[0.9, 0.1], [0.3, 0.7]], [[0.0], [0.0]], [[0.95, 0.05], [0.95, 0.05]]),
        (sigmoid, [[0.1], [0.7]], [[0.0], [1.0]], [[0.05], [0.95]]),
    ],
)
def test_a_smoothed_loss_by_hand(
    make: Make, outputs: list[list[float]], labels: list[list[float]], targets: list[list[float]]
) -> None:
    loss = loop._loss(built(make), 0.1, is_mixed=False)
    assert not isinstance(loss, str)
    found = np.mean(loss(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(outputs)))
    p, t = np.array(outputs), np.array(targets)
    by_hand = t * np.log(p) if p.shape[1] > 1 else t * np.log(p) + (1 - t) * np.log(1 - p)
    assert found == pytest.approx(-by_hand.sum(axis=1).mean(), rel=1e-5)


def test_class_weights_and_smoothing_go_together(dataset: Dataset) -> None:
    rare = dataclasses.replace(dataset, labels=(np.arange(len(dataset.labels)) % 10 == 0).astype(np.int64))
    schedule = dataclasses.replace(SCHEDULE, epochs=1, class_weight="balanced")
    still = of(ADAM, learning_rate=1e-12)
    plain, smoothed = (
        trained(rare, training(rare), settings=of(still, label_smoothing=smoothing), schedule=schedule)[1]
        for smoothing in (0.0, 0.3)
    )
    assert smoothed["loss"].item() == pytest.approx(plain["loss"].item(), rel=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_frozen_features_stay_as_they_are(dataset: Dataset, policy: str) -> None:
    model = built(policy=policy, frozen="features")
    before = model.get_weights()
    schedule = dataclasses.replace(SCHEDULE, policy=policy)
    loop.fit(model, training(dataset), dataset, ADAM, schedule, unkept())
    same = [np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True)]
    assert same == [True] * 6 + [False] * 2  # convolution and BatchNorm; the dense layer
