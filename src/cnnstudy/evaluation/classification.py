"""Classification reports and confusion matrices, laid out as scikit-learn's."""

import numpy as np
import pandas as pd

from cnnstudy.evaluation.metrics import Metrics, per_class
from cnnstudy.evaluation.predictions import Answers

COLUMNS = ("precision", "recall", "f1-score", "support")
# Below the table, by their names in the metrics.
BELOW = {
    "kappa": "Cohen's kappa",
    "alpha": "Krippendorff's alpha",
    "auc": "AUC",
    "average_precision": "AUCPR (average precision)",
}


def report_table(seeds: list[Answers], mode: str, classes: tuple[str, ...]) -> pd.DataFrame:
    """One row a class, then `accuracy`, `macro avg` and `weighted avg`; the means over seeds.

    Of a class without images nothing but the support is a number, and the averages are of the others. Columns
    `COLUMNS`, the class as index. The accuracy stands in the column f1-score, as scikit-learn prints it.
    """
    tables = [per_class(seed.labels, seed.probabilities[mode].argmax(axis=1), len(classes)) for seed in seeds]
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
    """A report as text, with what of `BELOW` is defined.

    For a binary task also sensitivity and specificity, and the positive class named.
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
        lines += ["", f"{one_class(metrics)}: accuracy there is the share of that class.".capitalize()]
    return "\n".join(lines) + "\n"


def one_class(metrics: Metrics) -> str:
    """That every image got the same answer, and from how many of several seeds."""
    seeds = metrics.get("accuracy_seeds", [0])
    assert isinstance(seeds, list)
    part = f" in {metrics['constant_seeds']} of {len(seeds)} seeds" if len(seeds) > 1 else ""
    return f"one class for every image{part}"


def confusion(seeds: list[Answers], mode: str, classes: tuple[str, ...]) -> pd.DataFrame:
    """Counts int64, a row an actual and a column a predicted class, summed over seeds."""
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    for seed in seeds:
        np.add.at(matrix, (seed.labels, seed.probabilities[mode].argmax(axis=1)), 1)
    return pd.DataFrame(matrix, pd.Index(classes, name="actual"), pd.Index(classes, name="predicted"))


def examples(seeds: list[Answers], mode: str, classes: tuple[str, ...]) -> np.ndarray:
    """The id of one image for each cell of the confusion matrix, int64 [actual, predicted]; -1 where there is none.

    Of several it is the one answered with the highest probability by any seed, of equals the first.
    """
    chosen = np.full((len(classes), len(classes)), -1, np.int64)
    probabilities = np.concatenate([seed.probabilities[mode] for seed in seeds])
    labels, ids = (np.concatenate([getattr(seed, name) for seed in seeds]) for name in ("labels", "ids"))
    answered, certainty = probabilities.argmax(axis=1), probabilities.max(axis=1)
    for actual, predicted in np.ndindex(chosen.shape):
        here = np.flatnonzero((labels == actual) & (answered == predicted))
        if len(here):
            chosen[actual, predicted] = ids[here[certainty[here].argmax()]]
    return chosen
