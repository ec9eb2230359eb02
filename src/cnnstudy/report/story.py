"""The chapters of the page: each presents one finding, with its claim as the headline."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from cnnstudy.config.schema import Params
from cnnstudy.data.samples import HOLDOUT
from cnnstudy.evaluation import results
from cnnstudy.evaluation.confidence import FEWEST
from cnnstudy.evaluation.intervals import LEVEL, Difference, at_level, gap_interval
from cnnstudy.evaluation.pairs import named
from cnnstudy.evaluation.results import JUDGED
from cnnstudy.export.litert import PRECISIONS
from cnnstudy.published.paper import Paper
from cnnstudy.published.verdicts import Claim, Findings, Verdict, find_pair, minus
from cnnstudy.report import dots, summary, tables
from cnnstudy.report.summary import joined
from cnnstudy.report.tables import Table
from cnnstudy.workspace import paths


@dataclass(frozen=True)
class Image:
    """An image with its id for links and its alternative text."""

    id: str
    text: str
    uri: str


@dataclass(frozen=True)
class More:
    """Content that is folded under a line with its title."""

    line: str
    tables: list[Table] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    text: str = ""


@dataclass(frozen=True)
class Figure:
    """A dot plot, a tally of verdicts or an image, with a caption."""

    caption: str
    plot: dots.Plot | None = None
    tally: dict[str, int] = field(default_factory=dict)
    image: Image | None = None


@dataclass(frozen=True)
class Chapter:
    """A finding: `name` is its entry in the contents, `headline` its claim, `sentences` the support for the claim.

    `points` are listed below the figures; `files` are templates with more such points.
    """

    id: str
    name: str
    headline: str
    sentences: list[str]
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    more: list[More] = field(default_factory=list)


# The number of nets that are shown where none is significantly worse, or wrong.
SHOWN = 3
# The headline's first words if tuning helps no net on images like those that it trains on.
NO_GAIN = "gains no net accuracy on images like those of tune beyond chance"
# Words for BatchNorm's statistics, by the value of the parameter `batchnorm`.
WORDS = {"moving": "the moving averages", "recalibrated": "the re-estimated statistics"}


def batchnorm(its: Findings) -> Chapter | None:
    """Return the chapter about nets whose moving averages hide what they learnt; None if there are none."""
    found = summary.hidden(its)
    if not found:
        return None
    every = sum(len(phases) for phases in its.metrics.values())
    parts = [its.split(*key, its.params.study_of(key[0]).primary_split) for key in found]
    lowest = min(part["accuracy_recalibrated"] for part in parts)
    highest = max(part["accuracy_recalibrated"] for part in parts)
    spread = f"{lowest:.3f}" if lowest == highest else f"{lowest:.3f} to {highest:.3f}"
    sentences = [
        f"With the moving averages as training left them, {len(found)} of {every} trainings predict one class for "
        f"every image. With mean and variance re-estimated over the training set, the same weights reach {spread}: the "
        "nets had learnt, but their averages had not settled.",
        f"All other numbers on this page use {WORDS[its.params.batchnorm]}.",
    ]
    caption = (
        "Accuracy of the same weights under three ways of taking BatchNorm’s statistics; numbers at the right: "
        "moving averages → re-estimated."
    )
    headline = f"BatchNorm’s moving averages hid what {len(found)} of {every} trainings had learnt"
    more = [More("All trainings, and their accuracy on train", [tables.batchnorm_table(its.params, its.metrics)])]
    figure = Figure(caption, plot=dots.statistics(its, found))
    return Chapter("batchnorm", "BatchNorm", headline, sentences, [figure], more=more)


def ablation(its: Findings, name: str, paper: Paper | None, chance: float | None) -> Chapter:
    """Return the chapter about one setting."""
    settings, folder = its.params.ablations[name], paths.ablation_plots(name)
    rows, pairs = results.read_ablation(name), results.read_ablation_differences(name)
    study = its.params.studies[settings.study]
    base = rows[rows["phase"] == "base"]
    headline, sentences = _compared(its, base, settings.axis, study.primary_split, settings.has_words)
    sentences += mixed_hardware(its.params, list(settings.runs))
    plot = dots.ablation(its, name, rows, paper, chance)
    published = " and published numbers" if {dots.REPORT, dots.PAPER} & set(plot.legend) else ""
    caption = f"{study.title}: {study.primary_split} accuracy by {settings.axis}, beside training accuracy{published}."
    texts = {"curve": f"Accuracy by {settings.axis}", "training": f"Training by {settings.axis}"}
    images = [_image(folder / f"{kind}.png", f"ablation-{name}-{kind}", text) for kind, text in texts.items()]
    more = [More("As curves, and how they were trained", images=[each for each in images if each])]
    if pairs:
        drawn = _image(folder / "differences.png", f"ablation-{name}-differences", f"Differences by {settings.axis}")
        more.append(More("Every difference", [tables.differences_table(pairs)], [drawn] if drawn else [], COMPARED))
    if not settings.has_words:
        more.append(More("As a table", [tables.ablation_table(its.params, name, rows, its.numbers)]))
    short = settings.axis[:1].upper() + settings.axis[1:]
    figures = [Figure(caption, plot=plot)]
    return Chapter(f"ablation-{name}", short, headline, sentences, figures, more=more)


COMPARED = (
    "Each row compares two trainings on the same images by a paired bootstrap, and over several seeds by Welch’s "
    "interval. A difference is significant if its interval excludes 0 even after Bonferroni’s correction for all pairs "
    "of the table, and an exact sign test agrees. The intervals shown are uncorrected."
)


def mixed_hardware(params: Params, runs: list[str]) -> list[str]:
    """Return a sentence if runs that are compared were not all trained on the same kind of GPU, or on CPUs."""
    by_kind: dict[str, list[str]] = {}
    for run in runs:
        for phase in params.phases(run):
            kind = results.read_gpus(run, phase)
            by_kind.setdefault("CPUs" if kind == "none" else kind, []).append(named(run, phase))
    if len(by_kind) < 2 and not any(" and " in kind for kind in by_kind):  # seeds of one run may differ too
        return []
    told = "; ".join(f"{kind}: {', '.join(its)}" for kind, its in sorted(by_kind.items()))
    return [f"These nets were trained on different hardware, whose arithmetic differs in the last bits ({told})."]


def _compared(its: Findings, rows: pd.DataFrame, axis: str, split: str, has_words: bool) -> tuple[str, list[str]]:
    """Return the result of an ablation: a headline and one or two sentences."""
    best = rows.loc[rows[f"{split}_accuracy"].idxmax()]
    places = {row["run"]: row["x"] for row in rows.to_dict("records")}
    pairs = {run: find_pair(its, best["run"], run) for run in places if run != best["run"]}
    below = [run for run, pair in pairs.items() if pair and pair.significant and pair.difference > 0]
    level = [run for run in pairs if run not in below]
    label = f"{best['x']}"
    top = f"{best[f'{split}_accuracy']:.3f}"
    seed = "This is one seed; another may give a different result"
    doubt = f"{seed}." if len(its.params.seeds) == 1 else f"Each number is the mean of {len(its.params.seeds)} seeds."
    if not pairs:
        return f"One {axis} only: {top}", [f"There is nothing to compare it with. {doubt}"]
    if not below:
        first = f"The highest accuracy is {top} at {axis} {label}, and no other is significantly below it."
        return f"No difference by {axis} is significant", [first, doubt]
    last = max((pair for run in below if (pair := pairs[run])), key=lambda pair: pair.difference)
    first = f"The largest difference is {_in_words(last)}, which stays significant after correction for all pairs."
    others = joined([str(places[run]) for run in level], "or")
    second = f"No difference between {label} and {others} is significant. {doubt}" if level else doubt
    if has_words:
        worse = joined([str(places[run]) for run in below])
        verb = "is" if len(below) == 1 else "are"
        return f"{worse[:1].upper()}{worse[1:]} {verb} less accurate than {label}", [first, second]
    return _direction(rows, best, [places[run] for run in below], axis, f"{split}_accuracy"), [first, second]


def _direction(rows: pd.DataFrame, best: "pd.Series[Any]", below: list[Any], axis: str, column: str) -> str:
    """Return a headline on how accuracy changes along a numeric axis."""
    lower, upper = [x for x in below if x < best["x"]], [x for x in below if x > best["x"]]
    worst = rows[rows["x"].isin(below)].sort_values(column, kind="stable").iloc[0]
    change = f"{worst[column]:.3f} at {worst['x']}, {best[column]:.3f} at {best['x']}"
    if lower and upper:
        return f"Accuracy peaks at {axis} {best['x']} and is lower on both sides"
    if upper:
        return f"Accuracy falls with {axis}: {best[column]:.3f} at {best['x']}, {worst[column]:.3f} at {worst['x']}"
    if best["x"] == rows["x"].max():
        return f"Accuracy rises with {axis}: {change}"
    return f"Accuracy rises with {axis} up to {best['x']}, and no further: {change}"


def occlusion(its: Findings, found: dict[str, dict[str, Any]], sheets: dict[str, str]) -> Chapter | None:
    """Return the chapter about what is left of the accuracy with parts of the images hidden; None without tests.

    `found` maps a study to its results, see cnnstudy.occlusion.results, and `sheets` to some of its images, as data
    URIs. Shown are each study's most accurate net and those above chance without evidence; the others are folded.
    """
    whole = {study: each for study, each in found.items() if each["runs"]}
    if not whole:
        return None
    above: list[tuple[float, str]] = []
    shown: list[Table] = []
    others: list[Table] = []
    blind = 0
    for study, each in whole.items():
        title = its.params.studies[study].title
        split = its.params.studies[study].primary_split
        own = {run: its.split(run, of_run["phase"], split)["accuracy"] for run, of_run in each["runs"].items()}
        left = {run: _above_chance(of_run["tests"].values(), each["chance"]) for run, of_run in each["runs"].items()}
        above += [(most, run) for run, most in left.items() if most]
        blind += sum(any(test["is_blind"] for test in of_run["tests"].values()) for of_run in each["runs"].values())
        first = {run for run in own if left[run] or own[run] == max(own.values())}
        for chosen, result in ((first, shown), (own.keys() - first, others)):
            if chosen:
                some = {run: of_run for run, of_run in each["runs"].items() if run in chosen}
                result += tables.occlusion_tables(each | {"runs": some}, own, title)
    headline = "What is left of the accuracy with parts of the images hidden"
    if blind:
        headline = f"Without the evidence, none of {blind} nets beats chance"
    if above:
        count, (most, run) = len(above), max(above)
        still = "still beats" if count == 1 else "still beat"
        headline = f"Without the evidence, {count} of {blind} nets {still} chance: {run} by {most:.3f}"
    sentences = [
        "Each net is tested on images of which a part has the mean colour of the training images, or of which only a "
        "part is left; on the primary split, and on val, which has the shortcuts of the training images.",
        "Predictions are balanced: each class is predicted as often as it occurs, since such images push many nets to "
        "one class.",
    ]
    if blind:
        sentences.append(
            "Red marks an accuracy above chance on one of the splits, after correction for the net’s tests, although "
            "no evidence is left: there a net uses something else."
        )
    sentences += [
        f"For {its.params.studies[study].title} the parts {joined(each['ellipses'])} are ellipses at the same place in "
        "every image, outside of which some evidence may lie."
        for study, each in whole.items()
        if each["ellipses"]
    ]
    more = [More("The other nets", tables=others)] if others else []
    for study in whole:
        text = f"Images of {study}, whole and with parts hidden"
        image = Image(f"occlusion-{study}", text, sheets[study])
        more.append(More(f"{its.params.studies[study].title}: some images", images=[image]))
    return Chapter("occlusion", "Hidden parts", headline, sentences, tables=shown, more=more)


def _above_chance(tests: Iterable[dict[str, Any]], chance: dict[str, float]) -> float:
    """Return by how much a net's accuracy without the evidence is significantly above chance; 0 if it is not."""
    gaps = [
        test["splits"][split]["accuracy"] - chance[split] for test in tests for split in test.get("above_chance", [])
    ]
    return max([0.0, *gaps])


