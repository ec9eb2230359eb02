"""Intervals against scikit-style references and cases worked by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from cnnstudy.data.groups import independent_images
from cnnstudy.evaluation.intervals import accuracy_interval, differences, gap_interval


@pytest.mark.parametrize(("correct", "n"), [(38, 40), (0, 20), (20, 20), (131, 400)])
def test_one_seed_has_wilsons_interval(correct: int, n: int) -> None:
    expected = binomtest(correct, n).proportion_ci(method="wilson")
    assert accuracy_interval([correct / n], n) == pytest.approx((expected.low, expected.high))


def test_seeds_widen_the_interval_as_students_does() -> None:
    seeds = [0.80, 0.84, 0.88]
    low, high = accuracy_interval(seeds, 10**9)  # so many images that only the seeds matter
    expected = ttest_1samp(seeds, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-4)
    few = accuracy_interval(seeds, 100)
    assert few[0] < low
    assert few[1] > high


def test_images_of_groups_that_say_the_same_count_as_groups() -> None:
    each = np.random.default_rng(0).random(50) < 0.7
    assert independent_images(each[None], np.arange(50)) == 50
    assert independent_images(np.repeat(each, 4)[None], np.repeat(np.arange(50), 4)) == pytest.approx(50, rel=0.02)
    assert independent_images(np.ones((2, 200), bool), np.repeat(np.arange(50), 4)) == 50


def test_groups_that_say_nothing_of_each_other_count_as_images() -> None:
    correct = np.tile([True, False], 100)[None]
    assert independent_images(correct, np.repeat(np.arange(100), 2)) == pytest.approx(200, rel=0.02)


@pytest.mark.parametrize(
    ("patients", "xrays", "accuracy"),
    [(60, (4, 4), 0.7), (30, (1, 20), 0.95), (50, (20, 20), 0.98), (20, (10, 10), 0.95), (50, (1, 20), 0.9)],
)
def test_the_interval_of_patients_holds_the_accuracy_as_often_as_it_says(
    patients: int, xrays: tuple[int, int], accuracy: float
) -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(400):
        groups = np.repeat(np.arange(patients), rng.integers(xrays[0], xrays[1] + 1, patients))
        right = rng.beta(1.5 * accuracy, 1.5 * (1 - accuracy), patients)  # X-rays of a patient alike, by 0.4
        correct = rng.random(len(groups)) < right[groups]
        low, high = accuracy_interval([correct.mean()], independent_images(correct[None], groups))
        held.append(low <= accuracy <= high)
    assert 0.92 < np.mean(held) < 0.995


def test_one_wrong_answer_does_not_narrow_the_interval_of_patients() -> None:
    groups = np.repeat(np.arange(50), 20)
    right = np.ones((1, 1000), bool)
    wrong = right.copy()
    wrong[0, 0] = False
    assert independent_images(right, groups) == 50
    assert 50 < independent_images(wrong, groups) < 100


def test_an_interval_stays_between_0_and_1() -> None:
    low, high = accuracy_interval([0.2, 1.0], 10)
    assert (low, high) == (0, 1)


def runs(n: int, *accuracies: float, seeds: int = 1) -> dict[str, np.ndarray]:
    """Answers that are right independently of each other."""
    rng = np.random.default_rng(1)
    return {f"run{i}": rng.random((seeds, n)) < accuracy for i, accuracy in enumerate(accuracies)}


def test_a_large_difference_is_significant_and_a_small_one_is_not() -> None:
    large, small = differences(runs(200, 0.6, 0.9, 0.61), np.arange(200), [("run1", "run0"), ("run2", "run0")])
    assert large.significant
    assert large.low > 0
    assert large.low < large.difference < large.high
    assert not small.significant


def test_a_pair_turned_round_has_the_other_sign() -> None:
    there, back = differences(runs(100, 0.6, 0.9), np.arange(100), [("run1", "run0"), ("run0", "run1")])
    assert back.difference == -there.difference
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_the_bootstrap_comes_near_to_the_normal_interval_of_pairs() -> None:
    correct = runs(400, 0.7, 0.8)
    (pair,) = differences(correct, np.arange(400), [("run1", "run0")])
    each = correct["run1"][0].astype(float) - correct["run0"][0]
    half = 1.96 * each.std(ddof=1) / 20
    assert (pair.low, pair.high) == pytest.approx((each.mean() - half, each.mean() + half), abs=0.004)


def test_images_of_one_patient_count_once() -> None:
    correct = {name: np.repeat(values, 10, axis=1) for name, values in runs(20, 0.5, 0.8).items()}
    (apart,) = differences(correct, np.arange(200), [("run1", "run0")])
    (together,) = differences(correct, np.repeat(np.arange(20), 10), [("run1", "run0")])
    assert together.high - together.low > 2.5 * (apart.high - apart.low)


def test_images_of_few_patients_are_no_difference_however_many() -> None:
    first = np.ones((1, 200), bool)
    second = first.copy()
    second[0, :60] = False
    pairs = [("first", "second")]
    (apart,) = differences({"first": first, "second": second}, np.arange(200), pairs)
    (together,) = differences({"first": first, "second": second}, np.repeat(np.arange(40), 5) // 3, pairs)
    assert apart.significant
    assert not together.significant


def test_seeds_that_scatter_make_a_difference_uncertain() -> None:
    steady = np.tile(np.arange(100) < 80, (3, 1))
    scattered = np.array([np.arange(100) < k for k in (60, 95, 99)])
    (pair,) = differences({"a": steady, "b": scattered}, np.arange(100), [("b", "a")])
    assert not pair.significant
    assert pair.high - pair.low > 0.5


def test_more_pairs_need_a_larger_difference() -> None:
    correct = runs(300, 0.7, 0.79)
    pairs = [("run1", "run0")]
    one = differences(correct, np.arange(300), pairs)[0]
    many = differences(correct, np.arange(300), pairs * 400)[0]
    assert one.significant
    assert not many.significant
    assert (one.low, one.high) == (many.low, many.high)


def test_few_images_that_differ_are_no_difference_however_one_sided() -> None:
    first = np.ones((1, 200), bool)
    second = first.copy()
    second[0, :6] = False
    pairs = [("first", "second")] * 10
    assert not differences({"first": first, "second": second}, np.arange(200), pairs)[0].significant
    second[0, :12] = False
    assert differences({"first": first, "second": second}, np.arange(200), pairs)[0].significant


def test_the_interval_of_a_gap_covers_it() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        both = []
        for accuracy, n in ((0.9, 200), (0.8, 100)):
            mean = float(rng.binomial(n, accuracy)) / n
            low, high = accuracy_interval([mean], n)
            both.append({"accuracy": mean, "accuracy_low": low, "accuracy_high": high})
        low, high = gap_interval(both[0], both[1])
        assert low < both[0]["accuracy"] - both[1]["accuracy"] < high
        covered += low <= 0.1 <= high
    assert 930 <= covered <= 970
