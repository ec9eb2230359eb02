"""Evaluation of a run: metrics, tables and figures from its predictions and histories."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cnnstudy.config.schema import Params, Study
from cnnstudy.data import samples, specifications
from cnnstudy.data.specifications import generator_of, read_areas
from cnnstudy.evaluation import calibration, classification, operating, roc, subgroups
from cnnstudy.evaluation import values as value_scores
from cnnstudy.evaluation.confidence import at_temperature
from cnnstudy.evaluation.curve import area, thin
from cnnstudy.evaluation.intervals import differences
from cnnstudy.evaluation.metrics import Metrics, split_metrics
from cnnstudy.evaluation.predictions import (
    Predictions,
    ValuePredictions,
    read_predictions,
    read_values,
    require_classes,
)
from cnnstudy.evaluation.results import JUDGED
from cnnstudy.explain.overlap import by_class, overlap, shares
from cnnstudy.plots import gradcam
from cnnstudy.plots import run as figures
from cnnstudy.plots import values as value_figures
from cnnstudy.plots.style import Title
from cnnstudy.workspace import files, paths

FLOATS = "%.9g"
# Splits whose predictions are listed image by image; a list for train would be as long as the data set.
LISTED_SPLITS = ("val", "tune", "tune_holdout", "test")
# The predictions of every seed, by split.
Splits = dict[str, list[Predictions]]
# The metrics of a run by phase and split.
Content = dict[str, dict[str, Metrics]]
# The name under which images of no class are listed.
UNCLASSED = "no class"


@dataclass(frozen=True)
class Part:
    """One phase of a run on one split, with its metrics."""

    run: str
    phase: str
    split: str
    metrics: Metrics

    @property
    def stem(self) -> str:
        """The beginning of the names of the part's files."""
        return f"{self.phase}-{self.split}"

    @property
    def title(self) -> Title:
        """The title of the part's figures."""
        alarm = classification.one_class(self.metrics) if self.metrics["constant"] else ""
        return Title(f"{self.run}, {self.phase}, {self.split}", alarm)

    @property
    def counts_title(self) -> Title:
        """The title of the part's figures of counts, which are sums over seeds."""
        seeds = self.metrics["accuracy_seeds"]
        assert isinstance(seeds, list)
        several = f", {len(seeds)} seeds added up" if len(seeds) > 1 else ""
        return Title(self.title.text + several, self.title.alarm)


def evaluate_run(params: Params, run: str) -> None:
    """Write a run's metrics, its predictions and, in plots/runs/<run>, CSV files for `dvc plots` and figures/.

    The metrics are {phase: {split: metrics}}: those of `class_metrics` if the run learns classes, and of
    `values_metrics` if it learns values. The primary split of the last phase also has those of `saliency_overlap`.
    """
    study, task = params.all_runs[run].study, params.task_of(run)
    table = samples.read_samples(study)
    classes = samples.present_classes(params.studies[study].classes, table)
    histories = {phase: read_histories(params, run, phase) for phase in params.phases(run)}
    content: Content = {phase: {} for phase in histories}
    listed: list[pd.DataFrame] = []
    with files.replacing_folder(paths.run_plots(run)) as folder:
        figure_folder = folder / "figures"
        figure_folder.mkdir()
        shutil.copyfile(paths.layers(run), figure_folder / "layers.csv")
        curves_table(histories).to_csv(folder / "curves.csv", index=False, float_format=FLOATS)
        for phase, history in histories.items():
            figures.draw_curves(history, f"{run}, {phase}", figure_folder / f"{phase}-curves.png")
            shutil.copyfile(paths.facts(run, phase), figure_folder / f"{phase}-{paths.FACTS}")
        # DVC expects these two files of every run.
        pd.DataFrame(columns=["series", "auc", "fpr", "tpr", "part"]).to_csv(folder / "roc.csv", index=False)
        pd.DataFrame(columns=["actual", "predicted", "count", "part"]).to_csv(folder / "confusion.csv", index=False)
        if task.has_classes:
            predictions = {phase: read_phase(params, run, phase) for phase in histories}
            for splits in predictions.values():
                firsts = {split: seeds[0] for split, seeds in splits.items()}
                require_classes(firsts, classes, table["label"].to_numpy(), study)
            grouping = subgroup_columns(params.studies[study], study, table)
            by_subgroup = {
                phase: compare_subgroups(grouping, splits[params.studies[study].primary_split], params.batchnorm, table)
                for phase, splits in predictions.items()
            }
            _merge(content, class_metrics(params, run, predictions, by_subgroup, table))
            write_classes(params, run, predictions, content, classes, by_subgroup, folder)
            listed.append(predictions_table(params.seeds, predictions, params.batchnorm, classes, table))
            last = content[params.phases(run)[-1]][params.studies[study].primary_split]
            last |= saliency_overlap(params, run)
        if task.has_values:
            values = {phase: read_value_phase(params, run, phase) for phase in histories}
            _merge(content, values_metrics(params, run, values, table))
            write_values(params, run, values, classes, figure_folder)
            listed.append(values_table(params, run, values, classes, table))
    with files.replacing(paths.run_predictions(run)) as aside:
        pd.concat(listed).to_csv(aside, index=False, float_format="%.6f")
    files.write_text(paths.run_metrics(run), json.dumps(content, indent=2, allow_nan=False) + "\n")