def calibration(its: Findings) -> Chapter:
    """Return the chapter about the confidence of the nets' predictions."""
    last = [
        its.split(run, list(phases)[-1], its.params.study_of(run).primary_split) for run, phases in its.metrics.items()
    ]
    wrong = [each for each in last if each["calibration_error"] > each["calibration_error_chance"]]
    over = sum(each["confidence_gap"] > 0 for each in wrong)
    fitted = [each for each in last if "temperature" in each]
    kinds = {"overconfident": over, "underconfident": len(wrong) - over}
    told = [f"{count} {'is' if count == 1 else 'are'} {kind}" for kind, count in kinds.items() if count]
    headline = "Confidence and accuracy agree, as far as these images tell"
    if told:
        headline = f"Of {len(last)} nets, {joined(told)}"
    sentences = [
        "The calibration error is the mean gap between the probability of the predicted class and the share of correct "
        "predictions, in bins of as many images each.",
        f"Nets with {FEWEST} images or more in val ({len(fitted)} of {len(last)}) have a temperature fitted on val. "
        "Predictions use the logits divided by it, which changes no predicted class.",
        "Even with perfect calibration the error is above 0 on few images: “by chance” is the value that it then "
        "exceeds in 5 % of samples. A net with a larger error is over- or underconfident, by its mean confidence.",
    ]
    shown = [run for run, each in zip(its.metrics, last, strict=True) if each in wrong] or list(its.metrics)[:SHOWN]
    others = [run for run in its.metrics if run not in shown]
    more = [More("The other nets", tables=[tables.calibration_table(its, others)])] if others else []
    table = tables.calibration_table(its, shown)
    return Chapter("calibration", "Calibration", headline, sentences, tables=[table], more=more)


