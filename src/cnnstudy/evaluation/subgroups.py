"""Accuracy by subgroup: by columns that a source brings, by properties of files, and by those of synthetic images."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from cnnstudy.data.groups import independent_images
from cnnstudy.evaluation.intervals import LEVEL, accuracy_interval, gap_interval

# The prefix of columns of samples.csv that a table's columns were kept in.
KEPT = "kept_"
UNKNOWN = "unknown"
# The fewest images of a subgroup, and of the others, that are compared.
FEWEST = 10
# The most values of a column; columns with more, such as file names, form no subgroups, and numbers form bands.
MOST = 12
# Bands of numbers: the thirds of the values.
BANDS = ("low", "middle", "high")
# The row number at the end of the path of an image in a table of pixels; not part of the file type.
ROW = re.compile(r":\d+$")


@dataclass(frozen=True)
class Subgroup:
    """The images with one value of a column, [n] bool in `chosen`."""

    column: str
    value: str
    chosen: np.ndarray


def columns(samples: pd.DataFrame, synthetic: Mapping[int, Mapping[str, str]] | None = None) -> dict[str, np.ndarray]:
    """Return the columns by which images are grouped, each with a value for each row of samples.csv: str [N].

    `synthetic` has the values of synthetic images by id. A missing value is `unknown`. Columns with one value, or with
    more than `MOST`, are left out; numbers become bands.
    """
    sides = np.sqrt(samples["width"].to_numpy(float) * samples["height"].to_numpy(float))
    found = {
        "source": samples["source"].to_numpy(str),
        "file type": np.array([ROW.sub("", PurePosixPath(path).suffix).casefold() for path in samples["path"]]),
        "colour mode": samples["mode"].to_numpy(str),
        "size": bands(sides),
    }
    for name in samples.columns[samples.columns.str.startswith(KEPT)]:
        values = samples[name].fillna("").astype(str).str.strip()
        numbers = pd.to_numeric(values.replace("", None), errors="coerce")
        is_number = values.nunique() > MOST and bool((numbers.notna() | (values == "")).all())
        found[name.removeprefix(KEPT)] = bands(numbers.to_numpy(float)) if is_number else values.to_numpy(str)
    if synthetic:
        names = list(dict.fromkeys(name for values in synthetic.values() for name in values))
        for name in names:
            found[name] = np.array([synthetic.get(number, {}).get(name, "") for number in range(len(samples))])
    named = {name: np.where(values == "", UNKNOWN, values) for name, values in found.items()}
    return {name: values for name, values in named.items() if 1 < len(set(values)) <= MOST}


def bands(values: np.ndarray) -> np.ndarray:
    """Return the band of each number, `low`, `middle` or `high`: str [n]; '' for one that is not a number.

    Numbers of few different values may leave a band empty; equal numbers are all `low`.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return np.full(len(values), "", dtype="<U6")
    limits = np.quantile(known, [1 / 3, 2 / 3])
    found = np.array(BANDS)[np.searchsorted(limits, np.nan_to_num(values, nan=known[0]), side="left")]
    return np.where(np.isfinite(values), found, "")


def measure(
    grouping: Mapping[str, np.ndarray], labels: np.ndarray, seeds: list[np.ndarray], groups: np.ndarray
) -> pd.DataFrame:
    """Return a row for each subgroup of the columns with several values, with means over seeds.

    The columns are `column`, `value`, `images`; `accuracy` with `accuracy_low` and `accuracy_high`; `confidence_gap`,
    the mean confidence minus the accuracy; for two classes `sensitivity` where there are positive images; and `gap`,
    the accuracy of all other images minus that of the subgroup, with `gap_low` and `gap_high`, and `is_significant`,
    which is corrected for all rows (Bonferroni). Gaps are missing where either side has fewer than `FEWEST` images.

    Args:
        grouping: by column the value of each image, str [n].
        labels: int [n].
        seeds: each seed's probabilities, float [n, classes].
        groups: int [n], the same number for images of the same group (a patient's).
    """
    correct = np.array([each.argmax(axis=1) == labels for each in seeds])
    subgroups = [
        Subgroup(column, str(value), values == value)
        for column, values in grouping.items()
        if len(set(values)) > 1
        for value in np.unique(values)
    ]
    are_compared = [min(each.chosen.sum(), (~each.chosen).sum()) >= FEWEST for each in subgroups]
    strict = 1 - (1 - LEVEL) / max(1, sum(are_compared))
    rows = []
    for each, is_compared in zip(subgroups, are_compared, strict=True):
        inside = _accuracy(correct[:, each.chosen], groups[each.chosen], LEVEL)
        confidence = np.mean([seed.max(axis=1)[each.chosen].mean() for seed in seeds])
        row: dict[str, object] = {"column": each.column, "value": each.value, "images": int(each.chosen.sum())}
        row |= inside | {"confidence_gap": float(confidence) - inside["accuracy"]}
        positive = each.chosen & (labels == 1)
        if seeds[0].shape[1] == 2 and positive.any():
            row["sensitivity"] = float(correct[:, positive].mean())
        if is_compared:
            row |= _gap(correct, groups, each.chosen, strict)
        rows.append(row)
    names = ["column", "value", "images", "accuracy", "accuracy_low", "accuracy_high", "confidence_gap", "sensitivity"]
    return pd.DataFrame(rows, columns=[*names, "gap", "gap_low", "gap_high", "is_significant"])


def _gap(correct: np.ndarray, groups: np.ndarray, chosen: np.ndarray, strict: float) -> dict[str, object]:
    """Return the gap between the images that are not chosen and those that are; `strict` is the corrected level."""
    found: dict[str, object] = {}
    for level in (strict, LEVEL):
        inside, outside = (_accuracy(correct[:, side], groups[side], level) for side in (chosen, ~chosen))
        low, high = gap_interval(outside, inside)
        if level == strict:
            found["is_significant"] = low > 0 or high < 0
        else:
            found |= {"gap": outside["accuracy"] - inside["accuracy"], "gap_low": low, "gap_high": high}
    return found


def _accuracy(correct: np.ndarray, groups: np.ndarray, level: float) -> dict[str, float]:
    """Return the accuracy of predictions that are correct or not, bool [seeds, n], with its interval at a level."""
    shares = correct.mean(axis=1).tolist()
    low, high = accuracy_interval(shares, independent_images(correct, groups), level)
    return {"accuracy": float(np.mean(shares)), "accuracy_low": low, "accuracy_high": high}
