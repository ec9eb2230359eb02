"""What the report and the papers say in words, beside what was found here.

A claim holds, or does not, where our figures show it beyond chance; else they can't tell.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any, Literal

import pandas as pd
from scipy.stats import binomtest, fisher_exact

from cnnstudy.config.schema import HEADLINE, Params, StudyName
from cnnstudy.evaluation.intervals import Difference
from cnnstudy.report import reference, results
from cnnstudy.report.results import RunMetrics

Verdict = Literal["holds", "does not hold", "cannot tell"]

# Differences in accuracy below this count as none.
MARGIN = 0.05
# Fewer wrong answers than this say nothing of what is taken for what.
FEWEST = 10
# The share of its highest training accuracy at which a net counts as converged, and by how many epochs sooner or later.
CONVERGED, EPOCHS_APART = 0.9, 2
DEPTHS = ("xray-depth1", "xray-depth2", "xray-depth3", "xray-depth4", "xray-aug4", "xray-depth6")
LEVELS = ("xray-aug0", "xray-aug1", "xray-aug2", "xray-aug3", "xray-aug4")


@dataclass(frozen=True)
class Claim:
    """Where it stands, what it says, the published figures, ours, and what ours say about it."""

    where: str
    says: str
    published: str
    ours: str
    verdict: Verdict


@dataclass(frozen=True)
class Findings:
    """What claims are judged by.

    `numbers` and `layers` are the published ones (see cnnstudy.report.reference), `differences` those of every
    ablation, by the names of the two trainings.
    """

    params: Params
    metrics: dict[str, RunMetrics]
    numbers: pd.DataFrame
    layers: pd.DataFrame
    differences: dict[tuple[str, str], Difference]

    def has(self, *runs: str) -> bool:
        """Whether all these runs are part of the experiment."""
        return all(run in self.metrics for run in runs)

    def is_tuned(self, run: str) -> bool:
        """Whether a run is part of the experiment, and fine-tuned."""
        return "tuned" in self.metrics.get(run, {})

    def split(self, run: str, phase: str, split: str) -> dict[str, Any]:
        """The metrics of a run's phase on a split."""
        return self.metrics[run][phase][split]

    def accuracy(self, run: str, phase: str, split: str) -> str:
        """An accuracy in words, with its interval, and a mark where one class was answered for everything."""
        its = self.split(run, phase, split)
        constant = ", one class for every image" if its["constant"] else ""
        return f"{its['accuracy']:.3f} ({its['accuracy_low']:.3f} to {its['accuracy_high']:.3f}{constant})"

    def published(self, run: str, split: str, **cells: str) -> float:
        """A number of the report."""
        found = reference.find(self.numbers, source="report", run=run, split=split, **cells)
        assert found, (run, split, cells)
        return found.value


def claims(findings: Findings, study: StudyName) -> list[Claim]:
    """The claims about a study, in the order of the report; those whose runs are absent can't be told."""
    return _face_claims(findings) if study == "faces" else _film_claims(findings)


def _face_claims(its: Findings) -> list[Claim]:
    return [
        _no_overfitting(its),
        _weak_classes(its),
        _tuning_improves(its),
        _tuning_moves_roc(its, "alexnet", True, "under figure 7", "Tuning makes most ROC curves of AlexNet better."),
        _happy_is_best(its),
        _confused(its, "surprise", "fear", "under figure 8", "Surprise is taken for fear."),
        _vggnet_overfits(its),
        _tuning_moves_roc(its, "vggnet", False, "under figure 12", "Tuning makes VGGNet's ROC worse: it overfits."),
        _vggnet_beats_alexnet(its),
        _sad_and_angry(its),
        _gaussian_dropout(its),
        _mobilenet_is_small(its),
        _mobilenet_converges(its),
        _mobilenet_is_comparable(its),
    ]  # fmt: skip


def _film_claims(its: Findings) -> list[Claim]:
    return [
        _augmentation_raises(its),
        _every_level_helps(its),
        _paper_augmentation(its),
        _main_model(its),
        _deeper_overfits(its),
        _middle_depth(its),
        _paper_depth(its),
    ]


