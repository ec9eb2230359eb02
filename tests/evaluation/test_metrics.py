"""Metrics against scikit-learn and against cases worked by hand."""

import numpy as np
import pytest
from sklearn.metrics import classification_report, cohen_kappa_score, precision_recall_fscore_support, roc_auc_score

from cnnstudy.evaluation import scores as functions
from cnnstudy.evaluation.classification import confusion, examples, report_table, report_text
from cnnstudy.evaluation.metrics import SCORES, metrics, split_metrics
from cnnstudy.evaluation.predictions import Predictions

CLASSES = ("anger", "happy", "sad")


def probabilities(n: int, classes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), n).astype(np.float32)


APART = np.arange(10)  # each image for itself


def certain(answers: list[int], classes: int = 2) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[answers]


def answers(labels: np.ndarray, scores: np.ndarray, **others: np.ndarray) -> Predictions:
    return Predictions(np.arange(len(labels)), labels, {"moving": scores, **others})


def test_a_binary_case_by_hand() -> None:
    labels = np.array([0] * 20 + [1] * 20)
    result = metrics(labels, certain([0] * 20 + [1] * 18 + [0] * 2))
    assert result["n"] == 40
    assert result["accuracy"] == 38 / 40
    assert (result["sensitivity"], result["specificity"]) == (18 / 20, 1.0)
    assert result["macro_precision"] == pytest.approx((20 / 22 + 1) / 2)
    assert result["kappa"] == pytest.approx((0.95 - 0.5) / 0.5)
    assert result["auc"] == pytest.approx(0.95)
    assert result["constant"] is False


def test_auc_of_a_binary_task_is_the_second_classs() -> None:
    labels = np.array([0, 0, 1, 1])
    assert metrics(labels, np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]]))["auc"] == 1
    assert metrics(labels, np.array([[0.1, 0.9], [0.3, 0.7], [0.8, 0.2], [0.9, 0.1]]))["auc"] == 0


def test_one_answer_for_everything_is_said() -> None:
    result = metrics(np.array([0, 1, 1, 0]), certain([0, 0, 0, 0]))
    assert result["constant"] is True
    assert (result["accuracy"], result["kappa"], result["sensitivity"]) == (0.5, 0, 0)


def test_many_classes_agree_with_scikit_learn() -> None:
    labels, scores = np.arange(90) % 3, probabilities(90, 3)
    result = metrics(labels, scores)
    expected = classification_report(labels, scores.argmax(axis=1), output_dict=True, zero_division=0)
    for average, metric, ours in (
        ("macro avg", "precision", "macro_precision"),
        ("macro avg", "recall", "macro_recall"),
        ("macro avg", "f1-score", "macro_f1"),
        ("weighted avg", "f1-score", "weighted_f1"),
    ):
        assert result[ours] == pytest.approx(expected[average][metric])
    assert result["accuracy"] == pytest.approx(expected["accuracy"])
    assert result["auc"] == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr"))
    assert "sensitivity" not in result