def operating(its: Findings, study: str) -> Chapter | None:
    """Return the chapter about the thresholds of a study's nets for two classes; None if it has no operating points."""
    settings = its.params.studies[study]
    if settings.operating_point is None or not (table := tables.operating_table(its, study)).rows:
        return None
    positive, least = list(settings.classes)[1], settings.operating_point.sensitivity
    count, split = len(table.rows), settings.primary_split
    chosen_on = its.split(table.rows[0][0].text, "base", "val")["n"]
    if least:
        rule = f"the highest that keeps a sensitivity of {least:g} on val"
        kept = sum(float(row[1].text) >= least for row in table.rows)
        headline = f"A sensitivity of {least:g} on val is kept on {split} by {kept} of {count} nets"
    else:
        rule = "that of Youden’s index on val"
        spans = [[float(row[column].text) for row in table.rows] for column in (1, 2)]
        told = [f"{min(span):.2f} to {max(span):.2f}" for span in spans]
        headline = (
            f"At thresholds from val, {count} nets have a sensitivity of {told[0]} and a specificity of {told[1]}"
        )
    sentences = [
        f"A net predicts {positive} where its probability is at least a threshold, {rule}.",
        f"val has {chosen_on} images; the fewer, the more a threshold is left to chance, which the intervals do not "
        "include.",
        f"PPV and NPV are the shares of {positive} and of other predictions that are correct if "
        f"{settings.operating_point.prevalence:.0%} of all cases are {positive}, as they are not in the images here.",
    ]
    # The most accurate nets at their thresholds first: sensitivity and specificity are in the second and third column.
    order = sorted(table.rows, key=lambda row: -float(row[1].text) - float(row[2].text))
    shown = replace(table, rows=order[:SHOWN])
    more = [More("The other nets", tables=[replace(table, rows=rest)])] if (rest := order[SHOWN:]) else []
    return Chapter(f"operating-{study}", "Threshold", headline, sentences, tables=[shown], more=more)


