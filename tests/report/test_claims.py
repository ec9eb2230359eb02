"""Verdicts on what the report says."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import synthetic_runs

from cnnstudy import paths
from cnnstudy.evaluation.ablation import write_ablation
from cnnstudy.evaluation.intervals import Difference
from cnnstudy.evaluation.run import evaluate_run
from cnnstudy.params import Params
from cnnstudy.report import claims, reference, results
from cnnstudy.report.claims import Claim, Findings

FOLDER = synthetic_runs.ROOT / paths.REFERENCE
NETS = ("alexnet", "vggnet", "mobilenet")


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
    return Findings(params, metrics, reference.read(FOLDER), reference.read_layers(FOLDER), differences)


@pytest.fixture(scope="module")
def judged(faces: Params) -> dict[str, Claim]:
    its = findings(faces, results.read_metrics(faces), results.read_differences(faces))
    return {claim.says: claim for claim in claims.claims(its, "faces")}


def test_a_difference_that_is_real_decides(judged: dict[str, Claim]) -> None:
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
    assert claims._more_than_its_share(1, 1, 7, 1) == "cannot tell"
    assert claims._more_than_its_share(3, 3, 7, 5) == "cannot tell"
    assert claims._more_than_its_share(30, 40, 7, 1) == "holds"
    assert claims._more_than_its_share(0, 40, 7, 1) == "does not hold"
    assert claims._is_larger(1.0, 0.0, 2) == "cannot tell"
    assert claims._is_larger(1.0, 0.0, 50) == "holds"
    assert claims._is_larger(0.2, 0.8, 50) == "does not hold"


def test_the_weakest_classes_of_a_net_that_answers_one_are_not_told(faces: Params) -> None:
    metrics = copy.deepcopy(results.read_metrics(faces))
    metrics["alexnet"]["base"]["val"]["constant"] = True
    found = {claim.says: claim for claim in claims.claims(findings(faces, metrics, {}), "faces")}
    weak = found["Anger, contempt and disgust are the weakest classes."]
    assert weak.verdict == "cannot tell"
    assert weak.ours.startswith("one class for every image")


def test_sizes_are_facts(judged: dict[str, Claim]) -> None:
    claim = judged["MobileNet is smaller than the two others."]
    assert claim.verdict == "holds"
    assert claim.ours == "3,237,064 parameters: 7% fewer than alexnet, 14% fewer than vggnet; 12.9 MB"


def test_absent_runs_leave_a_claim_open(faces: Params) -> None:
    alone = findings(faces, {"mobilenet": results.read_metrics(faces)["mobilenet"]}, {})
    found = claims.claims(alone, "faces")
    assert {claim.verdict for claim in found} == {"cannot tell"}
    assert "needs vggnet, alexnet, which this experiment does not have" in [claim.ours for claim in found]


def test_nets_that_are_not_tuned_leave_open_what_is_said_of_tuned_ones(faces: Params) -> None:
    metrics = {run: {"base": its["base"]} for run, its in results.read_metrics(faces).items()}
    found = claims.claims(findings(faces, metrics, {}), "faces")
    open_ones = [claim for claim in found if claim.ours == "alexnet is not fine-tuned here"]
    assert "Happy is the class that AlexNet does best." in [claim.says for claim in open_ones]
    assert {claim.verdict for claim in open_ones} == {"cannot tell"}


def split(accuracy: float, constant_moving: bool = False) -> dict[str, Any]:
    low, high = max(0.0, accuracy - 0.05), min(1.0, accuracy + 0.05)
    modes = {f"accuracy_{mode}": accuracy for mode in ("moving", "recalibrated", "batch")}
    constant = {"constant_moving": constant_moving, "constant_recalibrated": False, "constant": False}
    return {"accuracy": accuracy, "accuracy_low": low, "accuracy_high": high, "n": 200, **modes, **constant}


def films(faces: Params, test: dict[str, float], train: dict[str, float], real: bool) -> dict[str, Claim]:
    """The verdicts where accuracies are given and every difference is, or is not, more than chance."""
    metrics = {run: {"base": {"train": split(train[run]), "test": split(test[run])}} for run in test}
    pairs = {
        (first, second): Difference(first, second, test[first] - test[second], 0, 0, real)
        for first in test
        for second in test
    }
    its = findings(faces, metrics, pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "read_layers", lambda run: reference.read_layers(FOLDER).query("table == '8'"))
        return {claim.says: claim for claim in claims.claims(its, "xray")}


DEEPER = "With more layers the net overfits sooner."
MIDDLE = "Neither few layers nor many are best: the simple nets can't learn the patterns, the deep ones overfit."
LEVELS = "The more augmentation, the better the net generalises."
RUNS = dict.fromkeys([*claims.LEVELS, *claims.DEPTHS])


def test_rising_accuracies_hold_where_they_are_real(faces: Params) -> None:
    rising = {run: 0.5 + 0.05 * i for i, run in enumerate(RUNS)}
    train = dict.fromkeys(rising, 1.0)
    assert films(faces, rising, train, real=True)[LEVELS].verdict == "holds"
    assert films(faces, rising, train, real=False)[LEVELS].verdict == "cannot tell"
    falling = {run: 0.9 - 0.05 * i for i, run in enumerate(RUNS)}
    assert films(faces, falling, train, real=True)[LEVELS].verdict == "does not hold"


def test_an_accuracy_above_chance_without_augmentation_refutes_the_reports_rise(faces: Params) -> None:
    train, says = dict.fromkeys(RUNS, 1.0), "Augmentation takes accuracy from 0.50 to 0.95."
    rising = {**dict.fromkeys(RUNS, 0.5), "xray-aug4": 0.95}
    assert films(faces, rising, train, real=True)[says].verdict == "holds"
    assert films(faces, rising, train, real=False)[says].verdict == "cannot tell"
    high = {**dict.fromkeys(RUNS, 0.7), "xray-aug4": 0.95}
    assert films(faces, high, train, real=True)[says].verdict == "does not hold"


def test_a_gap_that_grows_with_depth_is_overfitting(faces: Params) -> None:
    test = dict.fromkeys(RUNS, 0.8)
    growing = {**dict.fromkeys(RUNS, 0.8), "xray-depth6": 1.0}
    assert films(faces, test, growing, real=True)[DEEPER].verdict == "holds"
    assert films(faces, test, dict.fromkeys(RUNS, 0.8), real=True)[DEEPER].verdict == "cannot tell"
    assert (
        films(faces, test, {**growing, "xray-depth1": 1.0, "xray-depth6": 0.8}, real=True)[DEEPER].verdict
        == "does not hold"
    )


def test_the_middle_is_best_only_where_it_beats_both_ends(faces: Params) -> None:
    middle = {**dict.fromkeys(RUNS, 0.8), "xray-depth1": 0.6, "xray-depth6": 0.6}
    ends = {**dict.fromkeys(RUNS, 0.6), "xray-depth1": 0.8, "xray-depth6": 0.8}
    train = dict.fromkeys(RUNS, 1.0)
    assert films(faces, middle, train, real=True)[MIDDLE].verdict == "holds"
    assert films(faces, middle, train, real=False)[MIDDLE].verdict == "cannot tell"
    assert films(faces, ends, train, real=True)[MIDDLE].verdict == "does not hold"


def test_the_main_model_has_five_layers_by_the_reports_tables(faces: Params) -> None:
    found = films(faces, dict.fromkeys(RUNS, 0.8), dict.fromkeys(RUNS, 0.8), real=False)
    claim = found["The main model has six layers."]
    assert claim.published == "table 8 has 5 convolution layers and is row for row the same as table 17"
    assert claim.verdict == "does not hold"
