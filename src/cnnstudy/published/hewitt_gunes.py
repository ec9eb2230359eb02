"""Hewitt and Gunes 2018 (arXiv:1807.08775) on facial expressions, and the course report's reproduction."""

from math import sqrt

import pandas as pd
from scipy.stats import binomtest

from cnnstudy.evaluation import results
from cnnstudy.published.paper import Paper
from cnnstudy.published.verdicts import (
    MARGIN,
    Claim,
    Findings,
    Verdict,
    absent,
    direction,
    find_pair,
    half_width,
    in_words,
    is_larger,
    learnt,
    minus,
    standard_error,
    untuned,
)

# With fewer wrong predictions than this, a claim about confusions is not judged.
FEWEST = 10
# The share of a net's highest training accuracy that counts as converged, and the least difference in epochs to judge.
CONVERGED, EPOCHS_APART = 0.9, 2


def claims(findings: Findings) -> list[Claim]:
    """Return the claims about facial expressions, in the order of the report."""
    return [
        _no_overfitting(findings),
        _weak_classes(findings),
        _tuning_improves(findings),
        _tuning_moves_roc(
            findings, "alexnet", True, "under figure 7", "Tuning makes most ROC curves of AlexNet better."
        ),
        _happy_is_best(findings),
        _confused(findings, "surprise", "fear", "under figure 8", "Surprise is mistaken for fear."),
        _vggnet_overfits(findings),
        _tuning_moves_roc(
            findings, "vggnet", False, "under figure 12", "Tuning makes VGGNet's ROC worse: it overfits."
        ),
        _vggnet_beats_alexnet(findings),
        _sad_and_angry(findings),
        _gaussian_dropout(findings),
        _mobilenet_is_small(findings),
        _mobilenet_converges(findings),
        _mobilenet_is_comparable(findings),
    ]  # fmt: skip


def _no_overfitting(findings: Findings) -> Claim:
    verdict, ours = _overfits(findings, "alexnet")
    opposite: dict[Verdict, Verdict] = {"holds": "does not hold", "does not hold": "holds"}
    says = "AlexNet does not overfit: validation keeps up with training."
    return Claim("under figure 3", says, _train_val(findings, "alexnet", "3"), ours, opposite.get(verdict, verdict))


def _vggnet_overfits(findings: Findings) -> Claim:
    verdict, ours = _overfits(findings, "vggnet")
    return Claim(
        "under figure 10", "VGGNet is close to overfitting.", _train_val(findings, "vggnet", "6"), ours, verdict
    )


def _train_val(findings: Findings, run: str, table: str) -> str:
    train, val = (findings.published(run, split, table=table) for split in ("train", "val"))
    return f"{train:.2f} in training, {val:.2f} in validation"


def _overfits(findings: Findings, run: str) -> tuple[Verdict, str]:
    """Return whether training accuracy is significantly above validation accuracy, by at least `MARGIN`."""
    if not findings.has(run):
        return absent(findings, run)
    train, val = findings.split(run, "base", "train"), findings.split(run, "base", "val")
    ours = f"{train['accuracy']:.3f} in training, {findings.accuracy(run, 'base', 'val')} in validation"
    gap, chance = train["accuracy"] - val["accuracy"], sqrt(half_width(train) ** 2 + half_width(val) ** 2)
    is_above = gap >= MARGIN and gap > chance
    verdict: Verdict = "holds" if is_above else "does not hold" if gap + chance < MARGIN else "cannot tell"
    return learnt(findings, verdict, ours, [run], "train", "val")


def _weak_classes(findings: Findings) -> Claim:
    published = (
        f"the lowest F1 in table 3: {_names(_published_f1(findings, 'alexnet', '3', 'val').head(3))}; "
        f"but in table 4, after tuning: {_names(_published_f1(findings, 'alexnet', '4', 'val').head(3))}"
    )
    verdict, ours = absent(findings, "alexnet")
    if findings.has("alexnet"):
        verdict, ours = _apart(findings, "base", ["anger", "contempt", "disgust"], is_higher=False)
        ours += f"; the lowest F1: {_names(_f1('alexnet', 'base', 'val').head(3))}"
    return Claim("under table 3", "Anger, contempt and disgust are the weakest classes.", published, ours, verdict)