def class_metrics(
    params: Params, run: str, predictions: dict[str, Splits], by_subgroup: dict[str, pd.DataFrame], table: pd.DataFrame
) -> Content:
    """Return the metrics of a run's classes, {phase: {split: metrics}}, from `split_metrics`.

    The primary split also has those from `calibration.measures`, and `temperature_seeds`, each seed's temperature if
    any was fitted; those from `operating.measures` if the study has an operating point; and `subgroup_gap`, see
    `worst_gap`. The phase `tuned` also has those from `tuning_gains`.
    """
    study, mode = params.study_of(run), params.batchnorm
    content: Content = {
        phase: {
            split: split_metrics(seeds, mode, samples.groups(table, seeds[0].ids)) for split, seeds in splits.items()
        }
        for phase, splits in predictions.items()
    }
    for phase, splits in predictions.items():
        fitted = temperatures(splits, mode)
        primary = content[phase][study.primary_split]
        primary |= calibrate(splits, study.primary_split, mode, table, fitted)
        primary |= operate(study, splits, mode, table, fitted)
        primary["subgroup_gap"] = worst_gap(by_subgroup[phase])
    tuned = sum(each.study == params.all_runs[run].study for each in params.finetuned.values())
    for split, gain in tuning_gains(predictions, mode, table, tuned).items():
        content["tuned"][split] |= gain
    return content


def write_classes(
    params: Params, run: str, predictions: dict[str, Splits], content: Content, classes: tuple[str, ...],
    by_subgroup: dict[str, pd.DataFrame], folder: Path,
) -> None:  # fmt: skip
    """Write the curves, matrices, reports and saliency maps of a run's classes to `folder`."""
    settings, mode, study = params.all_runs[run], params.batchnorm, params.study_of(run)
    images = np.load(paths.images(settings.study), mmap_mode="r", allow_pickle=False)
    table, figure_folder = samples.read_samples(settings.study), folder / "figures"
    rocs, matrices = [], []
    for phase, splits in predictions.items():
        for split, seeds in splits.items():
            part = Part(run, phase, split, content[phase][split])
            rocs.append(write_roc(figure_folder, part, roc.split_curves(seeds, mode, classes)))
            matrix = classification.confusion(seeds, mode, classes)
            matrices.append(write_confusion(figure_folder, part, matrix))
            write_report(figure_folder, part, classification.report_table(seeds, mode, classes))
            if split == study.primary_split:
                write_reliability(figure_folder, part, seeds, mode)
                target = figure_folder / f"{part.stem}-subgroups.csv"
                by_subgroup[phase].to_csv(target, index=False, float_format=FLOATS)
            if split in samples.SPLITS:
                ids = classification.examples(seeds, mode, classes)
                file = figure_folder / f"{part.stem}-examples.png"
                figures.draw_examples(images, ids, matrix, part.counts_title, file)
    pd.concat(rocs).to_csv(folder / "roc.csv", index=False, float_format=FLOATS)
    pd.concat(matrices).to_csv(folder / "confusion.csv", index=False)
    write_saliency(params, run, classes, images, figure_folder)
    write_attention(params, run, table, images, figure_folder)