def test_an_absent_class_counts_for_nothing() -> None:
    labels, scores = np.arange(40) % 2, probabilities(40, 3)
    result = metrics(labels, scores)
    areas = [roc_auc_score(labels == c, scores[:, c]) for c in (0, 1)]
    assert result["auc"] == pytest.approx(np.mean(areas))
    expected = precision_recall_fscore_support(labels, scores.argmax(axis=1), labels=[0, 1], average="macro")
    assert [result[f"macro_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(list(expected[:3]))
    table = report_table([answers(labels, scores)], "moving", CLASSES)
    assert table.loc["sad", ["precision", "recall", "f1-score"]].isna().all()
    assert table.loc["sad", "support"] == 0
    assert table.loc["macro avg", "recall"] == pytest.approx(expected[1])
    assert "     0\n" in report_text(table, "t", result)


def test_recall_of_a_class_without_images_is_no_number() -> None:
    labels, scores = np.zeros(20, int), certain([0] * 19 + [1])
    result = metrics(labels, scores)
    assert "sensitivity" not in result
    assert result["specificity"] == result["macro_recall"] == 0.95
    text = report_text(report_table([answers(labels, scores)], "moving", ("normal", "covid")), "t", result)
    assert "specificity (recall of normal): 0.9500" in text
    assert "sensitivity" not in text


def test_what_is_not_defined_is_left_out() -> None:
    result = metrics(np.zeros(5, int), certain([0] * 5))
    assert not {"auc", "average_precision", "kappa"} & set(result)
    assert result["accuracy"] == 1


def test_cross_entropy_is_clipped_as_in_keras() -> None:
    labels = np.array([0, 1])
    assert functions.loss(labels, np.array([[0.5, 0.5], [0.75, 0.25]])) == pytest.approx(-np.log([0.5, 0.25]).mean())
    assert functions.loss(labels, certain([1, 0])) == pytest.approx(-np.log(1e-7))
    assert functions.loss(labels, certain([0, 1])) == pytest.approx(1e-7)


def test_seeds_are_averaged_and_kept() -> None:
    labels = np.arange(10) % 2
    perfect, stuck = certain(list(labels)), certain([0] * 10)
    result = split_metrics(
        [answers(labels, perfect, batch=stuck), answers(labels, stuck, batch=perfect)], "moving", APART
    )
    assert result["accuracy_seeds"] == [1.0, 0.5]
    assert result["accuracy"] == result["accuracy_moving"] == result["accuracy_batch"] == 0.75
    assert result["n"] == 10
    assert result["constant"] is result["constant_batch"] is True
    assert result["auc"] == 0.75


def test_images_of_one_patient_widen_the_interval() -> None:
    labels = np.array([0] * 20 + [1] * 20)
    seeds = [answers(labels, certain([0] * 20 + [1] * 18 + [0] * 2))]
    apart, together = (split_metrics(seeds, "moving", groups) for groups in (np.arange(40), np.arange(40) // 2))
    # The interval of 38 of 40 that the project quotes for the report.
    assert (apart["accuracy_low"], apart["accuracy_high"]) == pytest.approx((0.835, 0.986), abs=5e-4)
    low = together["accuracy_low"]
    assert isinstance(low, float)
    assert low < 0.81
    assert together["accuracy"] == apart["accuracy"]


def test_one_mode_alone_is_not_repeated() -> None:
    labels = np.arange(10) % 2
    assert "accuracy_moving" not in split_metrics([answers(labels, certain(list(labels)))], "moving", APART)


def test_the_report_says_what_scikit_learns_says() -> None:
    labels, scores = np.arange(90) % 3, probabilities(90, 3)
    table = report_table([answers(labels, scores)], "moving", CLASSES)
    expected = classification_report(labels, scores.argmax(axis=1), target_names=CLASSES, digits=2)
    text = report_text(table, "title", metrics(labels, scores))
    assert text.split("\n\n", 1)[1].split("Cohen")[0].split() == expected.split()
    kappa = cohen_kappa_score(labels, scores.argmax(axis=1))
    assert f"Cohen's kappa: {kappa:.4f}\n" in text
    assert f"AUCPR (average precision): {metrics(labels, scores)['average_precision']:.4f}\n" in text
    assert "One class" not in text


def test_a_binary_report_names_the_positive_class() -> None:
    labels = np.array([0] * 4 + [1] * 4)
    scores = certain([0, 0, 0, 1, 1, 1, 0, 0])
    table = report_table([answers(labels, scores)], "moving", ("normal", "covid"))
    text = report_text(table, "xray-aug4, base, test", metrics(labels, scores))
    assert "sensitivity (recall of covid, the positive class): 0.5000" in text
    assert "specificity (recall of normal): 0.7500" in text


def test_confusion_counts_add_up_over_seeds() -> None:
    labels = np.array([0, 0, 1, 1])
    seeds = [answers(labels, certain([0, 1, 1, 1])), answers(labels, certain([0, 0, 0, 1]))]
    table = confusion(seeds, "moving", ("normal", "covid"))
    assert table.loc["normal"].tolist() == [3, 1]
    assert table.loc["covid"].tolist() == [1, 3]


def test_a_report_of_one_answer_says_so() -> None:
    labels, scores = np.array([0, 1]), certain([0, 0])
    text = report_text(report_table([answers(labels, scores)], "moving", ("a", "b")), "t", metrics(labels, scores))
    assert text.endswith("One class for every image: accuracy is then the share of that class.\n")
    seeds = [answers(labels, scores), answers(labels, certain([0, 1]))]
    several = report_text(report_table(seeds, "moving", ("a", "b")), "t", split_metrics(seeds, "moving", APART[:2]))
    assert "One class for every image in 1 of 2 seeds: " in several


def test_an_example_of_each_cell_is_its_most_certain_image() -> None:
    scores = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.9, 0.1]])
    its = Predictions(np.array([7, 3, 5, 2]), np.array([0, 0, 0, 1]), {"moving": scores})
    assert examples([its], "moving", ("normal", "covid")).tolist() == [[3, 5], [2, -1]]
    other = Predictions(its.ids, its.labels, {"moving": np.array([[0.95, 0.05], [0.9, 0.1], [0.1, 0.9], [0.3, 0.7]])})
    assert examples([its, other], "moving", ("normal", "covid")).tolist() == [[7, 5], [2, 2]]


@pytest.mark.parametrize(
    ("first", "second", "alpha"),
    [
        # Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), examples A and B.
        ("0100000010", "1110010000", 0.095),
        ("aabbdcccedda", "babbbcccedd" + "d", 0.692),
    ],
)
def test_krippendorffs_alpha_is_that_of_his_examples(first: str, second: str, alpha: float) -> None:
    coders = np.unique(np.array([list(first), list(second)]), return_inverse=True)[1].reshape(2, -1)
    assert functions.alpha(coders[0], certain(list(coders[1]), coders.max() + 1)) == pytest.approx(alpha, abs=5e-4)


def test_a_new_score_is_a_metric_of_every_training_and_of_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    def surest(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
        return float(probabilities.max()) if len(labels) > 2 else None

    monkeypatch.setitem(SCORES, "surest", surest)
    labels = np.arange(10) % 2
    seeds = [answers(labels, np.full((10, 2), [1 - top, top])) for top in (0.6, 0.8)]
    assert metrics(labels, seeds[0].probabilities["moving"])["surest"] == 0.6
    assert split_metrics(seeds, "moving", APART)["surest"] == pytest.approx(0.7)
    assert "surest" not in metrics(labels[:2], certain([0, 1]))


def test_scores_are_the_functions_of_their_file() -> None:
    assert {"accuracy", "loss", "kappa", "auc", "sensitivity"} <= set(SCORES)
    assert not [name for name in SCORES if name.startswith("_") or name in ("per_class", "roc_auc_score")]


def test_seeds_that_answer_one_class_are_counted() -> None:
    labels = np.array([0, 1] * 5)
    seeds = [answers(labels, certain(list(labels))), answers(labels, certain([0] * 10))]
    result = split_metrics(seeds, "moving", APART)
    assert (result["constant"], result["constant_seeds"]) == (True, 1)
