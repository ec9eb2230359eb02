"""Verdicts on what the report says."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import synthetic_runs
from built import params as built_params

from cnnstudy.config.schema import Params
from cnnstudy.evaluation import results
from cnnstudy.evaluation.ablation import write_ablation
from cnnstudy.evaluation.intervals import Difference
from cnnstudy.evaluation.run import evaluate_run
from cnnstudy.published import hewitt_gunes, reference, reshi, verdicts
from cnnstudy.published.verdicts import Claim, Findings
from cnnstudy.workspace import paths

FOLDER = synthetic_runs.ROOT / paths.REFERENCE
NETS = ("alexnet", "vggnet", "mobilenet")
PARAMS = built_params()
FILES = (*hewitt_gunes.PAPER.files, *reshi.PAPER.files)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Params]:
    """Three nets: vggnet far better than alexnet, mobilenet at chance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("claimed"))
        params = synthetic_runs.params_with(NETS)
        synthetic_runs.write_samples(params, "faces")
        for run, skill in zip(NETS, (1.0, 6.0, 0.0), strict=True):
            synthetic_runs.write_run(params, run, skill)
            evaluate_run(params, run)
        write_ablation(params, "nets")
        yield params


def findings(params: Params, metrics: dict[str, Any], differences: dict[tuple[str, str], Difference]) -> Findings:
    return Findings(params, metrics, reference.read(FOLDER, FILES), reference.read_layers(FOLDER), differences)


@pytest.fixture(scope="module")
def judged(faces: Params) -> dict[str, Claim]:
    its = findings(faces, results.read_metrics(faces), results.read_differences(faces))
    return {claim.says: claim for claim in hewitt_gunes.claims(its)}


def test_a_significant_difference_decides(judged: dict[str, Claim]) -> None:
    claim = judged["VGGNet does better than AlexNet."]
    assert claim.verdict == "holds"
    assert claim.published == "0.49 against 0.45 of 1600 images: 2.3 standard errors, from one training each"
    assert claim.ours.startswith("vggnet − alexnet: +0.")
    assert judged["After tuning MobileNet is comparable to the two others."].verdict == "does not hold"


def test_the_reports_own_figures_contradict_it(judged: dict[str, Claim]) -> None:
    assert judged["Tuning improves the model (AlexNet)."].published.startswith("0.45 before, 0.34 after: −0.11 of 1600")
    weak = judged["Anger, contempt and disgust are the weakest classes."]
    assert weak.published == (
        "the lowest F1 in table 3: contempt 0.11, anger 0.18, disgust 0.20; "
        "but in table 4, after tuning: surprise 0.05, disgust 0.29, neutral 0.29"
    )
    dropout = next(claim for says, claim in judged.items() if "Gaussian" in says)
    assert dropout.published == "table 2: 5 Gaussian, 2 ordinary; table 5: 5 Gaussian, 2 ordinary"
    assert dropout.verdict == "cannot tell"


def test_few_answers_decide_nothing() -> None:
    assert verdicts.is_larger(1.0, 0.0, 2) == "cannot tell"
    assert verdicts.is_larger(1.0, 0.0, 50) == "holds"
    assert verdicts.is_larger(0.2, 0.8, 50) == "does not hold"
    assert verdicts.is_larger(0.8, 0.6, 50) == "holds"
    assert verdicts.is_larger(0.8, 0.6, 50, among=15) == "cannot tell"


def test_the_weakest_classes_of_a_net_that_answers_one_are_not_told(faces: Params) -> None:
    metrics = copy.deepcopy(results.read_metrics(faces))
    metrics["alexnet"]["base"]["val"]["constant"] = True
    found = {claim.says: claim for claim in hewitt_gunes.claims(findings(faces, metrics, {}))}
    weak = found["Anger, contempt and disgust are the weakest classes."]
    assert weak.verdict == "cannot tell"
    assert "; one class for every image: alexnet; the lowest F1" in weak.ours