def subgroups(its: Findings) -> Chapter | None:
    """Return the chapter about accuracy by subgroup; None if no subgroup was compared."""
    table = tables.subgroup_table(its)
    if not table.rows:
        return None
    worse = [row for row in table.rows if row[-1].text == "yes"]
    headline = f"No subgroup is significantly worse than the other images, in any of {len(table.rows)} nets"
    if worse:
        most = max(worse, key=lambda row: float(row[3].text))
        count = len(worse)
        which = f"{most[1].text} costs {most[0].text} {float(most[3].text):.3f}"
        headline = f"{count} {'net is' if count == 1 else 'nets are'} significantly worse on a subgroup: {which}"
    sentences = [
        "Images are grouped by the columns that their source brings, by properties of their files, and if they are "
        "synthetic by how they were generated; a missing value is a group too.",
        "Significant is a difference whose interval excludes 0 after correction for all subgroups of a net. All "
        "subgroups, with calibration and sensitivity, are in plots/runs/<run>/figures.",
    ]
    shown = replace(table, rows=table.rows[: max(SHOWN, len(worse))])
    more = (
        [More("The other nets", tables=[replace(table, rows=rest)])] if (rest := table.rows[len(shown.rows) :]) else []
    )
    return Chapter("subgroups", "Subgroups", headline, sentences, tables=[shown], more=more)


