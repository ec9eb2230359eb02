"""Other splits of a study's images: random ones, or folds of which each is the test split once.

As in the study's own splits, classes keep their shares, and copies of an image and images of one group stay together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from cnnstudy.config.schema import Split
from cnnstudy.data import splits
from cnnstudy.errors import UserError

# The splits whose images are split anew; images of tune, and dropped ones, stay where they are.
POOLED = ("train", "val", "test")


@dataclass(frozen=True)
class Shares:
    """The shares of the pooled images in test, and in val of those left for training."""

    test: float
    val: float

    @property
    def ratio(self) -> float:
        """The number of test images for each training image."""
        return self.test / ((1 - self.test) * (1 - self.val))


def shares(table: pd.DataFrame) -> Shares:
    """Return the shares of a study's own splits; where there is no test, val stands for it."""
    counts = table["split"].value_counts()
    test = "test" if "test" in counts else "val"
    pool = sum(int(counts.get(name, 0)) for name in POOLED)
    left = pool - (int(counts["test"]) if test == "test" else 0)
    return Shares(int(counts[test]) / pool, int(counts["val"]) / left)


def repeated(study: str, table: pd.DataFrame, wanted: Shares, count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield `count` random splits with the wanted shares: the split of each sample, [N].

    `table` has the columns of `cnnstudy.data.samples.read_table`.

    Raises:
        UserError: a class has too few images or groups for one in each split.
    """
    for number in range(count):
        yield _assigned(study, table, _pool(table), wanted, seed + 1 + number)


def folds(study: str, table: pd.DataFrame, wanted: Shares, count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield `count` splits whose test splits are the folds of the pooled images; val is a share of the others.

    Raises:
        UserError: a class has fewer groups than folds, or too few for one in each split.
    """
    pool = np.flatnonzero(_pool(table))
    labels, families = table["label"].to_numpy()[pool], table["family"].to_numpy()[pool]
    fewest = pd.Series(families).groupby(labels).nunique()
    if fewest.min() < count:
        raise UserError(
            f"--folds: {count} found, but class {fewest.idxmin()!r} of {study} has {fewest.min()} images or groups; "
            f"allowed: 2 to {fewest.min()}"
        )
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for _, rows in splitter.split(pool, labels, families):
        is_test = np.zeros(len(table), bool)
        is_test[pool[rows]] = True
        split = _assigned(study, table, _pool(table) & ~is_test, Shares(0.0, wanted.val), seed)
        split[is_test] = "test"
        yield split


def _pool(table: pd.DataFrame) -> np.ndarray:
    return table["split"].isin(POOLED).to_numpy()


def _assigned(study: str, table: pd.DataFrame, pool: np.ndarray, wanted: Shares, seed: int) -> np.ndarray:
    """Return the split of each sample, with those in `pool` split anew and the others as they are."""
    some = table[pool].reset_index(drop=True).assign(source_split="")
    settings = Split(val=wanted.val, tune=0.0, test=wanted.test, leaks="keep", conflicts="keep")
    found = table["split"].to_numpy(dtype=object, copy=True)
    found[pool] = splits.assign(study, some, pd.factorize(some["copy"])[0], settings, seed)["split"]
    return found
