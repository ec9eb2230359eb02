"""Averaged and thinned ROC curves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from cnnstudy.evaluation.curve import area, mean_curve, thin
from cnnstudy.evaluation.predictions import Predictions
from cnnstudy.evaluation.roc import split_curves

# Few distinct values, so that ties occur.
scores = st.lists(st.integers(0, 6), min_size=12, max_size=12)


def curve(score: list[int]) -> np.ndarray:
    return np.column_stack(roc_curve(np.arange(12) % 2, score)[:2])


@given(st.lists(scores, min_size=1, max_size=4))
def test_the_area_of_a_mean_is_the_mean_of_the_areas(many: list[list[int]]) -> None:
    curves = [curve(each) for each in many]
    mean = mean_curve(curves)
    assert area(mean) == pytest.approx(np.mean([area(each) for each in curves]))
    assert mean[0].tolist() == [0, 0]
    assert mean[-1].tolist() == [1, 1]
    assert (np.diff(mean, axis=0) >= -1e-12).all()


def test_thinning_keeps_the_ends_and_nearly_the_area() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(4000) % 2
    whole = np.column_stack(roc_curve(truth, truth + rng.normal(size=4000))[:2])
    few = thin(whole, 100)
    assert len(whole) > 1000
    assert len(few) <= 100
    assert few[[0, -1]].tolist() == [[0, 0], [1, 1]]
    assert area(few) == pytest.approx(area(whole), abs=1e-3)


def test_curves_of_a_split_have_scikit_learns_areas() -> None:
    labels = np.arange(60) % 3
    seeds = [
        Predictions(labels, labels, {"moving": np.random.default_rng(seed).dirichlet(np.ones(3), 60)})
        for seed in (1, 2)
    ]
    areas = {name: area(each) for name, each in split_curves(seeds, "moving", ("a", "b", "c")).items()}
    truth = np.eye(3)[labels]
    for average in ("micro", "macro"):
        expected = [roc_auc_score(truth, seed.probabilities["moving"], average=average) for seed in seeds]
        assert areas[average] == pytest.approx(np.mean(expected))
    assert list(areas) == ["a", "b", "c", "micro", "macro"]


def test_a_binary_task_has_the_positive_classs_curve_only() -> None:
    labels = np.array([0, 1, 0, 1])
    answers = Predictions(labels, labels, {"moving": np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])})
    assert list(split_curves([answers], "moving", ("normal", "covid"))) == ["covid"]