def _no_overfitting(its: Findings) -> Claim:
    verdict, ours = _overfits(its, "alexnet")
    opposite: dict[Verdict, Verdict] = {"holds": "does not hold", "does not hold": "holds"}
    says = "AlexNet does not overfit: validation keeps up with training."
    return Claim("under figure 3", says, _train_val(its, "alexnet", "3"), ours, opposite.get(verdict, verdict))


def _vggnet_overfits(its: Findings) -> Claim:
    verdict, ours = _overfits(its, "vggnet")
    return Claim("under figure 10", "VGGNet is close to overfitting.", _train_val(its, "vggnet", "6"), ours, verdict)


def _train_val(its: Findings, run: str, table: str) -> str:
    train, val = (its.published(run, split, table=table) for split in ("train", "val"))
    return f"{train:.2f} in training, {val:.2f} in validation"


def _overfits(its: Findings, run: str) -> tuple[Verdict, str]:
    """Whether training is above validation beyond chance; it is not where it surely is by less than `MARGIN`."""
    if not its.has(run):
        return _absent(its, run)
    train, val = its.split(run, "base", "train"), its.split(run, "base", "val")
    ours = f"{train['accuracy']:.3f} in training, {its.accuracy(run, 'base', 'val')} in validation"
    gap, chance = train["accuracy"] - val["accuracy"], sqrt(_half(train) ** 2 + _half(val) ** 2)
    is_above = gap >= MARGIN and gap > chance
    verdict: Verdict = "holds" if is_above else "does not hold" if gap + chance < MARGIN else "cannot tell"
    return _learnt(its, verdict, ours, [run], "train", "val")


def _weak_classes(its: Findings) -> Claim:
    published = (
        f"the lowest F1 in table 3: {_names(_published_f1(its, 'alexnet', '3', 'val').head(3))}; "
        f"but in table 4, after tuning: {_names(_published_f1(its, 'alexnet', '4', 'val').head(3))}"
    )
    verdict, ours = _absent(its, "alexnet")
    if its.has("alexnet"):
        verdict, ours = _apart(its, "base", ["anger", "contempt", "disgust"], is_higher=False)
        ours += f"; the lowest F1: {_names(_f1('alexnet', 'base', 'val').head(3))}"
    return Claim("under table 3", "Anger, contempt and disgust are the weakest classes.", published, ours, verdict)


def _learnt(its: Findings, verdict: Verdict, ours: str, trainings: list[str], *splits: str) -> tuple[Verdict, str]:
    """A verdict, which nothing can be said of where a net it is about answers one class for every image.

    `trainings` are named as those of a difference are, `splits` where they answer; what counts of their study if none.
    """
    stuck = []
    for name in trainings:
        run, _, phase = name.partition(", ")
        where = splits or (HEADLINE[its.params.runs[run].study],)
        if any(its.split(run, phase or "base", split)["constant"] for split in where):
            stuck.append(name)
    if not stuck:
        return verdict, ours
    return "cannot tell", f"{ours}; one class for every image: {', '.join(dict.fromkeys(stuck))}"


def _untuned(its: Findings, run: str) -> tuple[Verdict, str]:
    return ("cannot tell", f"{run} is not fine-tuned here") if its.has(run) else _absent(its, run)


def _apart(its: Findings, phase: str, classes: list[str], is_higher: bool) -> tuple[Verdict, str]:
    """Whether some classes are those that alexnet recalls best, or worst, in validation.

    The one of them that is nearest to the others is compared with the nearest of these.
    """
    matrix = results.read_confusion("alexnet", phase, "val")
    if not set(classes) < set(matrix.index):
        return "cannot tell", f"not all of {', '.join(classes)} are classes here"
    n = matrix.sum(axis=1)
    recall = pd.Series(matrix.to_numpy().diagonal() / n, matrix.index).dropna().sort_values(ascending=not is_higher)
    inside, outside = recall[recall.index.isin(classes)], recall[~recall.index.isin(classes)]
    if len(inside) < len(classes) or outside.empty:
        return "cannot tell", "not every class has images in validation"
    near, other = inside.index[-1], outside.index[0]
    images = min(n[near], n[other]) / len(its.params.seeds)
    better, worse = (near, other) if is_higher else (other, near)
    # They were looked for among all pairs.
    verdict = _is_larger(recall[better], recall[worse], images, len(inside) * len(outside))
    ours = f"recall: {near} {recall[near]:.3f}, {other} {recall[other]:.3f}"
    return _learnt(its, verdict, ours, ["alexnet" if phase == "base" else f"alexnet, {phase}"])