def test_sizes_are_facts(judged: dict[str, Claim]) -> None:
    claim = judged["MobileNet is smaller than the two others."]
    assert claim.verdict == "holds"
    assert claim.ours == "3,237,064 parameters: 7% fewer than alexnet, 14% fewer than vggnet; 12.9 MB"


def test_absent_runs_leave_a_claim_open(faces: Params) -> None:
    alone = findings(faces, {"mobilenet": results.read_metrics(faces)["mobilenet"]}, {})
    found = hewitt_gunes.claims(alone)
    assert {claim.verdict for claim in found} == {"cannot tell"}
    needed = [claim.ours for claim in found if claim.ours.startswith("needs ")]
    assert {"needs vggnet, alexnet, which this experiment does not have"} < set(needed)
    assert not [text for text in needed if "mobilenet" in text]


def test_nets_that_are_not_tuned_leave_open_what_is_said_of_tuned_ones(faces: Params) -> None:
    metrics = {run: {"base": its["base"]} for run, its in results.read_metrics(faces).items()}
    found = hewitt_gunes.claims(findings(faces, metrics, {}))
    open_ones = [claim for claim in found if claim.ours == "alexnet is not fine-tuned here"]
    assert "Happy is the class that AlexNet does best." in [claim.says for claim in open_ones]
    assert {claim.verdict for claim in open_ones} == {"cannot tell"}


def split(accuracy: float, half: float = 0.05, constant: bool = False) -> dict[str, Any]:
    low, high = max(0.0, accuracy - half), min(1.0, accuracy + half)
    modes = {f"accuracy_{mode}": accuracy for mode in ("moving", "recalibrated", "batch")}
    modes |= {f"constant{mode}": constant for mode in ("_moving", "_recalibrated", "")}
    return {"accuracy": accuracy, "accuracy_low": low, "accuracy_high": high, "n": 200, **modes}


def xrays(test: dict[str, float], train: dict[str, float], significant: bool, stuck: str = "") -> dict[str, Claim]:
    """The verdicts where accuracies are given and every difference is, or is not, significant."""
    metrics = {
        run: {"base": {"train": split(train[run]), "test": split(test[run], constant=run == stuck)}} for run in test
    }
    pairs = {
        (first, second): Difference(first, second, test[first] - test[second], 0, 0, significant)
        for first in test
        for second in test
    }
    its = findings(PARAMS, metrics, pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "read_layers", lambda _: reference.read_layers(FOLDER).query("table == '8'"))
        return {claim.says: claim for claim in reshi.claims(its)}


DEEPEST = "Accuracy rises with depth (Reshi et al.)."
DEEPER = "With more layers the net overfits sooner."
MIDDLE = "Neither few layers nor many are best: the simple nets can't learn the patterns, the deep ones overfit."
LEVELS = "The more augmentation, the better the net generalises."
RUNS = dict.fromkeys([*reshi.LEVELS, *reshi.DEPTHS])


def test_rising_accuracies_hold_where_they_are_significant() -> None:
    rising = {run: 0.5 + 0.05 * i for i, run in enumerate(RUNS)}
    train = dict.fromkeys(rising, 1.0)
    assert xrays(rising, train, significant=True)[LEVELS].verdict == "holds"
    assert xrays(rising, train, significant=False)[LEVELS].verdict == "cannot tell"
    falling = {run: 0.9 - 0.05 * i for i, run in enumerate(RUNS)}
    assert xrays(falling, train, significant=True)[LEVELS].verdict == "does not hold"


def test_an_accuracy_above_chance_without_augmentation_refutes_the_reports_rise() -> None:
    train, says = dict.fromkeys(RUNS, 1.0), "Augmentation takes accuracy from 0.50 to 0.95."
    rising = {**dict.fromkeys(RUNS, 0.5), "xray-aug4": 0.95}
    assert xrays(rising, train, significant=True)[says].verdict == "holds"
    assert xrays(rising, train, significant=False)[says].verdict == "cannot tell"
    high = {**dict.fromkeys(RUNS, 0.7), "xray-aug4": 0.95}
    assert xrays(high, train, significant=True)[says].verdict == "does not hold"