def tuning(its: Findings) -> Chapter | None:
    """Return the chapter about what tuning gains and what it costs; None if no net was tuned."""
    shown: list[Table] = []
    won: list[float] = []
    lost: list[float] = []
    counts = {HOLDOUT: 0, "val": 0}
    for study in its.params.studies:
        runs = [run for run in its.params.class_runs_of(study) if its.is_tuned(run)]
        if not runs:
            continue
        judged = [split for split in JUDGED if split in its.metrics[runs[0]]["tuned"]]
        shown.append(tables.tuning_table(its, runs, judged))
        for split, changes, sign in ((HOLDOUT, won, 1), ("val", lost, -1)):
            if split in judged:
                counts[split] += len(runs)
                changes += [change for run in runs if (change := _change(its.split(run, "tuned", split), sign)) > 0]
    if not shown:
        return None
    gain = f"gains {_reach(won, counts[HOLDOUT])} on images like those of tune" if won else NO_GAIN
    cost = f"costs {_reach(lost, counts['val'])} on val" if lost else "costs none on val"
    headline = f"Tuning {gain}, and {cost}"
    sentences = [
        "Tuned nets continue training on the split tune, except for the images of tune_holdout, which show what tuning "
        "gains on images like those of tune. What it costs on images like those of train is shown by val.",
        "Gains are of the same net on the same images; green and red ones are significant after correction for the "
        "study’s tuned nets.",
    ]
    if not counts[HOLDOUT]:
        headline = f"Tuning {cost}"
        sentences[0] = (
            "Tuned nets continue training on the whole split tune, so that nothing shows what they gain on images like "
            "it; the parameter finetune.holdout holds a share of tune out. Images like those of train are in val."
        )
    return Chapter("tuning", "Tuning", headline, sentences, tables=shown)


def _change(metrics: dict[str, Any], sign: int) -> float:
    """Return by how much tuning raises (`sign` 1) or lowers (-1) the accuracy significantly; 0 if it does not."""
    return float(max(0.0, sign * metrics["tuning_gain"])) if metrics["is_tuning_gain_significant"] else 0.0


def _reach(changes: list[float], count: int) -> str:
    """Return how many of `count` nets change significantly, and by how much at most."""
    return f"{len(changes)} of {count} nets up to {max(changes):.3f}"


def elsewhere(
    its: Findings, tested: dict[str, dict[str, Any]], sheets: dict[str, str], audits: dict[str, dict[str, Any]]
) -> Chapter | None:
    """Return the chapter about images from elsewhere: external test sets, and a split tune unlike train; or None.

    `tested` maps a set to its results, see cnnstudy.external.results, and `sheets` to some of its images, as data URIs.
    `audits` are by study.
    """
    whole, gaps, apart = (
        {name: found for name, found in tested.items() if found["runs"]},
        _tune_gaps(its),
        _test_gaps(its),
    )
    shown = whole | gaps | apart
    if not shown:
        return None
    headline = "No net loses accuracy on images from elsewhere beyond chance"
    if losses := _losses(whole or gaps):
        headline = f"Images from elsewhere cost {_cost(losses)}"
    elif losses := _losses(apart):
        headline = f"Images of test cost {_cost(losses)} against val"
    sentences = [
        "Every net is also tested on images of another origin than its own, which no training, selection or tuning has "
        f"seen: {joined([_set_in_words(its, name, found) for name, found in whole.items()])}."
    ] * bool(whole)
    sentences += [
        "A loss is the accuracy on the study’s own primary split minus that elsewhere; it is counted if its 95 % "
        "interval lies above 0."
    ]
    sentences += [
        f"{name} has images of fewer than two of the classes that the nets know, and tests nothing."
        for name, found in tested.items()
        if name not in whole
    ]
    sentences += [
        f"The split {name}, costs accuracy too: {drift_in_words(audits[found['study']])}."
        for name, found in gaps.items()
    ]
    sentences += [
        f"The {name}, costs accuracy too: its images may lack what makes those of val easy, such as a shortcut."
        for name in apart
    ]
    caption = "Accuracy of each net on its study’s images and on images from elsewhere; at the right: own → elsewhere."
    more = [
        More(f"{name}: some images", images=[Image(f"external-{name}", f"Some images of {name}", sheets[name])])
        for name in whole
    ]
    matrix = [
        table
        for study in its.params.studies
        if (sets := {name: found for name, found in whole.items() if found["study"] == study})
        for table in tables.tested_tables(its, study, sets)
    ]
    matrix += [tables.loss_on_tune_table(its, found["study"], list(found["runs"])) for found in gaps.values()]
    more = [More("The same as a table", tables=matrix), *more] if matrix else more
    figure = Figure(caption, plot=dots.external(its, shown))
    return Chapter("elsewhere", "Elsewhere", headline, sentences, [figure], more=more)


def _losses(tested: dict[str, dict[str, Any]]) -> list[float | None]:
    """Return the loss of each net's last phase on each set, None where it is not significant; [] if none is."""
    last = [list(phases.values())[-1] for found in tested.values() for phases in found["runs"].values()]
    losses = [each["drop"] if each["drop_low"] > 0 else None for each in last]
    return losses if any(losses) else []