def _tuning_improves(its: Findings) -> Claim:
    before, after = (its.published("alexnet", "val", table=table) for table in ("3", "4"))
    published = (
        f"{before:.2f} before, {after:.2f} after: {after - before:+.2f} of 1600 images, "
        f"{abs(after - before) / _standard_error(before, after, 1600):.1f} standard errors"
    )
    verdict, ours = _direction(its, "alexnet, tuned", "alexnet")
    others = [run for run in ("vggnet", "mobilenet") if its.has(run)]
    if verdict != "cannot tell" or its.has("alexnet"):
        ours = "; ".join([ours, *(_direction(its, f"{run}, tuned", run)[1] for run in others)])
    return Claim("under figure 8", "Tuning improves the model (AlexNet).", _minus(published), ours, verdict)


def _tuning_moves_roc(its: Findings, run: str, rises: bool, where: str, says: str) -> Claim:
    verdict, ours = _untuned(its, run)
    if its.is_tuned(run):
        before, after = (_areas(run, phase, "val") for phase in ("base", "tuned"))
        better, worse = int((after > before).sum()), int((after < before).sum())
        means = [f"{its.split(run, phase, 'val').get('auc', float('nan')):.3f}" for phase in ("base", "tuned")]
        ours = f"of {len(before)} areas {better} rise and {worse} fall; their mean goes from {' to '.join(means)}"
        claimed, other = (better, worse) if rises else (worse, better)
        verdict = (
            "holds" if _are_most(claimed, other) else "does not hold" if _are_most(other, claimed) else "cannot tell"
        )
        if before.empty:
            verdict, ours = "cannot tell", "validation has images of one class only"
    return Claim(where, says, "drawn, without areas", ours, verdict)


def _are_most(count: int, others: int) -> bool:
    """Return whether more than half are so beyond chance, by a one-sided sign test at 5 %."""
    return count > others and binomtest(count, count + others, alternative="greater").pvalue < 0.05


def _happy_is_best(its: Findings) -> Claim:
    highest = _published_f1(its, "alexnet", "4", "val").tail(2)[::-1]
    verdict, ours = _untuned(its, "alexnet")
    if its.is_tuned("alexnet"):
        verdict, ours = _apart(its, "tuned", ["happy"], is_higher=True)
        ours += f"; the highest F1: {_names(_f1('alexnet', 'tuned', 'val').tail(2)[::-1])}"
    says = "Happy is the class that AlexNet does best."
    return Claim("under table 4", says, f"the highest F1 in table 4: {_names(highest)}", ours, verdict)


def _confused(its: Findings, actual: str, predicted: str, where: str, says: str) -> Claim:
    verdict, ours = _untuned(its, "alexnet")
    if its.is_tuned("alexnet"):
        matrix = results.read_confusion("alexnet", "tuned", "val")
        verdict, ours = "cannot tell", f"{actual} is no class here"
        if {actual, predicted} <= set(matrix.index):
            wrong = matrix.loc[actual].drop(actual).sort_values(ascending=False, kind="stable")
            counts = ", ".join(f"{name} {count}" for name, count in wrong.head(3).items())
            ours = f"of {wrong.sum()} wrong answers to {actual} after tuning: {counts}"
            share = _more_than_its_share(wrong[predicted], wrong.sum(), len(wrong), len(its.params.seeds))
            verdict, ours = _learnt(its, share, ours, ["alexnet, tuned"])
    return Claim(where, says, "drawn, not printed", ours, verdict)


def _more_than_its_share(count: int, n: int, classes: int, seeds: int) -> Verdict:
    """Whether one of some classes has more of n wrong answers than chance gives it; images count once for all seeds.

    By Clopper and Pearson's (1934) interval, and of `FEWEST` answers or more.
    """
    images = round(n / seeds)
    if images < FEWEST:
        return "cannot tell"
    interval = binomtest(min(images, round(count / seeds)), images).proportion_ci(method="exact")
    return "holds" if interval.low > 1 / classes else "does not hold" if interval.high < 1 / classes else "cannot tell"