def test_a_gap_that_grows_with_depth_is_overfitting() -> None:
    test = dict.fromkeys(RUNS, 0.8)
    growing = {**dict.fromkeys(RUNS, 0.8), "xray-depth6": 1.0}
    assert xrays(test, growing, significant=True)[DEEPER].verdict == "holds"
    assert xrays(test, dict.fromkeys(RUNS, 0.8), significant=True)[DEEPER].verdict == "cannot tell"
    assert (
        xrays(test, {**growing, "xray-depth1": 1.0, "xray-depth6": 0.8}, significant=True)[DEEPER].verdict
        == "does not hold"
    )


def test_the_middle_is_best_only_where_it_beats_both_ends() -> None:
    middle = {**dict.fromkeys(RUNS, 0.8), "xray-depth1": 0.6, "xray-depth6": 0.6}
    ends = {**dict.fromkeys(RUNS, 0.6), "xray-depth1": 0.8, "xray-depth6": 0.8}
    train = dict.fromkeys(RUNS, 1.0)
    assert xrays(middle, train, significant=True)[MIDDLE].verdict == "holds"
    assert xrays(middle, train, significant=False)[MIDDLE].verdict == "cannot tell"
    assert xrays(ends, train, significant=True)[MIDDLE].verdict == "does not hold"


def test_accuracy_that_rises_with_depth_is_told_by_the_ends_and_what_lies_between() -> None:
    train = dict.fromkeys(RUNS, 1.0)
    rising = {run: 0.6 + 0.05 * i for i, run in enumerate(reshi.DEPTHS)} | {"xray-aug0": 0.6, "xray-aug1": 0.6}
    assert xrays(rising, train, significant=True)[DEEPEST].verdict == "holds"
    assert xrays(rising, train, significant=False)[DEEPEST].verdict == "cannot tell"
    assert xrays({**rising, "xray-depth4": 0.65}, train, significant=True)[DEEPEST].verdict == "does not hold"
    assert xrays({**rising, "xray-depth6": 0.5}, train, significant=True)[DEEPEST].verdict == "does not hold"


def test_nothing_is_told_of_nets_that_answer_one_class() -> None:
    level, train = dict.fromkeys(RUNS, 0.8), {**dict.fromkeys(RUNS, 0.8), "xray-depth6": 1.0}
    middle = {**level, "xray-depth1": 0.6, "xray-depth6": 0.6}
    rising = {run: 0.5 + 0.05 * i for i, run in enumerate(RUNS)}
    deeper = level | {run: 0.5 + 0.05 * i for i, run in enumerate(reshi.DEPTHS)}
    for says, test, run in ((DEEPER, level, "xray-depth6"), (MIDDLE, middle, "xray-depth6"),
                            (DEEPEST, deeper, "xray-depth6"), (LEVELS, rising, "xray-aug0")):  # fmt: skip
        assert xrays(test, train, significant=True)[says].verdict == "holds"
        stuck = xrays(test, train, significant=True, stuck=run)[says]
        assert stuck.verdict == "cannot tell"
        assert stuck.ours.endswith(f"; one class for every image: {run}")


def told(faces: Params, metrics: dict[str, Any] | None = None, **read: Any) -> dict[str, Claim]:
    """The verdicts on faces with other results of `read`, functions of cnnstudy.evaluation.results."""
    pairs = read.pop("pairs", {})
    with pytest.MonkeyPatch.context() as patch:
        for name, function in read.items():
            patch.setattr(results, name, function)
        its = findings(faces, metrics or results.read_metrics(faces), pairs)
        return {claim.says: claim for claim in hewitt_gunes.claims(its)}


