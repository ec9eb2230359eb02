"""The chapter about values, such as valence and arousal, that a study's runs predict."""

from typing import Any

import pandas as pd

from cnnstudy.config.schema import Params
from cnnstudy.evaluation import results
from cnnstudy.evaluation.pairs import Training, named
from cnnstudy.evaluation.results import RunMetrics
from cnnstudy.report.story import COMPARED, Chapter, Figure, Image, More, mixed_hardware
from cnnstudy.report.summary import Number, joined
from cnnstudy.report.tables import Cell, Table, differences_table, number
from cnnstudy.workspace import paths

SCORES = ("ccc", "rmse", "sagr", "alpha")
# The beginnings of the metrics of values, beside the values' names.
BASELINES = ("ccc", "is_ccc_", "train_mean_", "positive_", "class_means_")
HEADINGS = {"ccc": "CCC", "rmse": "RMSE", "sagr": "SAGR", "alpha": "alpha"}


def chapter(params: Params, study: str, metrics: dict[str, RunMetrics], published: pd.DataFrame) -> Chapter | None:
    """Return the chapter about a study's values; None if no run learns any."""
    found = _trainings(params, study, metrics)
    if not found:
        return None
    settings, split = params.studies[study], params.studies[study].primary_split
    names = list(settings.values)
    run, phase = _best(found)
    best, rows = named(run, phase), {named(*training): its for training, its in found.items()}
    headline = f"{joined([name.capitalize() if i == 0 else name for i, name in enumerate(names)])}: " + (
        f"{best} reaches a mean CCC of " + _minus(f"{rows[best]['ccc']:.3f}")
    )
    sentences = [
        "The concordance correlation coefficient (CCC) is 1 for perfect predictions and 0 for a constant: unlike the "
        "RMSE it can’t be low merely because the values vary little.",
        *_gains(rows),
        *_costs(params, study),
        *_beside(published[published["study"] == study], names),
    ]
    figures = paths.run_plots(run) / "figures"
    table = pd.read_csv(figures / f"{phase}-{split}-residuals.csv")
    tables = [_means(rows, settings.title, split)]
    more = [
        More("Each value, with baselines and published numbers", [
            *(_of_value(name, rows, published[published["study"] == study], split) for name in names),
            _spreads(names, rows, split),
        ])
    ]  # fmt: skip
    more.append(More(f"Residuals of {best} by class", _residuals(table, split)))
    for name, ablation in params.ablations.items():
        if ablation.study == study and params.task_of(next(iter(ablation.runs))).has_values:
            more.append(_compared(params, name))
    caption = f"{settings.title}: predicted and true values of {best}, each point an image of {split}."
    image = Image(f"predicted-{study}", caption, results.data_uri(figures / f"{phase}-{split}-values.png"))
    figure = Figure(caption, image=image)
    return Chapter(f"values-{study}", "Values", headline, sentences, [figure], tables, more=more)


def best_number(params: Params, study: str, metrics: dict[str, RunMetrics]) -> Number | None:
    """Return the highest mean CCC of a study's runs for the first screen; None if no run learns values."""
    found = _trainings(params, study, metrics)
    if not found:
        return None
    best, settings = _best(found), params.studies[study]
    its, names = found[best], joined(list(settings.values))
    where = f"{names} on {settings.primary_split} ({named(*best)})"
    text = f"{settings.title}: best mean CCC of {where}. A constant has 0."
    return Number(_minus(f"{its['ccc']:.3f}"), _minus(f"{its['ccc_low']:.3f} to {its['ccc_high']:.3f}"), text)


def _trainings(params: Params, study: str, metrics: dict[str, RunMetrics]) -> dict[Training, dict[str, Any]]:
    """Return the metrics on the primary split of the trainings that learn a study's values."""
    split = params.studies[study].primary_split
    return {
        (run, phase): splits[split]
        for run in params.runs_of(study)
        if params.task_of(run).has_values
        for phase, splits in metrics.get(run, {}).items()
    }


def _best(found: dict[Training, dict[str, Any]]) -> Training:
    """Return the training with the highest mean CCC."""
    return max(found, key=lambda training: float(found[training]["ccc"]))


def of_classes(params: Params, metrics: dict[str, RunMetrics]) -> dict[str, RunMetrics]:
    """Return the metrics of the runs that learn classes, without those of values."""
    found: dict[str, RunMetrics] = {}
    for run, phases in metrics.items():
        if params.task_of(run).has_classes:
            begins = (*BASELINES, *(f"{name}_" for name in params.values_of(run)))
            found[run] = {
                phase: {
                    split: {name: value for name, value in its.items() if not name.startswith(begins)}
                    for split, its in splits.items()
                }
                for phase, splits in phases.items()
            }
    return found