def _vggnet_beats_alexnet(its: Findings) -> Claim:
    better, other = its.published("vggnet", "val", table="6"), its.published("alexnet", "val", table="3")
    published = (
        f"{better:.2f} against {other:.2f} of 1600 images: "
        f"{(better - other) / _standard_error(better, other, 1600):.1f} standard errors, from one training each"
    )
    verdict, ours = _direction(its, "vggnet", "alexnet")
    return Claim("end of 2-1", "VGGNet does better than AlexNet.", published, ours, verdict)


def _sad_and_angry(its: Findings) -> Claim:
    verdict, ours = _absent(its, "alexnet", "vggnet")
    if its.has("alexnet", "vggnet"):
        verdict, ours = "cannot tell", "anger or sad is no class here"
        matrices = {run: results.read_confusion(run, "base", "val") for run in ("alexnet", "vggnet")}
        if {"anger", "sad"} <= set(matrices["alexnet"].index):
            pairs = {run: m.loc["anger", "sad"] + m.loc["sad", "anger"] for run, m in matrices.items()}
            n = int(matrices["alexnet"].loc[["anger", "sad"]].to_numpy().sum())
            shares = {run: count / max(1, n) for run, count in pairs.items()}
            ours = f"taken for the other: alexnet {pairs['alexnet']}, vggnet {pairs['vggnet']} of {n}"
            larger = _is_larger(shares["alexnet"], shares["vggnet"], n / len(its.params.seeds))
            verdict, ours = _learnt(its, larger, ours, ["alexnet", "vggnet"])
    says = "VGGNet tells sad from angry better than AlexNet."
    return Claim("end of 2-1", says, "drawn, not printed", ours, verdict)


def _gaussian_dropout(its: Findings) -> Claim:
    layers = its.layers
    counts = {table: layers[layers["table"] == table]["type"].value_counts() for table in ("2", "5")}
    words = [
        f"table {name}: {types['GaussianDropout']} Gaussian, {types['Dropout']} ordinary"
        for name, types in counts.items()
    ]
    says = "VGGNet generalises better for its Gaussian dropout, where AlexNet has ordinary dropout."
    ours = "both nets have both, at the same places, so they can't show a difference"
    return Claim("end of 2-1", says, "; ".join(words), ours, "cannot tell")


def _mobilenet_is_small(its: Findings) -> Claim:
    counts = {run: its.published(run, "", metric="parameters") for run in ("mobilenet", "alexnet", "vggnet")}
    published = ", ".join(f"{run} {count:,.0f}" for run, count in counts.items())
    present = [run for run in counts if its.has(run)]
    verdict, ours = _absent(its, *counts)
    if len(present) == len(counts):
        parameters = {run: int(results.read_layers(run)["parameters"].sum()) for run in present}
        fewer = [f"{1 - parameters['mobilenet'] / parameters[run]:.0%} fewer than {run}" for run in present[1:]]
        ours = f"{parameters['mobilenet']:,} parameters: {', '.join(fewer)}; {parameters['mobilenet'] * 4 / 1e6:.1f} MB"
        verdict = "holds" if parameters["mobilenet"] == min(parameters.values()) else "does not hold"
    return Claim("end of 2-2", "MobileNet is smaller than the two others.", published, ours, verdict)


def _mobilenet_converges(its: Findings) -> Claim:
    nets = ("mobilenet", "alexnet", "vggnet")
    verdict, ours = _absent(its, *nets)
    if its.has(*nets):
        seen = {run: _converged(its, run) for run in nets}
        ours = f"images until the training accuracy first passes {CONVERGED:.0%} of its highest: " + ", ".join(
            f"{run} {images:,}" for run, images in seen.items()
        )
        fastest = min(seen["alexnet"], seen["vggnet"])
        apart = EPOCHS_APART * int(its.split("mobilenet", "base", "train")["n"])
        is_fast = seen["mobilenet"] <= min(fastest / 2, fastest - apart)
        verdict = "holds" if is_fast else "does not hold" if seen["mobilenet"] >= fastest + apart else "cannot tell"
    return Claim(
        "under figure 15", "MobileNet converges much faster than the two others.", "drawn, not printed", ours, verdict
    )


