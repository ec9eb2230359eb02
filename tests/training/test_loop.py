"""Training and prediction: learn, repeat to the bit, and write what was learnt."""

import dataclasses
import gc
import hashlib
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from training.small_net import (
    ADAM,
    RECALIBRATED,
    SCHEDULE,
    Make,
    bright_or_dark,
    built,
    sigmoid,
    small,
    trained,
    training,
    unkept,
)

from cnnstudy.data.samples import Dataset
from cnnstudy.training import inference, loop, pipeline
from cnnstudy.training.checkpoint import Checkpoint
from cnnstudy.workspace import files


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return bright_or_dark()


def test_a_net_learns_and_its_history_has_a_row_an_epoch(dataset: Dataset) -> None:
    data = training(dataset, rotation=20)
    model, history = trained(dataset, data)
    assert list(history.columns) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    arrays = inference.predict_splits(model, dataset, data, RECALIBRATED, "test")
    assert (arrays["test/recalibrated"].argmax(axis=1) == arrays["test/label"]).mean() > 0.9


def test_the_same_seed_gives_the_same_bits(dataset: Dataset, tmp_path: Path) -> None:
    files = []
    for attempt in ("first", "second"):
        model, history = trained(dataset, training(dataset, rotation=20))
        model.save_weights(tmp_path / f"{attempt}.weights.h5")
        files.append(((tmp_path / f"{attempt}.weights.h5").read_bytes(), history.to_csv()))
    assert files[0] == files[1]


def test_images_held_by_the_device_train_the_same_net(dataset: Dataset) -> None:
    sent = dataclasses.replace(SCHEDULE, augments_on_device=True)
    held = dataclasses.replace(sent, holds_images=True)
    for level in (0, 4):
        data = training(dataset, level, rotation=20)
        (one, first), (other, second) = (trained(dataset, data, schedule=each) for each in (sent, held))
        # The random transform of a rotated copy is rounded differently.
        np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-3 if level else 0)
        pairs = zip(one.get_weights(), other.get_weights(), strict=True)
        assert level or all(np.array_equal(*each) for each in pairs)


def test_a_device_that_holds_images_trains_with_unchanged_copies(dataset: Dataset) -> None:
    data = training(dataset, level=4)
    assert data.has_copies
    assert not data.is_random
    held = dataclasses.replace(SCHEDULE, augments_on_device=True, holds_images=True)
    (one, _), (other, _) = trained(dataset, data), trained(dataset, data, schedule=held)
    for weights, expected in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, expected)


@pytest.mark.parametrize("changes", [{"brightness": 0.3}, {"mixing": 0.4}])
def test_images_with_changed_pixels_are_sent_to_the_device(dataset: Dataset, changes: dict[str, float]) -> None:
    data = training(dataset, 0, 0, **changes)
    held = dataclasses.replace(SCHEDULE, holds_images=True)
    (one, _), (other, _) = trained(dataset, data), trained(dataset, data, schedule=held)
    for weights, expected in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, expected)


def test_several_steps_at_once_give_the_same_bits_and_history(dataset: Dataset) -> None:
    data = training(dataset, rotation=20)
    several = dataclasses.replace(SCHEDULE, steps_at_once=2)  # an epoch has three steps
    (one, first), (other, second) = (trained(dataset, data, schedule=each) for each in (SCHEDULE, several))
    for weights, expected in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, expected)
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_nothing_of_a_training_stays_when_it_is_over(dataset: Dataset, optimizer: str) -> None:
    trained(dataset, training(dataset), settings=ADAM.model_copy(update={"optimizer": optimizer}))
    keras.backend.clear_session()
    gc.collect()
    graphs = [each for each in gc.get_objects() if type(each).__name__ == "FuncGraph"]
    assert not [graph.name for graph in graphs if graph.name.startswith("one_step")]  # those hold weights and moments


