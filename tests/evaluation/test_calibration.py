"""Calibration: the error is as defined, known temperatures are found, and chance is what simulations give."""

import numpy as np
import pytest

from cnnstudy.evaluation import calibration, scores
from cnnstudy.evaluation.confidence import FEWEST, at_temperature, squared_distances
from cnnstudy.evaluation.intervals import mean_interval


def drawn(n: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels drawn from a net's true probabilities, and probabilities as of logits times `sharpness`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 4))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (true.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return labels, at_temperature(true, 1 / sharpness)


def test_the_error_is_the_gap_of_confidence_and_accuracy_in_bins() -> None:
    # 30 predictions, two for each of the 15 bins: all with confidence 0.8, of which the first 15 are correct.
    probabilities = np.tile([0.8, 0.2], (30, 1))
    labels = np.repeat([0, 1], 15)
    # 7 bins of correct, 7 of wrong predictions, and one with both: |0.8 - 1|, |0.8 - 0| and |0.8 - 0.5|.
    expected = (7 * 0.2 + 7 * 0.8 + 0.3) / 15
    assert scores.calibration_error(labels, probabilities) == pytest.approx(expected)
    found = calibration.reliability(labels, probabilities)
    assert found.images.tolist() == [2] * 15
    np.testing.assert_allclose(found.confidence, 0.8)
    np.testing.assert_allclose(found.accuracy, [1] * 7 + [0.5] + [0] * 7)


def test_the_brier_score_is_the_squared_distance() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]], np.float32)
    assert scores.brier(np.array([0, 1]), probabilities) == pytest.approx(((0.09 + 0.04 + 0.01) + 2) / 2)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0, 4.0])
def test_a_known_temperature_is_found_and_corrects_the_error(sharpness: float) -> None:
    labels, probabilities = drawn(4000, sharpness)
    temperature = calibration.temperature(labels, probabilities)
    assert temperature
    assert temperature == pytest.approx(sharpness, rel=0.1)
    after = at_temperature(probabilities, temperature)
    assert scores.calibration_error(labels, after) < calibration.chance(labels, after)
    assert (scores.calibration_error(labels, probabilities) > calibration.chance(labels, probabilities)) is (
        sharpness != 1
    )
    np.testing.assert_array_equal(after.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(after.sum(axis=1), 1)


def test_few_images_fit_no_temperature() -> None:
    labels, probabilities = drawn(FEWEST, 3.0)
    assert calibration.temperature(labels[1:], probabilities[1:]) is None
    assert (calibration.temperature(labels, probabilities) or 0) > 1.5


def test_a_sigmoid_is_scaled_as_its_logit() -> None:
    one = 1 / (1 + np.exp(-3.0))
    (found,) = at_temperature(np.array([[1 - one, one]]), 2.0)
    assert found[1] == pytest.approx(1 / (1 + np.exp(-1.5)))


def test_certain_and_wrong_predictions_have_a_temperature() -> None:
    labels = np.arange(200) % 2
    probabilities = np.eye(2)[np.where(np.arange(200) < 180, labels, 1 - labels)]
    temperature = calibration.temperature(labels, probabilities)
    assert temperature
    assert at_temperature(probabilities, temperature).max(axis=1).mean() == pytest.approx(0.9, abs=0.01)


def test_calibrated_predictions_exceed_chance_in_a_twentieth_of_samples() -> None:
    above = 0
    for seed in range(200):
        labels, probabilities = drawn(150, 1.0, seed)
        above += scores.calibration_error(labels, probabilities) > calibration.chance(labels, probabilities)
    assert 2 <= above <= 20


def test_the_interval_of_the_brier_score_covers_it() -> None:
    labels, probabilities = drawn(100_000, 1.5, 1)
    values = squared_distances(labels, probabilities)
    covered = 0
    for start in range(0, 20_000, 100):
        low, high = mean_interval(values[None, start : start + 100], np.arange(100))
        covered += low <= values.mean() <= high
    assert 180 <= covered <= 198


def test_measures_are_means_over_seeds() -> None:
    labels, probabilities = drawn(300, 2.0)
    seeds = [probabilities, at_temperature(probabilities, 2.0)]
    found = calibration.measures(labels, seeds, [2.0, 1.0], np.arange(300))
    assert found["temperature"] == 1.5
    assert found["brier_scaled"] == pytest.approx(scores.brier(labels, seeds[1]))
    assert found["brier_low"] < np.mean([scores.brier(labels, each) for each in seeds]) < found["brier_high"]
    confidence = np.mean([each.max(axis=1).mean() for each in seeds])
    assert found["confidence_gap"] == pytest.approx(confidence - scores.accuracy(labels, probabilities))
    unscaled = calibration.measures(labels, seeds, [], np.arange(300))
    assert unscaled == {name: value for name, value in found.items() if name in unscaled}
    assert not [name for name in unscaled if name == "temperature" or name.endswith("_scaled")]