def _mobilenet_is_comparable(its: Findings) -> Claim:
    log = {"run": "mobilenet", "table": "log under figure 15"}
    steps, accuracy = (its.published(split="val", metric=metric, **log) for metric in ("steps", "accuracy"))
    published = (
        f"{accuracy:.4f}; but the log's {steps:.0f} steps are 1200 images at batch 32, not the 1600 of validation"
    )
    verdict, ours = _absent(its, "mobilenet", "alexnet", "vggnet")
    others = [run for run in ("alexnet", "vggnet") if its.has(run)]
    pairs = [_pair(its, "mobilenet, tuned", f"{run}, tuned") for run in others]
    if found := [pair for pair in pairs if pair]:
        ours = "; ".join(map(_difference, found))
        is_worse = any(pair.real and pair.difference <= -MARGIN for pair in found)
        is_near = len(found) == 2 and all(pair.low > -MARGIN for pair in found)
        verdict = "does not hold" if is_worse else "holds" if is_near else "cannot tell"
        verdict, ours = _learnt(its, verdict, ours, [name for pair in found for name in (pair.first, pair.second)])
    elif its.has("mobilenet") and others:
        verdict, ours = _untuned(its, "mobilenet")
    says = "After tuning MobileNet is comparable to the two others."
    return Claim("under figure 15", says, published, ours, verdict)


def _augmentation_raises(its: Findings) -> Claim:
    values = [its.published(f"xray-aug{level}", "test", table=str(8 + level)) for level in range(1, 5)]
    published = (
        f"{_series(values, 2)} at levels 1 to 4; but at levels 1 to 3 every film got the same answer, "
        f"and at level 4 training gives {its.published('xray-aug4', 'train_augmented', table='12'):.2f}"
    )
    verdict, ours = _direction(its, "xray-aug4", "xray-aug1")
    if its.has(*LEVELS):
        ours = f"{_both_modes(its, LEVELS)}. {ours}"
        # Where level 1 is above 0.50, that came from something else than too few images.
        first, last = (its.split(run, "base", "test") for run in ("xray-aug1", "xray-aug4"))
        if first["accuracy_low"] > values[0] or last["accuracy_high"] < values[-1]:
            verdict, ours = _learnt(its, "does not hold", ours, ["xray-aug1", "xray-aug4"])
    says = "Augmentation takes accuracy from 0.50 to 0.95."
    return Claim("figure 16", says, published, ours, verdict)


def _every_level_helps(its: Findings) -> Claim:
    verdict, ours = _absent(its, *LEVELS)
    if its.has(*LEVELS):
        steps = [_pair(its, later, earlier) for earlier, later in pairwise(LEVELS)]
        falls = [pair for pair in steps if pair and pair.real and pair.difference < 0]
        whole = _pair(its, LEVELS[-1], LEVELS[0])
        rises = all(pair and pair.difference >= 0 for pair in steps)
        ours = "; ".join(_difference(pair) for pair in [*steps, whole] if pair)
        holds = bool(rises and whole and whole.real and whole.difference > 0)
        verdict = "does not hold" if falls else "holds" if holds else "cannot tell"
        verdict, ours = _learnt(its, verdict, ours, list(LEVELS))
    says = "The more augmentation, the better the net generalises."
    return Claim("under figure 16", says, "0.50, 0.50, 0.50, 0.95: one step", ours, verdict)


def _paper_augmentation(its: Findings) -> Claim:
    verdict, ours = _direction(its, "xray-aug4", "xray-aug0")
    steps = its.numbers[its.numbers["table"] == "accuracy by preprocessing"]["value"].tolist()
    says = "Augmentation raises accuracy (Reshi et al.)."
    return Claim("figure 16", says, f"{_series(steps, 2)}: raw, balanced, cleaned, augmented", ours, verdict)


