"""Everything that is made of a run's predictions and histories."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cnnstudy.config.schema import HEADLINE, Params
from cnnstudy.data import samples
from cnnstudy.evaluation import attention, classification, figures, roc
from cnnstudy.evaluation.curve import area, thin
from cnnstudy.evaluation.metrics import Metrics, split_metrics
from cnnstudy.evaluation.predictions import Answers, read_predictions, require_classes
from cnnstudy.nets import specs
from cnnstudy.workspace import files, paths

FLOATS = "%.9g"
# Splits whose answers are kept image by image; those of train would be the data set over again.
ANSWERED = ("val", "tune", "test")
# The answers of every seed, by split.
Splits = dict[str, list[Answers]]


@dataclass(frozen=True)
class Part:
    """One phase of a run on one split, and its metrics."""

    run: str
    phase: str
    split: str
    metrics: Metrics

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"{self.phase}-{self.split}"

    @property
    def title(self) -> figures.Title:
        """What stands over its figures."""
        alarm = classification.one_class(self.metrics) if self.metrics["constant"] else ""
        return figures.Title(f"{self.run}, {self.phase}, {self.split}", alarm)

    @property
    def counts_title(self) -> figures.Title:
        """The same over counts, which are sums over seeds."""
        seeds = self.metrics["accuracy_seeds"]
        assert isinstance(seeds, list)
        several = f", {len(seeds)} seeds added up" if len(seeds) > 1 else ""
        return figures.Title(self.title.text + several, self.title.alarm)


def evaluate_run(params: Params, run: str) -> None:
    """Write a run's metrics, its answers and, in plots/runs/<run>, CSV for `dvc plots` and figures/.

    The metrics are {phase: {split: those of `split_metrics`}}; of drawn data the last phase's headline split also has
    those of `attention.write_attention`.
    """
    settings, mode = params.runs[run], params.batchnorm
    table = samples.read_samples(settings.study)
    classes = samples.present_classes(params.study(settings.study).classes, table)
    images = np.load(paths.images(settings.study), mmap_mode="r", allow_pickle=False)
    histories = {phase: read_histories(params, run, phase) for phase in params.phases(run)}
    answers = {phase: read_answers(params, run, phase) for phase in params.phases(run)}
    for splits in answers.values():
        require_classes(
            {split: its[0] for split, its in splits.items()}, classes, table["label"].to_numpy(), settings.study
        )
    layers = specs.of_run(params, run, len(classes))

    content: dict[str, dict[str, Metrics]] = {
        phase: {
            split: split_metrics(seeds, mode, samples.groups(table, seeds[0].ids)) for split, seeds in splits.items()
        }
        for phase, splits in answers.items()
    }
    with files.replacing(paths.answers(run)) as aside:
        answers_table(params.seeds, answers, mode, classes, table).to_csv(aside, index=False, float_format="%.6f")
    with files.replacing_folder(paths.run_plots(run)) as folder:
        pictures = folder / "figures"
        pictures.mkdir()
        layers_table(layers, specs.REPORT_SIZE[settings.net]).to_csv(pictures / "layers.csv", index=False)
        curves_table(histories).to_csv(folder / "curves.csv", index=False, float_format=FLOATS)
        for phase, history in histories.items():
            colour = figures.NET_COLOURS[settings.net]
            figures.draw_curves(history, f"{run}, {phase}", colour, pictures / f"{phase}-curves.png")
        rocs, matrices = [], []
        for phase, splits in answers.items():
            for split, seeds in splits.items():
                part = Part(run, phase, split, content[phase][split])
                rocs.append(write_roc(pictures, part, roc.split_curves(seeds, mode, classes)))
                matrix = classification.confusion(seeds, mode, classes)
                matrices.append(write_confusion(pictures, part, matrix))
                write_report(pictures, part, classification.report_table(seeds, mode, classes))
                if split in samples.SPLITS:
                    ids = classification.examples(seeds, mode, classes)
                    title = part.counts_title
                    figures.draw_examples(images, ids, matrix, title, pictures / f"{part.stem}-examples.png")
        pd.concat(rocs).to_csv(folder / "roc.csv", index=False, float_format=FLOATS)
        pd.concat(matrices).to_csv(folder / "confusion.csv", index=False)
        content[params.phases(run)[-1]][HEADLINE[settings.study]] |= attention.write_attention(params, run, pictures)
    files.write_text(paths.run_metrics(run), json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_answers(params: Params, run: str, phase: str) -> Splits:
    """The answers of a phase by split, one entry a seed in the order of the parameter `seeds`."""
    seeds = [read_predictions(paths.predictions(paths.seed(run, phase, seed))) for seed in params.seeds]
    return {split: [answers[split] for answers in seeds] for split in seeds[0]}


def read_histories(params: Params, run: str, phase: str) -> list[pd.DataFrame]:
    """The histories of a phase, one a seed: epoch, accuracy, loss, val_accuracy, val_loss."""
    return [pd.read_csv(paths.history(paths.seed(run, phase, seed))) for seed in params.seeds]


def answers_table(
    seeds: list[int], answers: dict[str, Splits], mode: str, classes: tuple[str, ...], table: pd.DataFrame
) -> pd.DataFrame:
    """What each training answered to each image of the splits in `ANSWERED`.

    Columns phase, split, seed, id, path, actual, predicted, probability (of the predicted class).
    """
    names = np.array(classes)
    parts = [
        pd.DataFrame(
            {
                "phase": phase,
                "split": split,
                "seed": seed,
                "id": its.ids,
                "path": table["path"].to_numpy()[its.ids],
                "actual": names[its.labels],
                "predicted": names[its.probabilities[mode].argmax(axis=1)],
                "probability": its.probabilities[mode].max(axis=1),
            }
        )
        for phase, splits in answers.items()
        for split in ANSWERED
        if split in splits
        for seed, its in zip(seeds, splits[split], strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def curves_table(histories: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    """Columns epoch, series, accuracy, loss: series `train`, `val`, `tuned train`, `tuned val`; means over seeds."""
    tables = []
    for phase, seeds in histories.items():
        # Of the seeds that got there: a training may stop early.
        mean = pd.concat(seeds).groupby("epoch", as_index=False).mean()
        for series, prefix in (("train", ""), ("val", "val_")):
            name = series if phase == "base" else f"{phase} {series}"
            columns = {"accuracy": mean[f"{prefix}accuracy"], "loss": mean[f"{prefix}loss"]}
            tables.append(pd.DataFrame({"epoch": mean["epoch"], "series": name, **columns}))
    return pd.concat(tables)


def roc_table(curves: dict[str, np.ndarray]) -> pd.DataFrame:
    """Columns series, auc, fpr, tpr; thinned, the area is that of the whole curve."""
    tables = [
        pd.DataFrame({"series": name, "auc": area(curve), "fpr": points[:, 0], "tpr": points[:, 1]})
        for name, curve in curves.items()
        for points in [thin(curve)]
    ]
    return pd.concat(tables) if tables else pd.DataFrame(columns=["series", "auc", "fpr", "tpr"])


def layers_table(layers: tuple[specs.Layer, ...], size: int) -> pd.DataFrame:
    """Columns type, shape (such as 128x128x16), parameters, trainable: the table the report prints."""
    rows = specs.layer_table(layers, size)
    cells = [(row.type, "x".join(map(str, row.shape)), row.parameters, row.trainable) for row in rows]
    return pd.DataFrame(cells, columns=["type", "shape", "parameters", "trainable"])


def write_roc(folder: Path, part: Part, curves: dict[str, np.ndarray]) -> pd.DataFrame:
    """Write the ROC curves of a part as figure and table; return the table with the column part."""
    figures.draw_roc(curves, part.title, folder / f"{part.stem}-roc.png")
    table = roc_table(curves)
    table.to_csv(folder / f"{part.stem}-roc.csv", index=False, float_format=FLOATS)
    return table.assign(part=f"{part.phase}, {part.split}")


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