def _cost(losses: list[float | None]) -> str:
    significant = [loss for loss in losses if loss is not None]
    return f"{len(significant)} of {len(losses)} nets accuracy, up to {max(significant):.3f}"


def _tune_gaps(its: Findings) -> dict[str, dict[str, Any]]:
    """Return results, as of an external test set, of nets before tuning on the tune splits that cost any accuracy."""
    found = {}
    for study, settings in its.params.studies.items():
        runs = {}
        for run in its.params.class_runs_of(study):
            splits = its.metrics.get(run, {}).get("base", {})
            if "tune" in splits:
                own, there = splits[settings.primary_split], splits["tune"]
                low, high = gap_interval(own, there)
                loss = {"drop": own["accuracy"] - there["accuracy"], "drop_low": low, "drop_high": high}
                runs[run] = {"base": there | loss}
        if any(phases["base"]["drop_low"] > 0 for phases in runs.values()):
            found[f"tune of {study}, before tuning"] = {"study": study, "runs": runs}
    return found


def _test_gaps(its: Findings) -> dict[str, dict[str, Any]]:
    """Return results, as of an external test set, of nets on the test splits that cost any accuracy against val.

    Intervals are corrected for the study's nets (Bonferroni), since an ordinary split must not be reported as a loss.
    Without those that select epochs on val, since val is then the best of many.
    """
    found = {}
    for study, settings in its.params.studies.items():
        nets = [run for run in its.params.class_runs_of(study) if not _selects_on_val(its.params, run)]
        runs = {}
        for run in nets if settings.primary_split == "test" else []:
            phase, splits = list(its.metrics[run].items())[-1]
            val, test = (at_level(splits[split], 1 - (1 - LEVEL) / len(nets)) for split in ("val", "test"))
            low, high = gap_interval(val, test)
            loss = {
                "own": val["accuracy"],
                "drop": val["accuracy"] - test["accuracy"],
                "drop_low": low,
                "drop_high": high,
            }
            runs[run] = {phase: splits["test"] | loss}
        if _losses({study: {"runs": runs}}):
            found[f"split test of {study}, against val"] = {"study": study, "runs": runs}
    return found


def _selects_on_val(params: Params, run: str) -> bool:
    recipe = params.run_recipe(run)
    return recipe.selection == "best" or recipe.patience > 0


def drift_in_words(audit: dict[str, Any]) -> str:
    """Return how the images of the split tune differ from those of train, from a study's audit."""
    unlike = audit["unlike_training_images"]
    text = f"{unlike['tune']:.0%} of its images are unlike those of train, against {unlike['val']:.0%} of val"
    drift = [each["kind"] for each in audit["findings"]["used"] if each["check"] == "drift"]
    return "; ".join([text, *drift])


def _set_in_words(its: Findings, name: str, found: dict[str, Any]) -> str:
    used = sum(found["by_class"].values())
    kind = "synthetic images" if its.params.external[name].synthetic else "images"
    left_out = [f"none of {label}" for label, count in found["by_class"].items() if not count]
    left_out += [f"{found['copies']} copies of the study’s own images left out"] if found["copies"] else []
    left_out += [f"{found['without_class']} images of other classes left out"] if found["without_class"] else []
    return f"{name} ({', '.join([f'{used} {kind}', *left_out])})"


def _headline(count: int, counts: Mapping[Verdict, int], sources: str) -> str:
    """Return how many claims hold and do not hold."""
    if count == 1:
        verdict = "holds" if counts["holds"] else "does not hold" if counts["does not hold"] else "stays open"
        return f"The one claim of {sources} {verdict} here"
    holds = f"{counts['holds']} {'holds' if counts['holds'] == 1 else 'hold'} here"
    fails = f"{counts['does not hold']} {'does' if counts['does not hold'] == 1 else 'do'} not"
    return f"Of {count} claims of {sources} {holds}, and {fails}"