def _main_model(its: Findings) -> Claim:
    layers = its.layers
    tables = [
        layers[layers["table"] == table].drop(columns=["table", "run"]).to_numpy().tolist() for table in ("8", "17")
    ]
    convolutions = sum(row[2] == "Conv2D" for row in tables[0])
    same = "row for row the same as" if tables[0] == tables[1] else "not the same as"
    published = f"table 8 has {convolutions} convolution layers and is {same} table 17"
    counts = [
        f"{run} {int(results.read_layers(run)['parameters'].sum()):,}"
        for run in ("xray-aug4", "xray-depth6")
        if its.has(run)
    ]
    verdict, ours = _absent(its, "xray-aug4")
    if counts:
        verdict, ours = "does not hold", f"parameters: {', '.join(counts)}"
    return Claim("3-5", "The main model has six layers.", published, ours, verdict)


def _deeper_overfits(its: Findings) -> Claim:
    logs = [f"log under table {table}" for table in range(13, 18)]
    in_training, in_test = (
        [its.published(run, split, table=log) for run, log in zip(DEPTHS, logs, strict=False)]
        for split in ("train_augmented", "test")
    )
    published = f"training falls with depth: {_series(in_training, 2)}; test {_series(in_test, 2)} at 1 to 5 layers"
    verdict, ours = _absent(its, *DEPTHS)
    if its.has(*DEPTHS):
        splits = [(its.split(run, "base", "train"), its.split(run, "base", "test")) for run in DEPTHS]
        gaps = [train["accuracy"] - test["accuracy"] for train, test in splits]
        ours = f"training minus test: {_series(gaps, 3)} at 1 to 6 layers"
        chance = sqrt(_half(splits[0][1]) ** 2 + _half(splits[-1][1]) ** 2)
        apart = gaps[-1] - gaps[0]
        verdict = "cannot tell" if abs(apart) <= chance else "holds" if apart > 0 else "does not hold"
        verdict, ours = _learnt(its, verdict, ours, [DEPTHS[0], DEPTHS[-1]], "train", "test")
    return Claim("3-5", "With more layers the net overfits sooner.", published, _minus(ours), verdict)


def _middle_depth(its: Findings) -> Claim:
    logs = {run: f"log under table {table}" for run, table in zip(DEPTHS, range(13, 18), strict=False)}
    best = sorted(logs, key=lambda run: -its.published(run, "test", table=logs[run]))[:2]
    published = "the best are " + " and ".join(
        f"{run} with {its.published(run, 'test', table=logs[run]):.2f}" for run in best
    )
    verdict, ours = _absent(its, *DEPTHS)
    if its.has(*DEPTHS):
        ends, middle = (DEPTHS[0], DEPTHS[-1]), DEPTHS[1:-1]
        accuracy = {run: its.split(run, "base", "test")["accuracy"] for run in DEPTHS}
        top = max(middle, key=lambda run: accuracy[run])
        pairs = [_beats(its, top, end) for end in ends]
        losses = [any(_beats(its, end, run) == "holds" for end in ends) for run in middle]
        ours = f"{_series(list(accuracy.values()), 3)} at 1 to 6 layers"
        verdict = "holds" if pairs == ["holds", "holds"] else "does not hold" if all(losses) else "cannot tell"
        verdict, ours = _learnt(its, verdict, ours, list(DEPTHS))
    says = "Neither few layers nor many are best: the simple nets can't learn the patterns, the deep ones overfit."
    return Claim("3-5", says, published, ours, verdict)


def _paper_depth(its: Findings) -> Claim:
    table = its.numbers[(its.numbers["source"] == "reshi_2021") & (its.numbers["split"] == "test")]
    values = [float(table[table["run"] == run]["value"].item()) for run in DEPTHS]
    verdict, ours = _direction(its, "xray-depth6", "xray-depth1")
    falls = [pair for pair in (_pair(its, later, earlier) for earlier, later in pairwise(DEPTHS)) if pair]
    if verdict == "holds" and any(pair.real and pair.difference < 0 for pair in falls):
        verdict = "does not hold"
    if its.has(*DEPTHS):
        verdict, ours = _learnt(its, verdict, ours, list(DEPTHS))
    says = "Accuracy rises with depth (Reshi et al.)."
    return Claim("figure 22", says, f"{_series(values, 3)} at 1 to 6 layers", ours, verdict)


def _absent(its: Findings, *runs: str) -> tuple[Verdict, str]:
    missing = [run for run in runs if not its.has(run)]
    return "cannot tell", f"needs {', '.join(missing)}, which this experiment does not have"