def _gains(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return how many nets with classes beat the means of the classes that they predict."""
    joint = {name: each for name, each in rows.items() if "ccc_gain" in each}
    if not joint:
        return []
    better = [name for name, each in joint.items() if each["is_ccc_gain_significant"] and each["ccc_gain"] > 0]
    return [
        f"A net that predicts classes too could give the means of its classes, weighted by their probabilities: "
        f"{len(better)} of {len(joint)} such nets have a significantly higher CCC than that."
    ]


def _costs(params: Params, study: str) -> list[str]:
    """Return whether predicting values as well costs accuracy."""
    pairs = [
        pair
        for name, ablation in params.ablations.items()
        if ablation.study == study and params.task_of(next(iter(ablation.runs))).has_values
        for pair in results.read_class_differences(name)
    ]
    if not pairs:
        return []
    worse = [pair for pair in pairs if pair.significant and pair.difference < 0]
    span = f"{min(pair.difference for pair in pairs):+.3f} to {max(pair.difference for pair in pairs):+.3f}"
    told = f"costs accuracy significantly in {len(worse)} of {len(pairs)} nets"
    return [f"A second head for the values {told} (differences from {_minus(span)})."]


def _beside(published: pd.DataFrame, names: list[str]) -> list[str]:
    """Return how far published RMSEs are below that of a constant prediction on the same labels."""
    found = []
    for name in names:
        rows = published[published["metric"] == f"{name}_rmse"]
        constant = rows.loc[rows["run"] == "constant", "value"].astype(float)
        nets = rows.loc[~rows["run"].isin(["constant", "baseline", "positive"]), "value"].astype(float)
        if len(constant) and len(nets):
            found.append(f"{name} {nets.min():.2f} to {nets.max():.2f}, and {constant.iloc[0]:.3f} by the labels’ mean")
    if not found:
        return []
    return [f"Published RMSEs are on other images: {'; '.join(found)}. They are close to those of a constant."]


def _means(rows: dict[str, dict[str, Any]], title: str, split: str) -> Table:
    table = [
        [
            Cell(name),
            Cell(_minus(f"{each['ccc']:.3f}")),
            Cell(_minus(f"{each['ccc_low']:.3f} to {each['ccc_high']:.3f}")),
            Cell(_minus(f"{each['ccc_gain']:+.3f}") if "ccc_gain" in each else "–"),
            number(each.get("accuracy")),
        ]
        for name, each in rows.items()
    ]  # fmt: skip
    return Table(
        ["net", "mean CCC", "95 % interval", "above class means", "accuracy"], table, f"{title}: every net on {split}"
    )


def _of_value(name: str, rows: dict[str, dict[str, Any]], published: pd.DataFrame, split: str) -> Table:
    """Return the scores of a value by net, then of the baselines, then as published."""
    table = [[Cell(net), *(number(each.get(f"{name}_{score}")) for score in SCORES)] for net, each in rows.items()]
    first = next(iter(rows.values()))
    table.append(_baseline("mean of train", rmse=first.get(f"train_mean_{name}_rmse")))
    table.append(_baseline("always above 0", sagr=first.get(f"positive_{name}_sagr")))
    for net, each in rows.items():
        if f"class_means_{name}_ccc" in each:
            table.append(_baseline(f"class means of {net}", ccc=each[f"class_means_{name}_ccc"]))
    for (run, source), its in published.groupby(["run", "source"], sort=False):
        found = dict(zip(its["metric"], its["value"].astype(float), strict=True))
        scores = {score: found.get(f"{name}_{score}") for score in SCORES}
        table.append(_baseline(f"{run} ({source})", **scores))
    return Table([name, *(HEADINGS[score] for score in SCORES)], table, f"{name.capitalize()} on {split}")


def _spreads(names: list[str], rows: dict[str, dict[str, Any]], split: str) -> Table:
    """Return how much the predictions of each net vary, as a share of the spread of the truth."""
    table = [[Cell(net), *(number(each.get(f"{name}_spread")) for name in names)] for net, each in rows.items()]
    caption = f"Standard deviation of the predictions on {split}, divided by that of the truth"
    return Table(["net", *names], table, caption)


def _residuals(table: pd.DataFrame, split: str) -> list[Table]:
    """Return a table for each value: the mean truth, mean residual (prediction minus truth) and RMSE of each class."""
    tables = []
    for name, its in table.groupby("value", sort=False):
        rows = [
            [
                Cell(str(row["class"])),
                number(int(row["n"])),
                *(Cell(_minus(f"{row[column]:+.3f}")) for column in ("mean", "residual")),
                number(row["rmse"]),
            ]
            for _, row in its.iterrows()
        ]
        heading = ["class", "images", "mean truth", "mean residual", "RMSE"]
        tables.append(Table(heading, rows, f"{str(name).capitalize()} on {split}, by class"))
    return tables


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _baseline(label: str, **scores: float | None) -> list[Cell]:
    return [Cell(label), *(number(scores.get(score)) for score in SCORES)]


def _compared(params: Params, name: str) -> More:
    axis = params.ablations[name].axis
    folder = paths.ablation_plots(name)
    images = [
        Image(f"ablation-{name}-{kind}", f"{text} by {axis}", results.data_uri(folder / f"{kind}.png"))
        for kind, text in {"curve": "Mean CCC", "differences": "Differences", "training": "Training"}.items()
        if (folder / f"{kind}.png").exists()
    ]
    pairs = results.read_ablation_differences(name)
    table = differences_table(pairs, "mean CCC")
    text = " ".join([COMPARED, *mixed_hardware(params, list(params.ablations[name].runs))])
    return More(f"Compared by {axis}", [table], images, text)
