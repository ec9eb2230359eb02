"""Thresholds are those of their rule, and what they give on other images has intervals that cover the truth."""

import numpy as np
import pytest

from cnnstudy.evaluation.intervals import accuracy_interval
from cnnstudy.evaluation.operating import Rate, measures, predictive_value, threshold

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
PROBABILITIES = np.array([0.1, 0.2, 0.4, 0.6, 0.3, 0.5, 0.7, 0.8, 0.9])


@pytest.mark.parametrize(("least", "expected"), [(1.0, 0.3), (0.81, 0.3), (0.8, 0.5), (0.6, 0.7), (0.01, 0.9)])
def test_the_threshold_is_the_highest_that_keeps_a_sensitivity(least: float, expected: float) -> None:
    assert threshold(LABELS, PROBABILITIES, least) == expected
    assert (PROBABILITIES[LABELS == 1] >= expected).mean() >= least


def test_youden_s_threshold_has_the_largest_index_and_is_the_highest_such() -> None:
    candidates = {
        value: (PROBABILITIES[LABELS == 1] >= value).mean() - (PROBABILITIES[LABELS == 0] >= value).mean()
        for value in PROBABILITIES
    }
    best = max(candidates.values())
    assert threshold(LABELS, PROBABILITIES, None) == max(value for value, index in candidates.items() if index == best)
    tied = np.array([0.5, 0.5, 0.5, 0.6])
    assert threshold(np.array([0, 0, 1, 1]), tied, None) == 0.6


@pytest.mark.parametrize("label", [0, 1])
def test_without_one_of_the_classes_there_is_no_threshold(label: int) -> None:
    assert threshold(np.full(3, label), np.array([0.1, 0.5, 0.9]), 0.9) is None


def test_measures_are_means_over_seeds_of_what_the_thresholds_give() -> None:
    seeds = [PROBABILITIES, PROBABILITIES[::-1]]
    found = measures(LABELS, seeds, [0.5, 0.35], np.arange(9), 0.1)
    correct = [(seeds[0] >= 0.5) == LABELS, (seeds[1] >= 0.35) == LABELS]
    sensitivity = np.mean([each[LABELS == 1].mean() for each in correct])
    specificity = np.mean([each[LABELS == 0].mean() for each in correct])
    assert found["operating_sensitivity"] == pytest.approx(sensitivity)
    assert found["operating_specificity"] == pytest.approx(specificity)
    assert found["operating_threshold"] == pytest.approx(0.425)
    positive = 0.1 * sensitivity
    assert found["operating_ppv"] == pytest.approx(positive / (positive + 0.9 * (1 - specificity)))
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        low, value, high = (found[f"operating_{name}{end}"] for end in ("_low", "", "_high"))
        assert 0 <= low <= value <= high <= 1


def test_images_of_one_class_have_no_predictive_values() -> None:
    found = measures(np.ones(4, int), [np.array([0.2, 0.6, 0.7, 0.9])], [0.5], np.arange(4), 0.1)
    assert found["operating_sensitivity"] == 0.75
    assert not {"operating_specificity", "operating_ppv", "operating_npv"} & found.keys()


def test_certain_rates_have_bounds() -> None:
    certain = Rate(1.0, 0.8, 1.0)
    assert predictive_value(certain, certain, 0.1).value == predictive_value(certain, certain, 0.1).high == 1
    assert 0 < predictive_value(certain, certain, 0.1).low < 0.5
    never = Rate(0.0, 0.0, 0.2)
    assert predictive_value(never, certain, 0.1).low == predictive_value(never, certain, 0.1).value == 0


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.8, 0.9), (0.95, 0.5)])
@pytest.mark.parametrize("prevalence", [0.02, 0.5])
def test_the_interval_of_a_predictive_value_covers_it(
    sensitivity: float, specificity: float, prevalence: float
) -> None:
    rng, count, covered = np.random.default_rng(0), 100, 0
    wrong = (1 - prevalence) * (1 - specificity)
    truth = prevalence * sensitivity / (prevalence * sensitivity + wrong)

    def rate(right: int) -> Rate:
        return Rate(right / count, *accuracy_interval([right / count], count))

    for _ in range(400):
        drawn = [rate(rng.binomial(count, each)) for each in (sensitivity, specificity)]
        found = predictive_value(drawn[0], drawn[1], prevalence)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 400 <= 0.98
