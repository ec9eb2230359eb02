"""Classification reports in scikit-learn's layout, and confusion matrices."""

import numpy as np
import pandas as pd

from cnnstudy.evaluation.classes import per_class
from cnnstudy.evaluation.metrics import Metrics
from cnnstudy.evaluation.predictions import Predictions

COLUMNS = ("precision", "recall", "f1-score", "support")
# Labels of the metrics printed below the table, by metric name.
BELOW = {
    "kappa": "Cohen's kappa",
    "alpha": "Krippendorff's alpha",
    "auc": "AUC",
    "average_precision": "AUCPR (average precision)",
}


def report_table(seeds: list[Predictions], mode: str, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return a classification report with the means over seeds.

    The table has the columns `COLUMNS` and one row per class (the index), then `accuracy`, `macro avg` and
    `weighted avg`. The scores of a class without images are NaN, and the averages are over the other classes. The
    accuracy is in the column f1-score, as scikit-learn prints it.
    """
    tables = [per_class(seed.labels, seed.probabilities[mode]) for seed in seeds]
    support = tables[0]["support"]
    values = np.mean([[table["precision"], table["recall"], table["f1"]] for table in tables], axis=0)  # [3, classes]
    accuracy = np.mean([(seed.probabilities[mode].argmax(axis=1) == seed.labels).mean() for seed in seeds])
    n = support.sum()
    rows = [
        *([*column, count] for column, count in zip(values.T, support, strict=True)),
        [np.nan, np.nan, accuracy, n],
        [*np.nanmean(values, axis=1), n],
        [*(np.nan_to_num(values) @ support / n), n],
    ]
    names = [*classes, "accuracy", "macro avg", "weighted avg"]
    return pd.DataFrame(rows, index=pd.Index(names, name="class"), columns=COLUMNS).astype({"support": int})


def report_text(table: pd.DataFrame, title: str, metrics: Metrics) -> str:
    """Return a report as text, with the metrics of `BELOW` that are defined.

    For a binary task the text also has sensitivity and specificity, and names the positive class.
    """
    width = max(len(str(name)) for name in table.index) + 2
    lines = [title, "", " " * width + "".join(f"{column:>11}" for column in COLUMNS), ""]
    for name, *values, support in table.itertuples():
        if name == "accuracy":
            lines.append("")
        cells = ["" if np.isnan(value) else f"{value:.2f}" for value in values]
        lines.append(f"{name:>{width}}" + "".join(f"{cell:>11}" for cell in [*cells, support]))
    lines += ["", *(f"{label}: {metrics[name]:.4f}" for name, label in BELOW.items() if name in metrics)]
    if len(table) == 5:
        negative, positive = table.index[:2]
        names = {positive: f"sensitivity (recall of {positive}, the positive class)",
                 negative: f"specificity (recall of {negative})"}  # fmt: skip
        lines += [f"{words}: {table['recall'][name]:.4f}" for name, words in names.items() if table["support"][name]]
    if metrics["constant"]:
        lines += ["", f"{one_class(metrics)}: accuracy is then the share of that class.".capitalize()]
    return "\n".join(lines) + "\n"


def one_class(metrics: Metrics) -> str:
    """Return a note that one class is predicted for every image, with the number of such seeds if there are several."""
    seeds = metrics.get("accuracy_seeds", [0])
    assert isinstance(seeds, list)
    part = f" in {metrics['constant_seeds']} of {len(seeds)} seeds" if len(seeds) > 1 else ""
    return f"one class for every image{part}"


def confusion(seeds: list[Predictions], mode: str, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return the confusion matrix summed over seeds, int64, with actual classes as rows and predicted as columns."""
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    for seed in seeds:
        np.add.at(matrix, (seed.labels, seed.probabilities[mode].argmax(axis=1)), 1)
    return pd.DataFrame(matrix, pd.Index(classes, name="actual"), pd.Index(classes, name="predicted"))


def examples(seeds: list[Predictions], mode: str, classes: tuple[str, ...]) -> np.ndarray:
    """Return the id of one image for each cell of the confusion matrix, int64 [actual, predicted]; -1 for empty cells.

    The image is the one predicted with the highest probability by any seed; the first one in a tie.
    """
    chosen = np.full((len(classes), len(classes)), -1, np.int64)
    probabilities = np.concatenate([seed.probabilities[mode] for seed in seeds])
    labels, ids = (np.concatenate([getattr(seed, name) for seed in seeds]) for name in ("labels", "ids"))
    likeliest, certainty = probabilities.argmax(axis=1), probabilities.max(axis=1)
    for actual, predicted in np.ndindex(chosen.shape):
        here = np.flatnonzero((labels == actual) & (likeliest == predicted))
        if len(here):
            chosen[actual, predicted] = ids[here[certainty[here].argmax()]]
    return chosen