@pytest.mark.parametrize(
    ("train", "val", "half", "verdict"),
    [
        (0.90, 0.70, 0.05, "holds"),
        (0.80, 0.80, 0.05, "cannot tell"),
        (0.80, 0.80, 0.01, "does not hold"),
        (0.83, 0.80, 0.01, "does not hold"),
        (0.84, 0.80, 0.02, "cannot tell"),
        (0.70, 0.90, 0.02, "does not hold"),
    ],
)
def test_a_net_overfits_where_training_is_above_validation_by_more_than_none(
    faces: Params, train: float, val: float, half: float, verdict: str
) -> None:
    metrics = copy.deepcopy(results.read_metrics(faces))
    for run in ("alexnet", "vggnet"):
        metrics[run]["base"] |= {"train": split(train, half), "val": split(val, half)}
    found = told(faces, metrics)
    assert found["VGGNet is close to overfitting."].verdict == verdict
    opposite = {"holds": "does not hold", "does not hold": "holds"}.get(verdict, verdict)
    assert found["AlexNet does not overfit: validation keeps up with training."].verdict == opposite


def areas(before: float, after: list[float]) -> Any:
    def read(_: str, phase: str, __: str) -> pd.DataFrame:
        values = [before] * len(after) if phase == "base" else after
        return pd.DataFrame({"series": [f"class{i}" for i in range(len(after))], "auc": values})

    return read


@pytest.mark.parametrize(
    ("after", "better", "worse"),
    [
        ([0.9] * 8, "holds", "does not hold"),
        ([0.9] * 7 + [0.7], "holds", "does not hold"),
        ([0.9] * 6 + [0.7] * 2, "cannot tell", "cannot tell"),
        ([0.7] * 7 + [0.9], "does not hold", "holds"),
        ([0.9, 0.9], "cannot tell", "cannot tell"),
        ([], "cannot tell", "cannot tell"),
    ],
)
def test_tuning_makes_curves_better_or_worse_where_most_move_one_way(
    faces: Params, after: list[float], better: str, worse: str
) -> None:
    found = told(faces, read_roc=areas(0.8, after))
    assert found["Tuning makes most ROC curves of AlexNet better."].verdict == better
    assert found["Tuning makes VGGNet's ROC worse: it overfits."].verdict == worse


@pytest.mark.parametrize(
    ("epochs", "verdict"),
    [
        ({"mobilenet": 2, "alexnet": 6, "vggnet": 5}, "holds"),
        ({"mobilenet": 8, "alexnet": 6, "vggnet": 7}, "does not hold"),
        ({"mobilenet": 7, "alexnet": 6, "vggnet": 6}, "cannot tell"),
        ({"mobilenet": 1, "alexnet": 2, "vggnet": 2}, "cannot tell"),
        ({"mobilenet": 4, "alexnet": 6, "vggnet": 6}, "cannot tell"),
    ],
)
def test_one_net_converges_faster_where_it_is_by_epochs(faces: Params, epochs: dict[str, int], verdict: str) -> None:
    def curves(run: str) -> pd.DataFrame:
        accuracy = [0.2] * (epochs[run] - 1) + [0.8] * 3
        return pd.DataFrame({"epoch": range(1, len(accuracy) + 1), "series": "train", "accuracy": accuracy})

    assert told(faces, read_curves=curves)["MobileNet converges much faster than the two others."].verdict == verdict


def matrix(faces: Params, **cells: dict[str, int]) -> pd.DataFrame:
    """50 images a class, all answered rightly but those of `cells`, {actual: {taken for: images}}."""
    names = list(faces.studies["faces"].classes)
    table = pd.DataFrame(0, names, names)
    for name in names:
        wrong = cells.get(name, {})
        for other, images in wrong.items():
            table.loc[name, other] = images
        table.loc[name, name] = 50 - sum(wrong.values())
    return table


@pytest.mark.parametrize(
    ("alexnet", "vggnet", "verdict"),
    [(20, 2, "holds"), (2, 20, "does not hold"), (6, 2, "cannot tell")],
)
def test_two_classes_are_told_apart_by_the_net_that_takes_fewer_for_the_other(
    faces: Params, alexnet: int, vggnet: int, verdict: str
) -> None:
    taken = {"alexnet": alexnet, "vggnet": vggnet, "mobilenet": 0}
    found = told(faces, read_confusion=lambda run, *_: matrix(faces, anger={"sad": taken[run]}))
    claim = found["VGGNet tells sad from angry better than AlexNet."]
    assert claim.verdict == verdict
    assert claim.ours == f"mistaken for the other: alexnet {alexnet}, vggnet {vggnet} of 100"


