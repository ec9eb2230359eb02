"""Findings on the values of images, such as valence: missing, on another scale, contradictory, drifting."""

from collections.abc import Iterator

import pandas as pd
from scipy.stats import ks_2samp

from cnnstudy.data.audit.finding import Finding
from cnnstudy.data.samples import SPLITS, VALUE

Ranges = dict[str, tuple[float, float]]

# Values that use less than this share of their range may be on another scale.
NARROW = 0.5
# Copies of an image contradict each other if their values differ by more than this share of the range.
APART = 0.1
# An audit makes several tests of a data set; at 0.05 false findings would be frequent.
LEVEL = 0.01


def facts(table: pd.DataFrame, ranges: Ranges) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Return for each value and split the numbers of images and missing values, the mean, spread, ends and class means.

    `sd` is that of the population, and so the RMSE of a constant; `class_means_rmse` is the RMSE of the true class's
    mean. Both are None for a split without values. `table` has the columns of samples.csv and split.
    """
    found: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for name in ranges:
        found[name] = {}
        for split in [each for each in SPLITS if (table["split"] == each).any()]:
            rows = table[table["split"] == split]
            numbers = _numbers(rows, name)
            present = numbers.dropna()
            own = numbers - numbers.groupby(rows["label"]).transform("mean")
            found[name][split] = {
                "images": len(rows),
                "missing": int(numbers.isna().sum()),
                "mean": _rounded(present.mean()),
                "sd": _rounded(present.std(ddof=0)),
                "minimum": _rounded(present.min()),
                "maximum": _rounded(present.max()),
                "class_means_rmse": _rounded((own**2).mean() ** 0.5),
            }
    return found


def findings(table: pd.DataFrame, ranges: Ranges) -> list[Finding]:
    """Return the findings on values in a table with the columns of samples.csv, split, copy and family."""
    return [
        finding
        for name, ends in ranges.items()
        for finding in (*_missing(table, name), *_scale(table, name, ends), *_contradictory(table, name, ends))
    ] + _drift(table, ranges)


def _missing(table: pd.DataFrame, name: str) -> Iterator[Finding]:
    absent = _numbers(table, name).isna()
    if absent.any():
        of = "every image" if absent.all() else f"{absent.mean():.0%} of the images"
        advice = "An image without a value counts for what else it has: classes, or other values."
        yield Finding("values", f"{name} is missing for {of}", "warning", int(absent.sum()), advice)


def _scale(table: pd.DataFrame, name: str, ends: tuple[float, float]) -> Iterator[Finding]:
    numbers = _numbers(table, name).dropna()
    if len(numbers) > 1 and numbers.max() - numbers.min() < NARROW * (ends[1] - ends[0]):
        kind = f"{name} lies between {numbers.min():.3g} and {numbers.max():.3g}, of {ends[0]:g} to {ends[1]:g}"
        advice = "If the source has another scale, convert its numbers, or give its range in the study's values."
        yield Finding("values", kind, "warning", len(numbers), advice)


def _contradictory(table: pd.DataFrame, name: str, ends: tuple[float, float]) -> Iterator[Finding]:
    by_copy = _numbers(table, name).groupby(table["copy"])
    apart = by_copy.transform("max") - by_copy.transform("min") > APART * (ends[1] - ends[0])
    if apart.any():
        advice = "At most one of the numbers is right: remove the copies, or correct the source."
        yield Finding("values", f"copies of an image have different {name}", "warning", int(apart.sum()), advice)


def _drift(table: pd.DataFrame, ranges: Ranges) -> list[Finding]:
    """Return a finding for each value and split whose distribution is unlike train's (Kolmogorov-Smirnov, Bonferroni).

    Images of a family are not independent, and so the test has the first of each.
    """
    firsts = table.drop_duplicates(["family", "split"])
    others = [split for split in SPLITS[1:] if (firsts["split"] == split).any()]
    level = LEVEL / max(len(ranges) * len(others), 1)
    found = []
    for name in ranges:
        by_split = {split: _numbers(rows, name).dropna() for split, rows in firsts.groupby("split")}
        train = by_split.get("train", pd.Series(dtype=float))
        for split in others:
            numbers = by_split[split]
            if len(train) and len(numbers) and ks_2samp(train, numbers).pvalue < level:
                kind = f"{name} differs between train (mean {train.mean():.2f}) and {split} (mean {numbers.mean():.2f})"
                count = int((table["split"] == split).sum())
                advice = "The splits are not samples of one source: read the result as one on other data."
                found.append(Finding("values", kind, "warning", count, advice))
    return found


def _numbers(table: pd.DataFrame, name: str) -> pd.Series:
    """Return the values of each image, NaN where missing; samples.csv has no column for a value that no image has."""
    return table.get(f"{VALUE}{name}", pd.Series(float("nan"), table.index))


def _rounded(number: float) -> float | None:
    return None if pd.isna(number) else round(float(number), 4)