def _apart(findings: Findings, phase: str, classes: list[str], is_higher: bool) -> tuple[Verdict, str]:
    """Return whether these classes have alexnet's highest, or lowest, recall in validation.

    The least extreme of these classes is compared with the most extreme of the other classes.
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
    images = min(n[near], n[other]) / len(findings.params.seeds)
    better, worse = (near, other) if is_higher else (other, near)
    # Corrected for all pairs of an inside and an outside class, from which this pair was selected.
    verdict = is_larger(recall[better], recall[worse], images, len(inside) * len(outside))
    ours = f"recall: {near} {recall[near]:.3f}, {other} {recall[other]:.3f}"
    return learnt(findings, verdict, ours, ["alexnet" if phase == "base" else f"alexnet, {phase}"], "val")


def _tuning_improves(findings: Findings) -> Claim:
    before, after = (findings.published("alexnet", "val", table=table) for table in ("3", "4"))
    published = (
        f"{before:.2f} before, {after:.2f} after: {after - before:+.2f} of 1600 images, "
        f"{abs(after - before) / standard_error(before, after, 1600):.1f} standard errors"
    )
    verdict, ours = direction(findings, "alexnet, tuned", "alexnet")
    others = [run for run in ("vggnet", "mobilenet") if findings.has(run)]
    if verdict != "cannot tell" or findings.has("alexnet"):
        ours = "; ".join([ours, *(direction(findings, f"{run}, tuned", run)[1] for run in others)])
    return Claim("under figure 8", "Tuning improves the model (AlexNet).", minus(published), ours, verdict)


def _tuning_moves_roc(findings: Findings, run: str, rises: bool, where: str, says: str) -> Claim:
    verdict, ours = untuned(findings, run)
    if findings.is_tuned(run):
        before, after = (_areas(run, phase, "val") for phase in ("base", "tuned"))
        better, worse = int((after > before).sum()), int((after < before).sum())
        means = [f"{findings.split(run, phase, 'val').get('auc', float('nan')):.3f}" for phase in ("base", "tuned")]
        ours = f"of {len(before)} areas {better} rise and {worse} fall; their mean goes from {' to '.join(means)}"
        claimed, other = (better, worse) if rises else (worse, better)
        verdict = (
            "holds" if _are_most(claimed, other) else "does not hold" if _are_most(other, claimed) else "cannot tell"
        )
        if before.empty:
            verdict, ours = "cannot tell", "validation has images of one class only"
    return Claim(where, says, "plotted, without areas", ours, verdict)


def _are_most(count: int, others: int) -> bool:
    """Return whether `count` is significantly larger than `others`, by a one-sided sign test at 5 %."""
    return count > others and binomtest(count, count + others, alternative="greater").pvalue < 0.05


def _happy_is_best(findings: Findings) -> Claim:
    highest = _published_f1(findings, "alexnet", "4", "val").tail(2)[::-1]
    verdict, ours = untuned(findings, "alexnet")
    if findings.is_tuned("alexnet"):
        verdict, ours = _apart(findings, "tuned", ["happy"], is_higher=True)
        ours += f"; the highest F1: {_names(_f1('alexnet', 'tuned', 'val').tail(2)[::-1])}"
    says = "Happy is the class that AlexNet does best."
    return Claim("under table 4", says, f"the highest F1 in table 4: {_names(highest)}", ours, verdict)


def _confused(findings: Findings, actual: str, predicted: str, where: str, says: str) -> Claim:
    verdict, ours = untuned(findings, "alexnet")
    if findings.is_tuned("alexnet"):
        matrix = results.read_confusion("alexnet", "tuned", "val")
        verdict, ours = "cannot tell", f"{actual} is not a class here"
        if {actual, predicted} <= set(matrix.index):
            wrong = matrix.loc[actual].drop(actual).sort_values(ascending=False, kind="stable")
            counts = ", ".join(f"{name} {count}" for name, count in wrong.head(3).items())
            ours = f"of {wrong.sum()} wrong predictions for {actual} after tuning: {counts}"
            share = _more_than_its_share(wrong[predicted], wrong.sum(), len(wrong), len(findings.params.seeds))
            verdict, ours = learnt(findings, share, ours, ["alexnet, tuned"], "val")
    return Claim(where, says, "only in a figure", ours, verdict)


def _more_than_its_share(count: int, n: int, classes: int, seeds: int) -> Verdict:
    """Return whether one of `classes` classes has significantly more of `n` errors than an equal share.

    By Clopper and Pearson's interval (1934) on the mean counts per seed, since seeds share their images. With fewer
    than `FEWEST` errors the verdict is `cannot tell`.
    """
    images = round(n / seeds)
    if images < FEWEST:
        return "cannot tell"
    interval = binomtest(min(images, round(count / seeds)), images).proportion_ci(method="exact")
    return "holds" if interval.low > 1 / classes else "does not hold" if interval.high < 1 / classes else "cannot tell"


def _vggnet_beats_alexnet(findings: Findings) -> Claim:
    better, other = findings.published("vggnet", "val", table="6"), findings.published("alexnet", "val", table="3")
    published = (
        f"{better:.2f} against {other:.2f} of 1600 images: "
        f"{(better - other) / standard_error(better, other, 1600):.1f} standard errors, from one training each"
    )
    verdict, ours = direction(findings, "vggnet", "alexnet")
    return Claim("end of 2-1", "VGGNet does better than AlexNet.", published, ours, verdict)


def _sad_and_angry(findings: Findings) -> Claim:
    verdict, ours = absent(findings, "alexnet", "vggnet")
    if findings.has("alexnet", "vggnet"):
        verdict, ours = "cannot tell", "anger or sad is not a class here"
        matrices = {run: results.read_confusion(run, "base", "val") for run in ("alexnet", "vggnet")}
        if {"anger", "sad"} <= set(matrices["alexnet"].index):
            pairs = {run: m.loc["anger", "sad"] + m.loc["sad", "anger"] for run, m in matrices.items()}
            n = int(matrices["alexnet"].loc[["anger", "sad"]].to_numpy().sum())
            shares = {run: count / max(1, n) for run, count in pairs.items()}
            ours = f"mistaken for the other: alexnet {pairs['alexnet']}, vggnet {pairs['vggnet']} of {n}"
            larger = is_larger(shares["alexnet"], shares["vggnet"], n / len(findings.params.seeds))
            verdict, ours = learnt(findings, larger, ours, ["alexnet", "vggnet"], "val")
    says = "VGGNet tells sad from angry better than AlexNet."
    return Claim("end of 2-1", says, "only in a figure", ours, verdict)


def _gaussian_dropout(findings: Findings) -> Claim:
    layers = findings.layers
    counts = {table: layers[layers["table"] == table]["type"].value_counts() for table in ("2", "5")}
    words = [
        f"table {name}: {types['GaussianDropout']} Gaussian, {types['Dropout']} ordinary"
        for name, types in counts.items()
    ]
    says = "VGGNet generalises better for its Gaussian dropout, where AlexNet has ordinary dropout."
    ours = "both nets have both kinds, in the same places, so they can't show a difference"
    return Claim("end of 2-1", says, "; ".join(words), ours, "cannot tell")


def _mobilenet_is_small(findings: Findings) -> Claim:
    counts = {run: findings.published(run, "", metric="parameters") for run in ("mobilenet", "alexnet", "vggnet")}
    published = ", ".join(f"{run} {count:,.0f}" for run, count in counts.items())
    present = [run for run in counts if findings.has(run)]
    verdict, ours = absent(findings, *counts)
    if len(present) == len(counts):
        parameters = {run: int(results.read_layers(run)["parameters"].sum()) for run in present}
        fewer = [f"{1 - parameters['mobilenet'] / parameters[run]:.0%} fewer than {run}" for run in present[1:]]
        ours = f"{parameters['mobilenet']:,} parameters: {', '.join(fewer)}; {parameters['mobilenet'] * 4 / 1e6:.1f} MB"
        verdict = "holds" if parameters["mobilenet"] == min(parameters.values()) else "does not hold"
    return Claim("end of 2-2", "MobileNet is smaller than the two others.", published, ours, verdict)


def _mobilenet_converges(findings: Findings) -> Claim:
    nets = ("mobilenet", "alexnet", "vggnet")
    verdict, ours = absent(findings, *nets)
    if findings.has(*nets):
        seen = {run: _converged(findings, run) for run in nets}
        ours = f"images until the training accuracy first reaches {CONVERGED:.0%} of its maximum: " + ", ".join(
            f"{run} {images:,}" for run, images in seen.items()
        )
        fastest = min(seen["alexnet"], seen["vggnet"])
        apart = EPOCHS_APART * int(findings.split("mobilenet", "base", "train")["n"])
        is_fast = seen["mobilenet"] <= min(fastest / 2, fastest - apart)
        verdict = "holds" if is_fast else "does not hold" if seen["mobilenet"] >= fastest + apart else "cannot tell"
    return Claim(
        "under figure 15", "MobileNet converges much faster than the two others.", "only in a figure", ours, verdict
    )


def _mobilenet_is_comparable(findings: Findings) -> Claim:
    log = {"run": "mobilenet", "table": "log under figure 15"}
    steps, accuracy = (findings.published(split="val", metric=metric, **log) for metric in ("steps", "accuracy"))
    published = (
        f"{accuracy:.4f}; but the log's {steps:.0f} steps are 1200 images at batch 32, not the 1600 of validation"
    )
    verdict, ours = absent(findings, "mobilenet", "alexnet", "vggnet")
    others = [run for run in ("alexnet", "vggnet") if findings.has(run)]
    pairs = [find_pair(findings, "mobilenet, tuned", f"{run}, tuned") for run in others]
    if found := [pair for pair in pairs if pair]:
        ours = "; ".join(map(in_words, found))
        is_worse = any(pair.significant and pair.difference <= -MARGIN for pair in found)
        is_near = len(found) == 2 and all(pair.low > -MARGIN for pair in found)
        verdict = "does not hold" if is_worse else "holds" if is_near else "cannot tell"
        verdict, ours = learnt(findings, verdict, ours, [name for pair in found for name in (pair.first, pair.second)])
    elif findings.has("mobilenet") and others:
        verdict, ours = untuned(findings, "mobilenet")
    says = "After tuning MobileNet is comparable to the two others."
    return Claim("under figure 15", says, published, ours, verdict)


def _converged(findings: Findings, run: str) -> int:
    """Return the images seen when the mean training accuracy first reaches the share `CONVERGED` of its maximum."""
    curve = results.read_curves(run)
    train = curve[curve["series"] == "train"]
    first = train[train["accuracy"] >= CONVERGED * train["accuracy"].max()]["epoch"].iloc[0]
    return int(first) * int(findings.split(run, "base", "train")["n"])


def _f1(run: str, phase: str, split: str) -> pd.Series:
    """Return F1 by class, ascending."""
    table = results.read_report(run, phase, split)
    return table["f1-score"].drop(["accuracy", "macro avg", "weighted avg"]).dropna().sort_values(kind="stable")


def _published_f1(findings: Findings, run: str, table: str, split: str) -> pd.Series:
    numbers = findings.numbers[(findings.numbers["source"] == "report") & (findings.numbers["run"] == run)]
    rows = numbers[(numbers["table"] == table) & (numbers["split"] == split) & (numbers["metric"] == "f1")]
    classes = rows[~rows["class"].isin(["", "macro avg", "weighted avg"])]
    return classes.set_index("class")["value"].sort_values(kind="stable")


def _areas(run: str, phase: str, split: str) -> pd.Series:
    """Return the area under the ROC curve of each class."""
    table = results.read_roc(run, phase, split)
    return table.groupby("series", sort=False)["auc"].first().drop(["micro", "macro"], errors="ignore")


def _names(f1: pd.Series) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in f1.items())


PAPER = Paper(
    title="Hewitt & Gunes",
    source="hewitt_gunes_2018",
    files=("report_faces.csv", "hewitt_gunes_2018.csv"),
    classes=("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
    split="val",
    note="Accuracy on the validation part of TRAIN, as in the report. In the phase tuned, training continues on "
    "the tune split, which is then training data. Hewitt and Gunes measured on AffectNet's own validation "
    "set.",
    doubtful=("log under figure 15",),
    claims=claims,
    metrics={
        "accuracy": ("accuracy", "accuracy"),
        "macro F1": ("macro_f1", "f1"),
        "Cohen's kappa": ("kappa", "kappa"),
        "Krippendorff's alpha": ("alpha", "krippendorff_alpha"),
        "AUCPR": ("average_precision", "average_precision"),
        "AUC": ("auc", "auc"),
    },
    contents={"samples": "data", "policy": "augmentation", "augmented": "augmentation"},
)