def test_two_classes_without_images_are_not_told_apart(faces: Params) -> None:
    empty = matrix(faces)
    empty.loc[["anger", "sad"]] = 0
    found = told(faces, read_confusion=lambda *_: empty)
    assert found["VGGNet tells sad from angry better than AlexNet."].verdict == "cannot tell"


@pytest.mark.parametrize(
    ("taken", "verdict"),
    [
        ({"fear": 20, "sad": 4}, "holds"),
        ({"fear": 30, "sad": 10}, "holds"),
        ({"fear": 10}, "holds"),
        ({"fear": 9}, "cannot tell"),
        ({"sad": 40}, "does not hold"),
        ({"fear": 3, "anger": 4, "sad": 5, "happy": 5}, "cannot tell"),
    ],
)
def test_a_class_is_taken_for_another_where_that_gets_more_than_its_share(
    faces: Params, taken: dict[str, int], verdict: str
) -> None:
    found = told(faces, read_confusion=lambda *_: matrix(faces, surprise=taken))
    assert found["Surprise is mistaken for fear."].verdict == verdict


def test_images_count_once_for_all_seeds(faces: Params) -> None:
    several = faces.model_copy(update={"seeds": list(range(5))})
    found = told(several, read_confusion=lambda *_: matrix(faces, surprise={"fear": 30, "sad": 10}))
    assert found["Surprise is mistaken for fear."].verdict == "cannot tell"


@pytest.mark.parametrize(
    ("wrong", "weak", "happy"),
    [
        (
            {"anger": 45, "contempt": 44, "disgust": 43, "fear": 3, "neutral": 2, "sad": 2, "surprise": 2},
            "holds",
            "cannot tell",
        ),
        ({"fear": 45, "happy": 30, "sad": 44}, "does not hold", "does not hold"),
        (
            dict.fromkeys(("anger", "contempt", "disgust", "fear", "neutral", "sad", "surprise"), 30),
            "cannot tell",
            "holds",
        ),
    ],
)
def test_classes_are_the_weakest_or_the_best_where_recall_sets_them_apart(
    faces: Params, wrong: dict[str, int], weak: str, happy: str
) -> None:
    cells = {name: {"neutral" if name != "neutral" else "sad": images} for name, images in wrong.items()}
    found = told(faces, read_confusion=lambda *_: matrix(faces, **cells))
    assert found["Anger, contempt and disgust are the weakest classes."].verdict == weak
    assert found["Happy is the class that AlexNet does best."].verdict == happy


@pytest.mark.parametrize(
    ("difference", "half", "significant", "verdict"),
    [
        (-0.02, 0.01, True, "holds"),
        (0.10, 0.04, True, "holds"),
        (-0.10, 0.04, True, "does not hold"),
        (-0.10, 0.12, False, "cannot tell"),
        (-0.04, 0.02, True, "cannot tell"),
    ],
)
def test_a_net_is_comparable_where_it_is_not_worse_by_more_than_none(
    faces: Params, difference: float, half: float, significant: bool, verdict: str
) -> None:
    pairs = {
        ("mobilenet, tuned", f"{run}, tuned"): Difference(
            "mobilenet, tuned", f"{run}, tuned", difference, difference - half, difference + half, significant
        )
        for run in ("alexnet", "vggnet")
    }
    found = told(faces, pairs=pairs)
    assert found["After tuning MobileNet is comparable to the two others."].verdict == verdict


def test_a_significant_difference_with_a_net_that_answers_one_class_tells_nothing(faces: Params) -> None:
    metrics = copy.deepcopy(results.read_metrics(faces))
    metrics["alexnet"]["base"]["test"]["constant"] = True
    pairs = {("vggnet", "alexnet"): Difference("vggnet", "alexnet", 0.5, 0.4, 0.6, True)}
    claim = told(faces, metrics, pairs=pairs)["VGGNet does better than AlexNet."]
    assert claim.verdict == "cannot tell"
    assert claim.ours.endswith("; one class for every image: alexnet")
    assert told(faces, pairs=pairs)["VGGNet does better than AlexNet."].verdict == "holds"