def claims(its: Findings, judged: Mapping[str, list[Claim]]) -> Chapter | None:
    """Return the chapter about the claims of the course report and the papers."""
    papers = "the papers" if len(judged) > 1 else "the paper"
    sources = f"the course report and {papers}" if its.has_report else papers
    found = [claim for each in judged.values() for claim in each]
    if not found:
        return None
    counts = Counter(claim.verdict for claim in found)
    headline = _headline(len(found), counts, sources)
    seeds = "" if len(its.params.seeds) > 1 else " With one seed a verdict is about these trainings only."
    sentences = [
        "A claim is said to hold, or not to hold, only where our numbers on this data show it beyond chance. It stays "
        f"open where the difference is not significant, or cannot be measured here.{seeds}",
    ]
    if unconfirmed := [claim for claim in found if not claim.is_confirmed]:
        count = len(unconfirmed)
        sentences.append(
            f"{count} {'verdict' if count == 1 else 'verdicts'} on our own splits {'is' if count == 1 else 'are'} not "
            "confirmed on images from elsewhere; the numbers say where."
        )
    tally = {"holds": counts["holds"], "fails": counts["does not hold"], "open": counts["cannot tell"]}
    figure = Figure(f"The claims of {sources}, and the verdicts on this data.", tally=tally)
    decided = [claim for claim in found if claim.verdict != "cannot tell"]
    undecided = [claim for claim in found if claim.verdict == "cannot tell"]
    shown = [tables.claims_table(decided)] if decided else []
    points = [f"{claim.says} ({claim.where})" for claim in undecided]
    more = [More("The numbers behind the open claims", [tables.claims_table(undecided)])] if undecided else []
    return Chapter("claims", "Claims", headline, sentences, [figure], shown, points, more=more)


def contradictions(its: Findings, papers: dict[str, Paper], files: dict[str, str], count: int) -> Chapter | None:
    """Return the chapter about the contradictions inside the report, listed in `files` by study."""
    if not files:
        return None
    sentences = [
        f"Each of the {count} points below follows from the course report’s own numbers, without experiments of ours.",
        "Numbers that it contradicts are marked † on this page.",
    ]
    caption = "The accuracies that the course report prints, table by table: on training data, and on held-out data."
    plot = dots.printed(its, papers)
    figures = [Figure(caption, plot=plot)] if plot.groups else []
    return Chapter(
        "doubts", "Contradictions", "The course report contradicts itself", sentences, figures,
        files=list(files.values()),
    )  # fmt: skip


def gallery(its: Findings) -> Chapter:
    """Return the chapter about what the most accurate net of each study looks at."""
    figures, wrong, sentences, more = [], [], [], []
    for study, settings in its.params.studies.items():
        found = summary.best(its, study)
        if found is None:
            continue
        run, folder = found[0], paths.run_plots(found[0]) / "figures"
        name = named(run, list(its.metrics[run])[-1])
        if not (folder / "gallery.png").exists():
            text = f"{name}: the most confident correct predictions of each class, with their saliency in red."
            figures.append(Figure(text, image=_image(folder / "gradcam.png", f"gallery-{study}", text)))
            sentences.append(f"For the images of {settings.title}, the place of the evidence is not known.")
            continue
        attention = pd.read_csv(folder / "attention.csv", dtype={"class": str}, keep_default_na=False)
        if elsewhere := [str(each) for each in attention[attention["high"] < 1]["class"]]:
            wrong.append(f"for {joined(elsewhere)}, {run} looks away from the evidence")
        ratios = _ratios(its, study)
        sentences.append(_looks(name, ratios.get(name), attention))
        text = (
            f"{name}: most confident correct predictions. Red marks what supports the prediction (Grad-CAM), the "
            "outline encloses the evidence for the class, and × is how many times as much of this image’s map lies "
            "inside as expected by chance."
        )
        figures.append(Figure(text, image=_image(folder / "gallery.png", f"gallery-{study}", text)))
        shown = [tables.classes_table(attention), tables.attention_table(ratios)]
        more.append(More(f"{settings.title}: every class of {name}, and every net", shown))
    headline = "The nets look at the evidence more than chance would"
    if wrong:
        headline = f"Right for the wrong reason: {'; '.join(wrong)}"
    elif not more:
        headline = "What supports the most confident predictions"
    return Chapter("looks", "What the nets look at", headline, sentences, figures, more=more)


def _ratios(its: Findings, study: str) -> dict[str, float]:
    """Return the share of the maps on the evidence relative to chance, by training."""
    split, found = its.params.studies[study].primary_split, {}
    for run in its.params.class_runs_of(study):
        phase = list(its.metrics[run])[-1]
        if (ratio := its.split(run, phase, split).get("attention_ratio")) is not None:
            found[named(run, phase)] = float(ratio)
    return found


def _looks(name: str, ratio: float | None, attention: pd.DataFrame) -> str:
    if ratio is None:
        return f"{name} has no saliency on any image with evidence."
    whole = f"{name}: its heat maps cover the evidence {ratio:.1f} times as much as chance would"
    low = [f"{row['ratio']:.2f} times ({row['low']:.2f} to {row['high']:.2f}) for {row['class']}"
           for row in attention[attention["high"] < 1].to_dict("records")]  # fmt: skip
    return f"{whole}, but only {joined(low)}, so there it relies on something else." if low else f"{whole}."