def values_metrics(
    params: Params, run: str, values: dict[str, dict[str, list[ValuePredictions]]], table: pd.DataFrame
) -> Content:
    """Return the metrics of a run's values, {phase: {split: metrics}}, see cnnstudy.evaluation.values.

    Splits that are trained on have no intervals and no baselines.
    """
    mode, names = params.batchnorm, params.values_of(run)
    content: Content = {}
    for phase, splits in values.items():
        train = splits["train"][0]
        content[phase] = {}
        for split, seeds in splits.items():
            groups = samples.groups(table, seeds[0].ids)
            is_listed = split in LISTED_SPLITS
            found: Metrics = {"n": len(seeds[0].ids)}
            found |= value_scores.value_metrics(seeds, mode, names, groups, is_listed)
            if is_listed:
                found |= value_scores.baseline_metrics(seeds, train, mode, names, groups)
            content[phase][split] = found
    return content


def write_values(
    params: Params, run: str, values: dict[str, dict[str, list[ValuePredictions]]], classes: tuple[str, ...],
    folder: Path,
) -> None:  # fmt: skip
    """Draw a run's predicted values against the true ones on the primary split, and write residuals by class."""
    split, names = params.study_of(run).primary_split, params.values_of(run)
    ranges = [tuple(params.study_of(run).values[name]) for name in names]
    for phase, splits in values.items():
        seeds = splits[split]
        stem = f"{phase}-{split}"
        predicted = np.mean([seed.predicted[params.batchnorm] for seed in seeds], axis=0)
        groups = np.array([*classes, UNCLASSED])[seeds[0].labels]  # NO_CLASS is the last
        title = f"{run}, {phase}, {split}"
        value_figures.draw_values(seeds[0].truth, predicted, names, ranges, title, folder / f"{stem}-values.png")
        residuals(seeds[0].truth, predicted, names, groups).to_csv(
            folder / f"{stem}-residuals.csv", index=False, float_format=FLOATS
        )


def residuals(truth: np.ndarray, predicted: np.ndarray, names: tuple[str, ...], groups: np.ndarray) -> pd.DataFrame:
    """Return for each class and value the number of images, the mean truth, the mean residual and the RMSE."""
    rows = []
    for group in dict.fromkeys(groups.tolist()):
        for place, name in enumerate(names):
            used = (groups == group) & np.isfinite(truth[:, place])
            rest = (predicted - truth)[used, place]
            if used.any():
                mean, error = float(truth[used, place].mean()), float(np.sqrt((rest**2).mean()))
                rows.append((group, name, int(used.sum()), mean, float(rest.mean()), error))
    return pd.DataFrame(rows, columns=["class", "value", "n", "mean", "residual", "rmse"])


def values_table(
    params: Params, run: str, values: dict[str, dict[str, list[ValuePredictions]]], classes: tuple[str, ...],
    table: pd.DataFrame,
) -> pd.DataFrame:  # fmt: skip
    """Return the predicted and true values of each training for each image of the splits in `LISTED_SPLITS`.

    The columns are phase, split, seed, id, path, actual (the class), and for each value `<value>` and
    `<value>_predicted`.
    """
    names = np.array([*classes, ""])
    parts = []
    for phase, splits in values.items():
        for split in (each for each in LISTED_SPLITS if each in splits):
            for number, seed in zip(params.seeds, splits[split], strict=True):
                columns: dict[str, Any] = {"phase": phase, "split": split, "seed": number, "id": seed.ids}
                columns |= {"path": table["path"].to_numpy()[seed.ids], "actual": names[seed.labels]}
                for place, name in enumerate(params.values_of(run)):
                    columns |= {name: seed.truth[:, place]}
                    columns |= {f"{name}_predicted": seed.predicted[params.batchnorm][:, place]}
                parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _merge(content: Content, more: Content) -> None:
    """Add metrics to those of the same phase and split, in place; `n` stays the number of images with a class."""
    for phase, splits in more.items():
        for split, found in splits.items():
            content[phase][split] = found | content[phase].get(split, {})