def test_order_and_augmentation_follow_seed_and_epoch(dataset: Dataset) -> None:
    data = training(dataset, rotation=20)
    first, again, later, other = (
        [[part.numpy() for part in inputs] for inputs, _ in pipeline.training_batches(data, 16, *key)]
        for key in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert [len(images) for images, _ in first] == [14, 13, 13]
    for part in (0, 1):
        whole = np.concatenate([batch[part] for batch in first])
        np.testing.assert_array_equal(whole, np.concatenate([batch[part] for batch in again]))
        for different in (later, other):
            assert not np.array_equal(whole, np.concatenate([batch[part] for batch in different]))


def test_a_training_taken_up_sees_the_batches_that_are_left(dataset: Dataset) -> None:
    data = training(dataset, rotation=20)
    whole, left = (list(pipeline.training_batches(data, 16, 0, 0, first)) for first in (0, 2))
    assert len(left) == len(whole) - 2
    for (inputs, labels), (same, also) in zip(left, whole[2:], strict=True):
        for one, other in ((inputs[0], same[0]), (inputs[1], same[1]), (labels, also)):
            np.testing.assert_array_equal(one, other)


def test_every_training_image_is_seen_once_an_epoch_with_its_label(dataset: Dataset) -> None:
    data = training(dataset, level=4)
    batches = list(pipeline.training_batches(data, 64, 0, 0))
    means = np.concatenate([images.numpy().mean(axis=(1, 2, 3)) / 255 for (images, _), _ in batches])
    labels = np.concatenate([labels.numpy().ravel() for _, labels in batches])
    assert len(means) == len(data) == 5 * 40
    np.testing.assert_array_equal(labels, means > 0.46)
    expected = data.exact_copies(np.arange(len(data))).mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(np.sort(means), np.sort(expected), rtol=1e-4)


def test_no_epoch_s_end_waits_for_what_tunes_a_pipeline(dataset: Dataset) -> None:
    data = training(dataset)
    for batches in (pipeline.training_batches(data, 16, 0, 0), pipeline.labelled_batches(dataset, "val", 16)):
        assert batches.options().autotune.enabled is False


def test_predictions_cover_every_split_and_mode_and_the_model_keeps_the_one_that_counts(dataset: Dataset) -> None:
    data = training(dataset, level=1)
    for mode in ("moving", "recalibrated"):
        model, _ = trained(dataset, data)
        schedule = dataclasses.replace(SCHEDULE, batchnorm=mode)
        arrays = inference.predict_splits(model, dataset, data, schedule, "test")
        splits = ("train", "val", "test", "train_augmented")
        expected = {f"{split}/{kind}" for split in splits for kind in ("id", "label", mode)}
        assert set(arrays) == expected | {f"test/{kind}" for kind in ("moving", "recalibrated", "batch")}
        assert len(arrays[f"train_augmented/{mode}"]) == 80
        np.testing.assert_array_equal(arrays["test/id"], dataset.ids("test"))
        images = pipeline.scaled(dataset.images[dataset.ids("test")])
        np.testing.assert_allclose(model(images, training=False).numpy(), arrays[f"test/{mode}"], atol=1e-5)


def test_large_images_are_answered_fewer_at_once_and_alike(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    data = training(dataset)
    model, _ = trained(dataset, data)
    assert pipeline.inference_batch_size(model) == 100
    whole = inference.predict_splits(model, dataset, data, RECALIBRATED, "test")
    monkeypatch.setattr(pipeline, "LAYER_BYTES", 7 * 4 * 12 * 12 * 4)
    assert pipeline.inference_batch_size(model) == 7
    few = inference.predict_splits(model, dataset, data, RECALIBRATED, "test")
    assert whole.keys() == few.keys()
    for name in whole.keys() - {"test/moving"}:  # the first call has left others
        np.testing.assert_allclose(few[name], whole[name], atol=1e-5)


def test_what_it_answers_to_what_it_was_trained_on_is_in_its_images_order(dataset: Dataset) -> None:
    data = training(dataset, level=1)
    rows = data.rows.sample(frac=1, random_state=0).reset_index(drop=True)
    mixed = pipeline.training_set(dataset, rows, "train")
    model, _ = trained(dataset, mixed)
    arrays = inference.predict_splits(model, dataset, mixed, RECALIBRATED, "test")
    for name, images in (
        ("train", dataset.images[arrays["train/id"]]),
        ("train_augmented", mixed.exact_copies(np.arange(80))),
    ):
        answers = model(pipeline.scaled(images), training=False).numpy()
        np.testing.assert_allclose(answers, arrays[f"{name}/recalibrated"], atol=1e-5)
    np.testing.assert_array_equal(arrays["train_augmented/id"], rows["id"])


def test_a_sigmoid_output_becomes_two_probabilities(dataset: Dataset) -> None:
    data = training(dataset)
    model, _ = trained(dataset, data, sigmoid)
    arrays = inference.predict_splits(model, dataset, data, RECALIBRATED, "test")
    assert arrays["val/recalibrated"].shape == (40, 2)
    np.testing.assert_allclose(arrays["val/recalibrated"].sum(axis=1), 1, rtol=1e-6)
    assert (arrays["val/recalibrated"].argmax(axis=1) == arrays["val/label"]).mean() > 0.9


def test_a_loss_that_is_no_number_is_an_error(dataset: Dataset) -> None:
    model = built()
    model.layers[1].bias.assign(np.full(4, np.nan, np.float32))
    with pytest.raises(FloatingPointError, match="the loss is nan after epoch 1"):
        loop.fit(model, training(dataset), dataset, ADAM, loop.Schedule(16, 1, "none", 1), unkept())


def test_a_weight_that_the_last_update_makes_no_number_is_an_error(dataset: Dataset) -> None:
    """With all 40 images in one batch the only loss is that of the initial weights, which is a number."""
    wild, once = ADAM.model_copy(update={"learning_rate": float("inf")}), loop.Schedule(40, 1, "none", 1)
    with pytest.raises(FloatingPointError, match="a weight is not a number after epoch 1"):
        trained(dataset, training(dataset), settings=wild, schedule=once)


def test_a_net_that_diverges_in_its_last_epoch_is_not_taken_for_done_the_next_time(
    dataset: Dataset, tmp_path: Path
) -> None:
    wild = ADAM.model_copy(update={"learning_rate": 1e30})
    told: list[dict[str, float]] = []
    for _ in range(2):
        kept = Checkpoint(tmp_path / "kept.npz", 0, told.append)
        with pytest.raises(FloatingPointError, match="the loss is nan"):
            trained(dataset, training(dataset), small, kept, wild, schedule=loop.Schedule(16, 1, "none", 1))
    assert told == []


def test_batch_statistics_are_of_batches_as_large_as_in_training(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = trained(dataset, training(dataset))
    sizes: list[int] = []
    through = inference._infer

    def noted(infer: inference.Infer, batches: Iterable[np.ndarray]) -> np.ndarray:
        kept = list(batches)
        sizes.extend(map(len, kept))
        return through(infer, kept)

    monkeypatch.setattr(inference, "_infer", noted)
    inference._batch_statistics(model, dataset, np.arange(33), loop.Schedule(16, 1, "none", 1))
    assert sizes == [11, 11, 11]


def test_balanced_weights_make_every_class_weigh_the_same() -> None:
    labels = np.array([0] * 30 + [1] * 10 + [3] * 5)
    weights = loop.balanced_weights(labels)
    assert {label: weights[label] * (labels == label).sum() for label in weights} == {0: 15.0, 1: 15.0, 3: 15.0}


def test_class_weights_change_what_is_learnt(dataset: Dataset) -> None:
    learnt = []
    for weight in ("none", "balanced"):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
        rare = dataclasses.replace(dataset, labels=(np.arange(len(dataset.labels)) % 10 == 0).astype(np.int64))
        schedule = loop.Schedule(16, 1, weight, 1)
        loop.fit(model, training(rare), rare, ADAM, schedule, unkept())
        learnt.append(model(pipeline.scaled(rare.images[rare.ids("val")]), training=False).numpy()[:, 1].mean())
    assert learnt[1] > learnt[0]  # the rare class is answered more often


def test_the_bytes_of_predictions_follow_from_the_arrays_alone(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {"val/id": np.arange(3), "val/moving": np.full((3, 2), 0.5, np.float32)}
    files.write_arrays(tmp_path / "predictions.npz", arrays)
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as read:
        assert list(read) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array)
    digest = hashlib.md5((tmp_path / "predictions.npz").read_bytes(), usedforsecurity=False).hexdigest()
    assert digest == "d66b0d8814681d267387c63f976433d2"


def test_a_cosine_schedule_rises_and_falls_to_nothing() -> None:
    rate = loop._optimizer(ADAM.model_copy(update={"schedule": "cosine"}), 100)._learning_rate
    rates = [float(rate(step)) for step in range(101)]
    assert max(rates) == pytest.approx(ADAM.learning_rate)
    assert rates.index(max(rates)) == 10
    assert rates[0] == pytest.approx(ADAM.learning_rate / 20)
    assert rates[55] == pytest.approx(ADAM.learning_rate / 2, rel=1e-3)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert float(loop._optimizer(ADAM, 100).learning_rate) == pytest.approx(ADAM.learning_rate)


def test_a_stable_rate_rises_stays_and_falls_to_nothing() -> None:
    rate = loop._optimizer(ADAM.model_copy(update={"schedule": "warmup-stable-decay"}), 100)._learning_rate
    rates = np.array([float(rate(step)) for step in range(101)]) / ADAM.learning_rate
    assert rates[0] == pytest.approx(0.1)
    np.testing.assert_allclose(rates[9:61], 1, rtol=1e-5)
    assert rates[80] == pytest.approx(0.5)
    assert rates[100] == 0


@pytest.mark.parametrize("make", [small, sigmoid])
@pytest.mark.parametrize("smoothing", [0.0, pytest.param(0.1, marks=pytest.mark.slow)])
def test_a_net_learns_from_mixed_images(dataset: Dataset, make: Make, smoothing: float) -> None:
    data = training(dataset, mixing=0.3, cutout=0.2, brightness=0.1, contrast=0.1, crop=0.1)
    assert data.is_mixed
    settings = ADAM.model_copy(update={"label_smoothing": smoothing})
    model, history = trained(
        dataset, data, make, settings=settings, schedule=dataclasses.replace(RECALIBRATED, epochs=8)
    )
    assert list(history.columns) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    arrays = inference.predict_splits(model, dataset, data, RECALIBRATED, "test")
    assert (arrays["test/recalibrated"].argmax(axis=1) == arrays["test/label"]).mean() > 0.9
    assert "train_augmented/id" not in arrays


def test_a_validation_is_the_same_with_labels_as_shares(dataset: Dataset) -> None:
    still = ADAM.model_copy(update={"learning_rate": 1e-12})
    once = dataclasses.replace(SCHEDULE, epochs=1)
    plain, mixed = (
        trained(dataset, training(dataset, mixing=strength), settings=still, schedule=once)[1]
        for strength in (0.0, 0.3)
    )
    for name in ("val_accuracy", "val_loss"):
        assert mixed[name].item() == pytest.approx(plain[name].item(), rel=1e-4)
    assert mixed["loss"].item() != plain["loss"].item()


def test_mixed_images_of_balanced_classes(dataset: Dataset) -> None:
    rare = dataclasses.replace(dataset, labels=(np.arange(len(dataset.labels)) % 10 == 0).astype(np.int64))
    schedule = dataclasses.replace(SCHEDULE, epochs=1, class_weight="balanced")
    _, history = trained(rare, training(rare, mixing=0.3), schedule=schedule)
    assert np.isfinite(history["loss"]).all()
