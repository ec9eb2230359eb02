"""Metrics of values, against hand-computed numbers and independent implementations."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import root_mean_squared_error

from cnnstudy.evaluation import values
from cnnstudy.evaluation.predictions import ValuePredictions

MODE = "moving"
NAMES = ("valence", "arousal")


def number(found: values.Metrics, name: str) -> float:
    value = found[name]
    assert isinstance(value, float)
    return value


def scored(name: str, truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(values.SCORES[name](values.sums_of(truth, predicted).sum(axis=1)))


def predictions(
    truth: np.ndarray, predicted: np.ndarray, labels: np.ndarray | None = None, likely: np.ndarray | None = None
) -> ValuePredictions:
    labels = np.zeros(len(truth), int) if labels is None else labels
    likely = np.empty((len(truth), 0)) if likely is None else likely
    return ValuePredictions(np.arange(len(truth)), labels, truth, {MODE: predicted}, {MODE: likely})


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (200, 2))
    return truth, np.clip(0.7 * truth + rng.normal(0.1, 0.2, truth.shape), -1, 1)


def test_scores_by_hand() -> None:
    truth, predicted = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 3.0, 3.0])
    assert scored("rmse", truth, predicted) == pytest.approx(np.sqrt(2 / 4))
    # Means 1.5 and 2, variances 1.25 and 1, covariance 1.
    assert scored("ccc", truth, predicted) == pytest.approx(2 / (1.25 + 1 + 0.25))
    assert scored("pcc", truth, predicted) == pytest.approx(1 / np.sqrt(1.25))
    # The truth 0 has no sign, and is not above 0.
    assert scored("sagr", truth, predicted) == 0.75
    assert scored("sagr_positive", np.array([0.0, -1.0, 1.0, 1.0]), np.array([-1.0, 0.0, 1.0, -1.0])) == 0.75


@pytest.mark.parametrize("place", [0, 1])
def test_scores_against_other_implementations(pair: tuple[np.ndarray, np.ndarray], place: int) -> None:
    truth, predicted = (each[:, place] for each in pair)
    assert scored("rmse", truth, predicted) == pytest.approx(root_mean_squared_error(truth, predicted))
    assert scored("pcc", truth, predicted) == pytest.approx(pearsonr(truth, predicted).statistic)
    lin = 2 * np.cov(truth, predicted, ddof=0)[0, 1] / (
        truth.var() + predicted.var() + (truth.mean() - predicted.mean()) ** 2
    )  # fmt: skip
    assert scored("ccc", truth, predicted) == pytest.approx(lin)
    pooled = np.concatenate([truth, predicted])
    expected = np.mean([(first - second) ** 2 for first, second in combinations(pooled, 2)])
    assert scored("alpha", truth, predicted) == pytest.approx(1 - ((truth - predicted) ** 2).mean() / expected)


def test_a_constant_prediction_has_no_correlation(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth = pair[0]
    found = values.value_metrics([predictions(truth, np.full(truth.shape, 0.2))], MODE, NAMES, np.arange(200))
    assert found["valence_ccc"] == pytest.approx(0, abs=1e-9)
    assert "valence_pcc" not in found
    assert found["valence_spread"] == pytest.approx(0, abs=1e-6)


def test_missing_values_count_nowhere(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = pair
    holes = truth.copy()
    holes[::3, 0] = np.nan
    found = values.value_metrics([predictions(holes, predicted)], MODE, NAMES, np.arange(200))
    assert (found["valence_n"], found["arousal_n"]) == (133, 200)
    kept = np.isfinite(holes[:, 0])
    assert found["valence_ccc"] == pytest.approx(scored("ccc", truth[kept, 0], predicted[kept, 0]))
    assert found["ccc"] == pytest.approx(np.mean([number(found, f"{name}_ccc") for name in NAMES]))


def test_intervals_hold_the_score_and_widen_for_groups(pair: tuple[np.ndarray, np.ndarray]) -> None:
    seeds = [predictions(*pair)]
    alone = values.value_metrics(seeds, MODE, NAMES, np.arange(200))
    grouped = values.value_metrics(seeds, MODE, NAMES, np.repeat(np.arange(10), 20))
    for found in (alone, grouped):
        for name in ("ccc", "valence_rmse"):
            assert number(found, f"{name}_low") < number(found, name) < number(found, f"{name}_high")
    twice = values.value_metrics([predictions(pair[0].repeat(2, 0), pair[1].repeat(2, 0))], MODE, NAMES, np.arange(400))
    together = values.value_metrics(
        [predictions(pair[0].repeat(2, 0), pair[1].repeat(2, 0))], MODE, NAMES, np.arange(200).repeat(2)
    )
    assert width(twice) < 0.8 * width(together)  # copies tell nothing new
    assert width(together) == pytest.approx(width(alone))


def width(found: values.Metrics) -> float:
    return number(found, "ccc_high") - number(found, "ccc_low")


def test_a_better_training_is_found(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = pair
    worse = predicted + np.random.default_rng(1).normal(0, 0.3, truth.shape)
    trainings = {
        "good": [predictions(truth, predicted)],
        "bad": [predictions(truth, worse)],
        "same": [predictions(truth, predicted)],
    }
    first, second = values.ccc_differences(trainings, MODE, np.arange(200), [("good", "bad"), ("good", "same")])
    assert first.significant
    assert 0 < first.low < first.difference < first.high
    assert not second.significant
    assert second.difference == 0


def test_baselines(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = pair
    labels = (truth[:, 0] > 0).astype(int)
    likely = np.eye(2)[labels]
    seed = predictions(truth, predicted, labels, likely)
    found = values.baseline_metrics([seed], seed, MODE, NAMES, np.arange(200))
    assert found["train_mean_valence_rmse"] == pytest.approx(truth[:, 0].std())
    assert found["positive_arousal_sagr"] == pytest.approx((truth[:, 1] > 0).mean())
    means = np.array([truth[labels == label, 0].mean() for label in (0, 1)])
    assert found["class_means_valence_ccc"] == pytest.approx(scored("ccc", truth[:, 0], means[labels]))
    # The classes say nothing of the arousal.
    assert found["class_means_arousal_ccc"] == pytest.approx(0, abs=0.1)
    assert found["is_ccc_gain_significant"] is True


def test_a_net_of_values_alone_has_no_class_means(pair: tuple[np.ndarray, np.ndarray]) -> None:
    seed = predictions(*pair)
    found = values.baseline_metrics([seed], seed, MODE, NAMES, np.arange(200))
    assert not any(name.startswith(("class_means", "ccc_gain")) for name in found)


def test_few_values_have_bounds_too(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Some resamplings have none of the five images with a value."""
    truth, predicted = pair[0][:60].copy(), pair[1][:60]
    truth[5:, 0] = np.nan
    found = values.value_metrics([predictions(truth, predicted)], MODE, NAMES, np.arange(60))
    assert all(np.isfinite(value).all() for value in found.values())


def test_without_bounds_the_scores_are_the_same(pair: tuple[np.ndarray, np.ndarray]) -> None:
    seeds = [predictions(*pair)]
    bounded, plain = (values.value_metrics(seeds, MODE, NAMES, np.arange(200), each) for each in (True, False))
    assert plain == {name: value for name, value in bounded.items() if not name.endswith(("_low", "_high"))}