def subgroup_columns(study: Study, name: str, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the columns by which a study's images are grouped; see `subgroups.columns`."""
    generator = generator_of(study)
    synthetic = specifications.subgroups(paths.specifications(name), generator) if generator else None
    return subgroups.columns(table, synthetic)


def compare_subgroups(
    grouping: dict[str, np.ndarray], seeds: list[Predictions], mode: str, table: pd.DataFrame
) -> pd.DataFrame:
    """Return the accuracy by subgroup of a split; see `subgroups.measure`."""
    ids = seeds[0].ids
    chosen = {column: values[ids] for column, values in grouping.items()}
    probabilities = [seed.probabilities[mode] for seed in seeds]
    return subgroups.measure(chosen, seeds[0].labels, probabilities, samples.groups(table, ids))


def worst_gap(found: pd.DataFrame) -> float:
    """Return the largest significant gap by which a subgroup is worse than the other images; 0 if there is none."""
    return float(max([0.0, *found.loc[found["is_significant"].eq(True), "gap"]]))


def tuning_gains(predictions: dict[str, Splits], mode: str, table: pd.DataFrame, nets: int) -> dict[str, Metrics]:
    """Return by split of `JUDGED` how much accuracy tuning adds; {} if the run is not tuned.

    The metrics are `tuning_gain`, with its 95 % interval `tuning_gain_low` to `tuning_gain_high`, and
    `is_tuning_gain_significant` (see cnnstudy.evaluation.intervals.differences), corrected for `nets`, the number of
    tuned nets of the study.
    """
    if "tuned" not in predictions:
        return {}
    found: dict[str, Metrics] = {}
    for split in (name for name in JUDGED if name in predictions["tuned"]):
        parts = {phase: splits[split] for phase, splits in predictions.items()}
        correct = {
            phase: np.array([seed.probabilities[mode].argmax(axis=1) == seed.labels for seed in seeds])
            for phase, seeds in parts.items()
        }
        groups = samples.groups(table, parts["tuned"][0].ids)
        (pair,) = differences(correct, groups, [("tuned", "base")], nets)
        bounds = {"tuning_gain_low": pair.low, "tuning_gain_high": pair.high}
        found[split] = {"tuning_gain": pair.difference, **bounds, "is_tuning_gain_significant": pair.significant}
    return found


def temperatures(splits: Splits, mode: str) -> list[float]:
    """Return each seed's temperature, fitted on val; empty if val has too few images."""
    found = [calibration.temperature(seed.labels, seed.probabilities[mode]) for seed in splits[calibration.SPLIT]]
    return [value for value in found if value is not None]  # val has the same images for every seed


def calibrate(
    splits: Splits, split: str, mode: str, table: pd.DataFrame, fitted: list[float]
) -> dict[str, float | list[float]]:
    """Return the calibration of a split, see `evaluate_run`."""
    first, groups = splits[split][0], samples.groups(table, splits[split][0].ids)
    probabilities = [seed.probabilities[mode] for seed in splits[split]]
    found: dict[str, float | list[float]] = {**calibration.measures(first.labels, probabilities, fitted, groups)}
    return found | ({"temperature_seeds": fitted} if fitted else {})


def operate(study: Study, splits: Splits, mode: str, table: pd.DataFrame, fitted: list[float]) -> dict[str, float]:
    """Return the operating point on the primary split, chosen on val with calibrated probabilities; {} if none is."""
    if study.operating_point is None:
        return {}

    def positive(split: str) -> list[np.ndarray]:
        found = [seed.probabilities[mode] for seed in splits[split]]
        if fitted:
            found = [at_temperature(each, value) for each, value in zip(found, fitted, strict=True)]
        return [each[:, 1] for each in found]

    chosen = [
        operating.threshold(seed.labels, probabilities, study.operating_point.sensitivity)
        for seed, probabilities in zip(splits[calibration.SPLIT], positive(calibration.SPLIT), strict=True)
    ]
    thresholds = [value for value in chosen if value is not None]
    if len(thresholds) < len(chosen):
        return {}
    first = splits[study.primary_split][0]
    groups, prevalence = samples.groups(table, first.ids), study.operating_point.prevalence
    return operating.measures(first.labels, positive(study.primary_split), thresholds, groups, prevalence)


def write_saliency(params: Params, run: str, classes: tuple[str, ...], images: np.ndarray, folder: Path) -> None:
    """Draw saliency maps of a run's last phase and first seed as gradcam.png and mistakes.png in `folder`."""
    arrays = _read_maps(params, run)
    where = f"{run}, {params.phases(run)[-1]}, {params.study_of(run).primary_split}"
    right = f"{where}: most confident correct predictions, with saliency"
    gradcam.draw_correct(images, classes, arrays, right, folder / "gradcam.png")
    wrong = f"{where}: most confident wrong predictions, with saliency"
    gradcam.draw_mistakes(images, classes, arrays, wrong, folder / "mistakes.png")


def write_attention(params: Params, run: str, table: pd.DataFrame, images: np.ndarray, folder: Path) -> None:
    """Write attention.csv, the overlap of the maps with the evidence by class, and draw gallery.png, in `folder`.

    Only for synthetic images, where the place of the evidence is known.
    """
    settings, study = params.all_runs[run], params.study_of(run)
    generator = generator_of(study)
    if generator is None:
        return
    arrays, specifications = _read_maps(params, run), paths.specifications(settings.study)
    names = dict(zip(table["id"], table["label"], strict=True))
    measured = shares(arrays["measured/id"], arrays["measured/map"], specifications, generator)
    attention = by_class(measured, names)
    attention.to_csv(folder / "attention.csv", index=False, float_format="%.6g")
    maps = dict(zip(arrays["correct/id"].tolist(), arrays["correct/map"], strict=True))
    surest = shares(arrays["correct/id"], arrays["correct/map"], specifications, generator)
    # The same number of images per class, the most confident predictions first.
    order = surest.set_index("id").reindex([i for i in maps if i in set(surest["id"])])
    each = max(1, gradcam.GALLERY // max(1, len(attention)))
    chosen = order.groupby(order.index.map(names), sort=False).head(each)[: gradcam.GALLERY]
    evidence = dict(read_areas(specifications, generator, set(chosen.index), gradcam.OUTLINE))
    shown = [
        gradcam.Shown(images[i], maps[i], evidence[i], names[i], row.share / row.area)
        for i, row in zip(chosen.index, chosen.itertuples(index=False), strict=True)
    ]
    gradcam.draw_gallery(shown, folder / "gallery.png")


def saliency_overlap(params: Params, run: str) -> dict[str, float]:
    """Return the overlap of a run's saliency with the evidence (see cnnstudy.explain.overlap); {} unless synthetic."""
    generator = generator_of(params.study_of(run))
    if generator is None:
        return {}
    return overlap(_read_maps(params, run), paths.specifications(params.all_runs[run].study), generator)


def _read_maps(params: Params, run: str) -> dict[str, np.ndarray]:
    with np.load(paths.gradcam(paths.seed(run, params.phases(run)[-1], params.seeds[0])), allow_pickle=False) as stored:
        return dict(stored)


def read_phase(params: Params, run: str, phase: str) -> Splits:
    """Return the predictions of a phase by split, one entry per seed in the order of the parameter `seeds`."""
    seeds = [read_predictions(paths.predictions(paths.seed(run, phase, seed))) for seed in params.seeds]
    return {split: [predictions[split] for predictions in seeds] for split in seeds[0]}


def read_value_phase(params: Params, run: str, phase: str) -> dict[str, list[ValuePredictions]]:
    """Return the predicted values of a phase by split, one entry per seed."""
    seeds = [read_values(paths.predictions(paths.seed(run, phase, seed))) for seed in params.seeds]
    return {split: [values[split] for values in seeds] for split in seeds[0]}


def read_histories(params: Params, run: str, phase: str) -> list[pd.DataFrame]:
    """Return the histories of a phase, one per seed, see cnnstudy.training.loop."""
    return [pd.read_csv(paths.history(paths.seed(run, phase, seed))) for seed in params.seeds]


def predictions_table(
    seeds: list[int], predictions: dict[str, Splits], mode: str, classes: tuple[str, ...], table: pd.DataFrame
) -> pd.DataFrame:
    """Return the predictions of each training for each image of the splits in `LISTED_SPLITS`.

    The columns are phase, split, seed, id, path, actual, predicted and probability (of the predicted class).
    """
    names = np.array(classes)
    parts = [
        pd.DataFrame(
            {
                "phase": phase,
                "split": split,
                "seed": seed,
                "id": part.ids,
                "path": table["path"].to_numpy()[part.ids],
                "actual": names[part.labels],
                "predicted": names[part.probabilities[mode].argmax(axis=1)],
                "probability": part.probabilities[mode].max(axis=1),
            }
        )
        for phase, splits in predictions.items()
        for split in LISTED_SPLITS
        if split in splits
        for seed, part in zip(seeds, splits[split], strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def curves_table(histories: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    """Return the means of histories over seeds, with the columns epoch, series, accuracy and loss, and ccc if any.

    The accuracy of a net of values alone is NaN. The series are `train`, `val`, `tuned train` and `tuned val`.
    """
    tables = []
    for phase, seeds in histories.items():
        # The mean is over the seeds that reached the epoch, since a training may stop early.
        mean = pd.concat(seeds).groupby("epoch", as_index=False).mean()
        for series, prefix in (("train", ""), ("val", "val_")):
            name = series if phase == "base" else f"{phase} {series}"
            columns = {"accuracy": mean.get(f"{prefix}accuracy", np.nan), "loss": mean[f"{prefix}loss"]}
            columns |= {"ccc": mean[f"{prefix}ccc"]} if "ccc" in mean else {}
            tables.append(pd.DataFrame({"epoch": mean["epoch"], "series": name, **columns}))
    return pd.concat(tables)


def roc_table(curves: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return ROC curves as a table, with the columns series, auc (of the whole curve), fpr and tpr (thinned)."""
    tables = [
        pd.DataFrame({"series": name, "auc": area(curve), "fpr": points[:, 0], "tpr": points[:, 1]})
        for name, curve in curves.items()
        for points in [thin(curve)]
    ]
    return pd.concat(tables) if tables else pd.DataFrame(columns=["series", "auc", "fpr", "tpr"])


def write_roc(folder: Path, part: Part, curves: dict[str, np.ndarray]) -> pd.DataFrame:
    """Write the ROC curves of a part as figure and table; return the table with a column `part`."""
    thinned = {name: (thin(curve), area(curve)) for name, curve in curves.items()}
    figures.draw_roc(thinned, part.title, folder / f"{part.stem}-roc.png")
    table = roc_table(curves)
    table.to_csv(folder / f"{part.stem}-roc.csv", index=False, float_format=FLOATS)
    return table.assign(part=f"{part.phase}, {part.split}")


def write_reliability(folder: Path, part: Part, seeds: list[Predictions], mode: str) -> None:
    """Write the reliability of a part, all seeds together, before and after scaling, as figure and table."""
    labels = np.concatenate([seed.labels for seed in seeds])
    before = [seed.probabilities[mode] for seed in seeds]
    scaled = {"before": before}
    if fitted := part.metrics.get("temperature_seeds"):
        assert isinstance(fitted, list)
        scaled["after"] = [at_temperature(each, value) for each, value in zip(before, fitted, strict=True)]
    found = {name: calibration.reliability(labels, np.concatenate(each)) for name, each in scaled.items()}
    bins = {name: (each.confidence, each.accuracy) for name, each in found.items()}
    figures.draw_reliability(bins, part.title, folder / f"{part.stem}-reliability.png")
    tables = [pd.DataFrame(asdict(each)).assign(scaling=name) for name, each in found.items()]
    pd.concat(tables).to_csv(folder / f"{part.stem}-reliability.csv", index=False, float_format=FLOATS)


def write_confusion(folder: Path, part: Part, matrix: pd.DataFrame) -> pd.DataFrame:
    """Write the confusion matrix of a part as figure and table; return rows of part, actual, predicted, count."""
    figures.draw_confusion(matrix, part.counts_title, folder / f"{part.stem}-confusion.png")
    matrix.to_csv(folder / f"{part.stem}-confusion.csv")
    return matrix.stack().rename("count").reset_index().assign(part=f"{part.phase}, {part.split}")


def write_report(folder: Path, part: Part, table: pd.DataFrame) -> None:
    """Write the classification report of a part as table and text."""
    table.to_csv(folder / f"{part.stem}-report.csv", float_format=FLOATS)
    text = classification.report_text(table, part.title.text, part.metrics)
    (folder / f"{part.stem}-report.txt").write_text(text, encoding="utf-8")