def exported(numbers: dict[str, dict[str, dict[str, float]]], table: Table, text: str) -> Chapter | None:
    """Return the chapter about nets exported for phones; None if there are none."""
    if not numbers:
        return None
    first, last = PRECISIONS[0], PRECISIONS[-1]
    smaller = min(its[first]["size_mb"] / its[last]["size_mb"] for its in numbers.values())
    changes = {run: its[last]["accuracy_change"] for run, its in numbers.items()}
    worst = min(changes.values())
    loss = f"lose at most {-worst:.3f} of accuracy" if worst < 0 else "lose no accuracy"
    headline = f"On a phone: {last} files are at least {smaller:.1f} times smaller, and {loss}"
    more = [More("How their predictions differ from Keras’s", [tables.agreement_table(numbers)])]
    sentences = [
        "Each net as LiteRT files, from its last phase and first seed: size, accuracy on the primary split, and median "
        "time per image.",
        text,
    ]
    return Chapter("exported", "On a phone", headline, sentences, tables=[table], more=more)


def recipes(found: list[dict[str, Any]]) -> Chapter | None:
    """Return the chapter about two recipes, from the results of `cnnstudy recipes`; None without results."""
    if not found:
        return None
    base, ours = found[0]["recipes"][:2]
    gains = [pair for each in found for its in each["runs"].values() for pair in its["differences"]
             if (pair["first"], pair["second"]) == (ours, base)]  # fmt: skip
    better = [pair["difference"] for pair in gains if pair["significant"] and pair["difference"] > 0]
    worse = [-pair["difference"] for pair in gains if pair["significant"] and pair["difference"] < 0]
    headline = f"The recipe “{ours}” beats “{base}” for {len(better)} of {len(gains)} nets"
    reach = [f"{len(better)} gain up to {max(better):.3f} of accuracy"] if better else []
    reach += [f"{len(worse)} lose up to {max(worse):.3f}"] if worse else []
    sentences = [
        "Both recipes train the same nets on the same images for the same number of epochs: "
        f"{' and '.join(reach) or 'no difference is significant'}.",
        "Accuracies are with re-estimated BatchNorm statistics; differences have a paired bootstrap over images and "
        "Welch’s interval over seeds.",
    ]
    caption = f"Accuracy of each net by recipe, with 95 % intervals over seeds; in small print the gain over “{base}”."
    more = [
        More(f"{each['title']}: curves, and the table", [each["table"]], [each["image"]] if each["image"] else [])
        for each in found
    ]
    return Chapter("recipes", "Recipes", headline, sentences, [Figure(caption, plot=dots.recipes(found))], more=more)


def other_splits(its: Findings, found: dict[str, dict[str, Any]]) -> Chapter | None:
    """Return the chapter about how much the split decides, from results of `cnnstudy splits` by study; or None."""
    if not found:
        return None
    spans = {
        run: (min(net["accuracies"]), max(net["accuracies"]))
        for each in found.values()
        for run, net in each["runs"].items()
    }
    widest = max(spans, key=lambda run: spans[run][1] - spans[run][0])
    low, high = spans[widest]
    headline = f"Another split of the same images moves {widest} between {low:.3f} and {high:.3f}"
    sentences = [
        "The nets are trained anew, with the same seed, on other splits of the images that are in train, val and test. "
        "The interval of the mean is corrected for the images that training sets share (Nadeau and Bengio 2003)."
    ]
    shown = []
    for study, each in found.items():
        title = f"{its.params.studies[study].title}: {each['count']} {each['kind']}"
        shown.append(tables.splits_table(each["runs"], title))
        for pair in each["differences"]:
            bounds = f"{pair['difference']:+.3f} ({pair['low']:+.3f} to {pair['high']:+.3f})"
            told = "significant" if pair["significant"] else "not significant"
            sentences.append(minus(f"{pair['first']} − {pair['second']}: {bounds}, {told}."))
    return Chapter("splits", "Other splits", headline, sentences, tables=shown)


def _in_words(pair: Difference) -> str:
    return minus(f"{pair.first} − {pair.second}: {pair.difference:+.3f} ({pair.low:+.3f} to {pair.high:+.3f})")


def _image(path: Path, name: str, text: str) -> Image | None:
    return Image(name, text, results.data_uri(path)) if path.exists() else None
