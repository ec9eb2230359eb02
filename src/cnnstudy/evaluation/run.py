"""Everything that is made of a run's predictions and histories."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from cnnstudy import files, paths
from cnnstudy.data import samples
from cnnstudy.evaluation import classification, figures, roc
from cnnstudy.evaluation.curve import area, thin
from cnnstudy.evaluation.metrics import Metrics, split_metrics
from cnnstudy.evaluation.predictions import Answers, read_predictions
from cnnstudy.nets import specs
from cnnstudy.params import HEADLINE, Params

FLOATS = "%.9g"
# The answers of every seed, by split.
Splits = dict[str, list[Answers]]


def evaluate_run(params: Params, run: str) -> None:
    """Write metrics/runs/<run>.json and, in plots/runs/<run>, three CSV for `dvc plots` and figures/."""
    settings, mode = params.runs[run], params.batchnorm
    classes = samples.present_classes(params.study(settings.study).classes, samples.read_samples(settings.study))
    histories = {phase: read_histories(params, run, phase) for phase in params.phases(run)}
    answers = {phase: read_answers(params, run, phase) for phase in params.phases(run)}
    layers = specs.layers_of(settings.net, len(classes), settings.depth, settings.widths)

    write_metrics(paths.run_metrics(run), answers, mode)
    with files.replacing_folder(paths.run_plots(run)) as folder:
        curves_table(histories).to_csv(folder / "curves.csv", index=False, float_format=FLOATS)
        headline = list(answers.values())[-1][HEADLINE[settings.study]]
        curves = roc.split_curves(headline, mode, classes)
        roc_table(curves).to_csv(folder / "roc.csv", index=False, float_format=FLOATS)
        decisions_table(headline, mode, classes).to_csv(folder / "confusion.csv", index=False)

        pictures = folder / "figures"
        pictures.mkdir()
        layers_table(layers, specs.REPORT_SIZE[settings.net]).to_csv(pictures / "layers.csv", index=False)
        for phase, splits in answers.items():
            figures.draw_curves(histories[phase], f"{run}, {phase}", pictures / f"{phase}-curves.png")
            for split, seeds in splits.items():
                write_split(pictures, (run, phase, split), seeds, mode, classes)


def read_answers(params: Params, run: str, phase: str) -> Splits:
    """The answers of a phase by split, one entry a seed in the order of the parameter `seeds`."""
    seeds = [read_predictions(paths.predictions(paths.seed(run, phase, seed))) for seed in params.seeds]
    return {split: [answers[split] for answers in seeds] for split in seeds[0]}


def read_histories(params: Params, run: str, phase: str) -> list[pd.DataFrame]:
    """The histories of a phase, one a seed: epoch, accuracy, loss, val_accuracy, val_loss."""
    return [pd.read_csv(paths.history(paths.seed(run, phase, seed))) for seed in params.seeds]


def write_metrics(path: Path, answers: dict[str, Splits], mode: str) -> None:
    """{phase: {split: {metric: value}}}; the metrics are those of `split_metrics`."""
    content: dict[str, dict[str, Metrics]] = {
        phase: {split: split_metrics(seeds, mode) for split, seeds in splits.items()}
        for phase, splits in answers.items()
    }
    files.write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def curves_table(histories: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    """Columns epoch, series, accuracy, loss: series `train`, `val`, `tuned train`, `tuned val`; means over seeds."""
    tables = []
    for phase, seeds in histories.items():
        mean = sum(seeds[1:], start=seeds[0]) / len(seeds)
        for series, prefix in (("train", ""), ("val", "val_")):
            name = series if phase == "base" else f"{phase} {series}"
            columns = {"accuracy": mean[f"{prefix}accuracy"], "loss": mean[f"{prefix}loss"]}
            tables.append(pd.DataFrame({"epoch": seeds[0]["epoch"], "series": name, **columns}))
    return pd.concat(tables)


def roc_table(curves: dict[str, np.ndarray]) -> pd.DataFrame:
    """Columns series, auc, fpr, tpr; thinned, the area is that of the whole curve."""
    tables = [
        pd.DataFrame({"series": name, "auc": area(curve), "fpr": points[:, 0], "tpr": points[:, 1]})
        for name, curve in curves.items()
        for points in [thin(curve)]
    ]
    return pd.concat(tables) if tables else pd.DataFrame(columns=["series", "auc", "fpr", "tpr"])


def decisions_table(seeds: list[Answers], mode: str, classes: tuple[str, ...]) -> pd.DataFrame:
    """Columns actual, predicted: one row an image and seed, class names."""
    actual = np.concatenate([seed.labels for seed in seeds])
    predicted = np.concatenate([seed.probabilities[mode].argmax(axis=1) for seed in seeds])
    names = np.array(classes)
    return pd.DataFrame({"actual": names[actual], "predicted": names[predicted]})


def layers_table(layers: tuple[specs.Layer, ...], size: int) -> pd.DataFrame:
    """Columns type, shape (such as 128x128x16), parameters, trainable: the table the report prints."""
    rows = specs.layer_table(layers, size)
    cells = [(row.type, "x".join(map(str, row.shape)), row.parameters, row.trainable) for row in rows]
    return pd.DataFrame(cells, columns=["type", "shape", "parameters", "trainable"])


def write_split(
    folder: Path, name: tuple[str, str, str], seeds: list[Answers], mode: str, classes: tuple[str, ...]
) -> None:
    """ROC, confusion matrix and classification report of a split; `name` is (run, phase, split)."""
    _, phase, split = name
    title, stem = ", ".join(name), f"{phase}-{split}"
    curves = roc.split_curves(seeds, mode, classes)
    figures.draw_roc(curves, title, folder / f"{stem}-roc.png")
    roc_table(curves).to_csv(folder / f"{stem}-roc.csv", index=False, float_format=FLOATS)

    matrix = classification.confusion(seeds, mode, len(classes))
    figures.draw_confusion(matrix, classes, title, folder / f"{stem}-confusion.png")
    pd.DataFrame(matrix, index=pd.Index(classes, name="actual"), columns=list(classes)).to_csv(
        folder / f"{stem}-confusion.csv"
    )

    table = classification.report_table(seeds, mode, classes)
    table.to_csv(folder / f"{stem}-report.csv", float_format=FLOATS)
    (folder / f"{stem}-report.txt").write_text(classification.report_text(table, title), encoding="utf-8")