@pytest.mark.parametrize(
    ("phase", "says"),
    [("tuned", "Surprise is mistaken for fear."), ("base", "VGGNet tells sad from angry better than AlexNet.")],
)
def test_confusions_of_a_net_that_predicts_one_class_for_val_tell_nothing(faces: Params, phase: str, says: str) -> None:
    def confusion(run: str, *_: str) -> pd.DataFrame:
        return matrix(faces, surprise={"fear": 20}, anger={"sad": 20 * (run == "alexnet")})

    metrics = copy.deepcopy(results.read_metrics(faces))
    assert told(faces, metrics, read_confusion=confusion)[says].verdict == "holds"
    metrics["alexnet"][phase]["val"]["constant"] = True
    claim = told(faces, metrics, read_confusion=confusion)[says]
    assert claim.verdict == "cannot tell"
    assert "; one class for every image: alexnet" in claim.ours


def test_the_main_model_has_five_layers_by_the_reports_tables() -> None:
    found = xrays(dict.fromkeys(RUNS, 0.8), dict.fromkeys(RUNS, 0.8), significant=False)
    claim = found["The main model has six layers."]
    assert claim.published == "table 8 has 5 convolution layers and is row for row the same as table 17"
    assert claim.verdict == "does not hold"


def test_without_runs_there_is_no_verdict_on_the_main_model(faces: Params) -> None:
    claim = next(each for each in reshi.claims(findings(faces, {}, {})) if each.says.startswith("The main"))
    assert claim.verdict == "cannot tell"
    assert claim.ours == "needs xray-aug4, which this experiment does not have"


def test_a_verdict_that_images_from_elsewhere_do_not_confirm_says_so(faces: Params) -> None:
    its = findings(faces, results.read_metrics(faces), results.read_differences(faces))
    pair = its.differences["vggnet", "alexnet"]
    reversed_ = {("vggnet", "alexnet"): Difference("vggnet", "alexnet", -0.2, -0.3, -0.1, True)}
    near = Difference("vggnet", "alexnet", pair.difference - 0.1, 0.01, 0.5, True)
    sets = {"hospital": {("vggnet", "alexnet"): near}, "street": reversed_, "empty": {}}
    judged = {claim.says: claim for claim in verdicts.judge(hewitt_gunes.claims, its, sets)}
    claim = judged["VGGNet does better than AlexNet."]
    assert (claim.verdict, claim.is_confirmed) == ("holds", False)
    words = "; also on hospital; on street (does not hold): vggnet − alexnet: −0.200 (−0.300 to −0.100)"
    assert claim.ours.endswith(words)
    small = judged["MobileNet is smaller than the two others."]  # a verdict without a difference
    assert (small.verdict, small.is_confirmed) == ("holds", True)
    assert "street" not in small.ours


def test_the_depth_claim_says_by_which_differences_it_is_judged() -> None:
    runs = reshi.DEPTHS
    metrics = {
        run: {"base": {"test": {"accuracy": 0.9 if run == "xray-depth3" else 0.7, "constant": False}}} for run in runs
    }
    pairs = [Difference("xray-depth3", end, 0.2, 0.1, 0.3, True) for end in (runs[0], runs[-1])]
    its = findings(PARAMS, metrics, {(pair.first, pair.second): pair for pair in pairs})
    reversed_ = {(pair.first, pair.second): replace(pair, difference=-0.2, low=-0.3, high=-0.1) for pair in pairs}
    (claim,) = verdicts.judge(lambda found: [reshi._middle_depth(found)], its, {"hospital": reversed_})
    assert claim.verdict == "holds"
    assert not claim.is_confirmed
    assert "xray-depth3 − xray-depth1: +0.200" in claim.ours
    assert "; on hospital (" in claim.ours