def _pair(its: Findings, first: str, second: str) -> Difference | None:
    if pair := its.differences.get((first, second)):
        return pair
    if pair := its.differences.get((second, first)):
        return Difference(first, second, -pair.difference, -pair.high, -pair.low, pair.real)
    return None


def _beats(its: Findings, first: str, second: str) -> Verdict:
    pair = _pair(its, first, second)
    if not pair or not pair.real:
        return "cannot tell"
    return "holds" if pair.difference > 0 else "does not hold"


def _direction(its: Findings, first: str, second: str) -> tuple[Verdict, str]:
    """Whether the first training does better than the second."""
    pair = _pair(its, first, second)
    if not pair:
        runs = dict.fromkeys(name.split(",")[0] for name in (first, second))
        missing = [run for run in runs if not its.has(run)]
        return _absent(its, *missing) if missing else _untuned(its, next(iter(runs)))
    return _learnt(its, _beats(its, first, second), _difference(pair), [first, second])


def _difference(pair: Difference) -> str:
    chance = "" if pair.real else ", could be chance"
    text = f"{pair.first} − {pair.second}: {pair.difference:+.3f} ({pair.low:+.3f} to {pair.high:+.3f}{chance})"
    return _minus(text)


def _converged(its: Findings, run: str) -> int:
    """Images seen when the mean training accuracy first passes the share `CONVERGED` of its highest."""
    curve = results.read_curves(run)
    train = curve[curve["series"] == "train"]
    first = train[train["accuracy"] >= CONVERGED * train["accuracy"].max()]["epoch"].iloc[0]
    return int(first) * int(its.split(run, "base", "train")["n"])


def _f1(run: str, phase: str, split: str) -> pd.Series:
    """F1 by class, ascending."""
    table = results.read_report(run, phase, split)
    return table["f1-score"].drop(["accuracy", "macro avg", "weighted avg"]).dropna().sort_values(kind="stable")


def _published_f1(its: Findings, run: str, table: str, split: str) -> pd.Series:
    numbers = its.numbers[(its.numbers["source"] == "report") & (its.numbers["run"] == run)]
    rows = numbers[(numbers["table"] == table) & (numbers["split"] == split) & (numbers["metric"] == "f1")]
    classes = rows[~rows["class"].isin(["", "macro avg", "weighted avg"])]
    return classes.set_index("class")["value"].sort_values(kind="stable")


def _areas(run: str, phase: str, split: str) -> pd.Series:
    """The area under the ROC curve of each class."""
    table = results.read_roc(run, phase, split)
    return table.groupby("series", sort=False)["auc"].first().drop(["micro", "macro"], errors="ignore")


def _both_modes(its: Findings, runs: tuple[str, ...]) -> str:
    texts = []
    for mode in ("recalibrated", "moving"):
        splits = [its.split(run, "base", "test") for run in runs]
        constant = sum(bool(each[f"constant_{mode}"]) for each in splits)
        one = f", {constant} of {len(runs)} with one class for every film" if constant else ""
        texts.append(f"{mode} statistics: {_series([each[f'accuracy_{mode}'] for each in splits], 3)}{one}")
    return "; ".join(texts)


def _half(its: dict[str, Any]) -> float:
    return float(its["accuracy_high"] - its["accuracy_low"]) / 2


def _is_larger(first: float, second: float, n: float, among: int = 1) -> Verdict:
    """Whether a share of n is larger than another one beyond chance, by Fisher's exact test (1935).

    At 0.05, shared by the pairs that these two were found `among` (Bonferroni).
    """
    images = round(n)
    table = [[round(share * images), images - round(share * images)] for share in (first, second)]
    if fisher_exact(table).pvalue >= 0.05 / among:
        return "cannot tell"
    return "holds" if first > second else "does not hold"


def _standard_error(first: float, second: float, n: float) -> float:
    """Of the difference of two shares of n."""
    return sqrt((first * (1 - first) + second * (1 - second)) / n)


def _series(values: list[float], digits: int) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def _names(f1: pd.Series) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in f1.items())


def _minus(text: str) -> str:
    """Figures with a real minus sign."""
    return text.replace(" -", " −").replace("(-", "(−")
