"""Loss and metrics of nets that predict values, where labels or values are missing."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from training.small_net import ADAM, RECALIBRATED, SCHEDULE, bright_or_dark, small, training, unkept

from cnnstudy.data.samples import NO_CLASS, Dataset
from cnnstudy.evaluation import values
from cnnstudy.models import assemble
from cnnstudy.training import inference, loop, objectives
from cnnstudy.training.objectives import Objective

NAN = float("nan")


def numbers(loss: Objective, targets: list[list[float]], outputs: list[list[float]]) -> float:
    return float(loss(tf.constant(targets), tf.constant(outputs))[0])


def test_the_mean_squared_error_is_over_what_is_there() -> None:
    loss = Objective(2, "mse", 1.0, 0.0)
    assert numbers(loss, [[0, 1.0, NAN], [0, 0.0, 0.5]], [[0.5, 9.0], [0.0, 0.0]]) == pytest.approx(
        np.mean([(0.5**2 + 0) / 2, 0.5**2])
    )
    assert numbers(loss, [[0, NAN, NAN]], [[0.5, 9.0]]) == 0


def test_the_concordance_is_that_of_the_evaluation() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.uniform(-1, 1, (2, 64, 2)).astype(np.float32)
    truth[::4, 0] = NAN
    targets = np.hstack([np.zeros((64, 1), np.float32), truth])
    both = [objectives.Objective(2, name, 1.0, 0.0) for name in ("ccc", "mse")]
    ccc, mse = (float(loss(tf.constant(targets), tf.constant(predicted))[0]) for loss in both)
    expected = np.mean([values.ccc(values.sums_of(truth[:, i], predicted[:, i]).sum(axis=1)) for i in (0, 1)])
    assert ccc - mse == pytest.approx(1 - expected, abs=1e-5)
    assert objectives.measured(both[0], targets, predicted)["ccc"] == pytest.approx(expected, abs=1e-5)


def test_the_cross_entropy_leaves_out_images_of_no_class() -> None:
    loss = Objective(1, "mse", 2.0, 0.0)
    found = numbers(loss, [[1, 0.0], [NO_CLASS, 0.5]], [[0.2, 0.8, 0.0], [0.5, 0.5, 0.0]])
    assert found == pytest.approx(-np.log(0.8) + 2 * np.mean([0, 0.25]), abs=1e-6)
    smoothed = dataclasses.replace(loss, smoothing=0.2)
    assert numbers(smoothed, [[1, 0.0]], [[0.2, 0.8, 0.0]]) == pytest.approx(
        -0.9 * np.log(0.8) - 0.1 * np.log(0.2), abs=1e-6
    )
    weighted = dataclasses.replace(loss, weights=(1.0, 3.0))
    assert numbers(weighted, [[1, 0.0]], [[0.2, 0.8, 0.0]]) == pytest.approx(-3 * np.log(0.8), abs=1e-6)


def test_a_sigmoid_is_the_probability_of_the_second_class() -> None:
    loss = Objective(1, "mse", 1.0, 0.0)
    assert numbers(loss, [[1, 0.0], [0, 0.0]], [[0.8, 0.0], [0.3, 0.0]]) == pytest.approx(
        -np.mean(np.log([0.8, 0.7])), abs=1e-6
    )


@pytest.mark.parametrize("loss", ["mse", "ccc"])
def test_gradients_are_numbers_even_for_constants_and_gaps(loss: str) -> None:
    outputs = tf.Variable([[0.5, 0.5, 0.1], [0.5, 0.5, 0.1]])
    with tf.GradientTape() as tape:
        value = Objective(1, loss, 1.0, 0.0)(tf.constant([[NO_CLASS, NAN], [0, NAN]], tf.float32), outputs)
    assert np.isfinite(tape.gradient(value, outputs).numpy()).all()


@pytest.fixture(scope="module")
def valued() -> Dataset:
    """Dark and bright noise whose value is its brightness; a fifth has no class, another no value."""
    dataset = bright_or_dark()
    brightness = dataset.images.mean(axis=(1, 2, 3)) / 127.5 - 1
    found = np.stack([brightness, -brightness], axis=1).astype(np.float32)
    found[1::5] = NAN
    labels = np.where(np.arange(len(found)) % 5 == 0, NO_CLASS, dataset.labels)
    return dataclasses.replace(dataset, labels=labels, values=found, value_names=("light", "dark"))


def net(has_classes: bool) -> keras.Model:
    keras.backend.clear_session()
    design = assemble.Design("small", (), 12, 2, values=2, value_activation="tanh", has_classes=has_classes)
    return assemble._with_values(small(), design)


@pytest.mark.parametrize("has_classes", [False, True])
@pytest.mark.parametrize("schedule", [SCHEDULE, RECALIBRATED])
def test_a_net_learns_values(valued: Dataset, has_classes: bool, schedule: loop.Schedule) -> None:
    settings = ADAM.model_copy(update={"value_loss": "ccc", "learning_rate": 0.03, "selection": "best"})
    keras.utils.set_random_seed(1)
    model = assemble.faster(net(has_classes))
    plan = dataclasses.replace(schedule, epochs=12)
    history = loop.fit(model, training(valued), valued, settings, plan, unkept())
    columns = {"epoch", "ccc", "loss", "val_ccc", "val_loss", "selection_ccc", "selection_loss"}
    assert set(history) == columns | ({"accuracy", "val_accuracy"} if has_classes else set())
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["ccc"].iloc[-1] > 0.6
    found = inference.predict_splits(model, valued, training(valued), plan, "test")
    truth, predicted = found["test/values"], found[f"test/{plan.batchnorm}"]
    assert predicted.shape == (40, 2 + 2 * has_classes)
    has = np.isfinite(truth[:, 0])
    assert np.corrcoef(truth[has, 0], predicted[has, -2])[0, 1] > 0.8
    if has_classes:
        np.testing.assert_allclose(predicted[:, :2].sum(axis=1), 1, atol=1e-5)


def test_balanced_weights_leave_out_images_of_no_class(valued: Dataset) -> None:
    settings = ADAM.model_copy(update={"value_loss": "mse"})
    weights = loop.balanced_weights(valued.labels)
    assert set(weights) == {0, 1}
    objective = objectives.objective(valued, settings, weights)
    assert objective is not None
    assert objective.weights == (weights[0], weights[1])
    assert objectives.objective(bright_or_dark(), settings, None) is None


def test_the_loss_is_no_scalar(valued: Dataset) -> None:
    """Keras divides a loss by the number of replicas unless it is a scalar."""
    loss = Objective(2, "mse", 1.0, 0.0)
    targets = tf.constant(valued.targets(np.arange(4)))
    assert loss(targets, tf.zeros((4, 2))).shape == (1,)
