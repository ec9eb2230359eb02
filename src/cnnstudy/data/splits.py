"""Which sample trains, validates, tunes or tests."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cnnstudy.data.samples import SPLITS
from cnnstudy.errors import UserError
from cnnstudy.params import Split


def assign(study: str, samples: pd.DataFrame, shares: Split, seed: int) -> pd.DataFrame:
    """One row a sample: id, split.

    A split that the source hints at is exactly its hinted samples. Where a source has none, `tune` and `test` are their
    shares of the rest of the samples and `val` is its share of what is left for training; class by class, never with a
    group or byte-identical files on two sides.

    Raises:
        UserError: fewer than two classes have images, or a class can't put one image into each split.
    """
    split = samples["hint"].replace("", "train").to_numpy(dtype=object)
    pool = np.isin(split, ["train"])
    groups = group_numbers(samples)
    rng = np.random.default_rng(seed)
    hinted = set(split)
    carved = [name for name in ("tune", "test", "val") if getattr(shares, name) and name not in hinted]
    for number, name in enumerate(carved):
        others = len(carved) - number  # the splits still to be carved, and train
        amount = (getattr(shares, name), others)
        taken = _take(samples["label"].to_numpy(), groups, pool, amount, rng)
        split[taken], pool = name, pool & ~taken
    needed = [name for name in SPLITS if name == "train" or name in hinted or name in carved]
    _require_all_classes(study, samples["label"], pd.Series(split), needed)
    return pd.DataFrame({"id": samples["id"], "split": split})


def group_numbers(samples: pd.DataFrame) -> np.ndarray:
    """A number a sample, int [N], shared by samples of one group and by byte-identical ones, directly or in a chain."""
    count = len(samples)
    group = samples["group"].where(samples["group"] != "", "sample " + samples["id"].astype(str))
    keys = np.concatenate([pd.factorize(group)[0], pd.factorize(samples["sha256"])[0] + count])
    rows = np.tile(np.arange(count), 2)
    graph = coo_array((np.ones(2 * count, np.int8), (rows, keys + count)), shape=(3 * count, 3 * count))
    return connected_components(graph, directed=False)[1][:count]


def _take(
    labels: np.ndarray, groups: np.ndarray, pool: np.ndarray, amount: tuple[float, int], rng: np.random.Generator
) -> np.ndarray:
    """A mask of a share of the pool, class by class as nearly as whole groups allow, at least one of each.

    `amount` is the share, and how many groups of each class must stay in the pool.
    """
    share, others = amount
    taken = np.zeros(len(labels), bool)
    for label in np.unique(labels[pool]):
        own = pool & (labels == label)
        wanted = max(1, round(share * own.sum())) - (taken & own).sum()
        numbers, sizes = np.unique(groups[own & ~taken], return_counts=True)
        order = rng.permutation(len(numbers))
        chosen: list[int] = []
        for group in order:
            if sizes[group] <= wanted and len(numbers) - len(chosen) > others:
                chosen.append(group)
                wanted -= sizes[group]
        if not chosen and not (taken & own).any() and len(numbers) > others:
            chosen = [order[np.argmin(sizes[order])]]
        taken |= pool & np.isin(groups, numbers[chosen])
    return taken


def _require_all_classes(study: str, labels: pd.Series, split: pd.Series, needed: list[str]) -> None:
    if labels.nunique() < 2:
        raise UserError(f"{study}: only the class {labels.iloc[0]!r} has images; allowed: at least two classes")
    counts = pd.crosstab(labels, split).reindex(columns=needed, fill_value=0)
    for label, row in counts.iterrows():
        for name in counts.columns[row == 0]:
            raise UserError(
                f"{study}: class {label!r} has {row.sum()} images and none in the split {name!r}; "
                f"allowed: at least one image (or group) of each class in each of {', '.join(counts.columns)}"
            )
