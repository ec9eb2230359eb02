"""Assignment of samples to the splits train, val, tune, tune_holdout and test, or to "dropped"."""

from itertools import islice

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cnnstudy.config.schema import Split
from cnnstudy.data.samples import HOLDOUT, SPLITS
from cnnstudy.errors import UserError

# A family that the source has put into several splits is kept only in the first of these, unless leaks are kept.
PROTECTED = ("test", "val", "tune", "train")
DROPPED = "dropped"
ELSEWHERE = -1
# Splits that a source may lack, in the order in which they are carved out of train.
CARVED = ("tune", "test", "val")


def assign(
    study: str, samples: pd.DataFrame, copies: np.ndarray, settings: Split, seed: int, holdout: float = 0.0
) -> pd.DataFrame:
    """Assign a split to each sample, and return a row for each: id, split, copy, family, reason.

    `copies` [N] is a number shared by copies of one image, see cnnstudy.data.duplicates; it becomes the column `copy`.
    A family, which must stay in one split, consists of copies and of images of one group (patient, person), linked
    directly or in a chain.

    A split that a source names consists of exactly the samples that the source puts there. Where the source does not
    name them, `tune` and `test` are shares of the rest of its samples and `val` is a share of the samples then left for
    training; source by source, class by class, never with a family in two splits. `holdout` is the share of the split
    tune that becomes `tune_holdout`, unless a class has only one family in tune. With `settings.conflicts` "drop", all
    copies of an image under two classes get the split "dropped". With `settings.leaks` "drop", so do the members of a
    family that the source has also put into a more protected split, training copies first. `reason` says why.

    Raises:
        UserError: fewer than two classes have images, or a class has too few for one image in each split.
    """
    families = _families(samples["group"], copies)
    split = samples["source_split"].replace("", "train").to_numpy(dtype=object)
    reason = np.full(len(samples), "", dtype=object)
    if settings.conflicts == "drop":
        reason[_conflicting(samples["label"], copies)] = "the same image is under another class too"
    if settings.leaks == "drop":
        _drop_leaks(split, families, reason)
    kept = reason == ""
    split[~kept] = DROPPED
    needed = [
        name for name in SPLITS if name == "train" or name in set(split) or (name in CARVED and getattr(settings, name))
    ]
    # A family of two sources belongs to the first, so that it stays whole.
    own, rng = samples["source"].groupby(families).transform("first").to_numpy(), np.random.default_rng(seed)
    for source in np.unique(own):
        given = set(samples["source_split"][samples["source"] == source])
        shares = {name: getattr(settings, name) for name in CARVED if name not in given}
        _carve(split, samples["label"].to_numpy(), np.where(own == source, families, ELSEWHERE), shares, rng)
    pool = split == "tune"
    in_class = pool & (samples["label"] != "").to_numpy()
    if holdout and pd.Series(families[in_class]).groupby(samples["label"].to_numpy()[in_class]).nunique().min() > 1:
        # A generator of its own, so that the other splits do not depend on the share.
        rng = np.random.default_rng([seed, 1])
        split[_take(samples["label"].to_numpy(), families, pool, (holdout, 1), rng)] = HOLDOUT
        needed.append(HOLDOUT)
    _require_all_classes(study, samples["label"], pd.Series(split), needed)
    return pd.DataFrame({"id": samples["id"], "split": split, "copy": copies, "family": families, "reason": reason})


def _carve(
    split: np.ndarray, labels: np.ndarray, families: np.ndarray, shares: dict[str, float], rng: np.random.Generator
) -> None:
    """Carve splits with the given `shares` out of a source's training samples, in place.

    `families` [N] is ELSEWHERE for the samples of other sources.
    """
    pool = (split == "train") & (families != ELSEWHERE)
    carved = {name: share for name, share in shares.items() if share}
    left = 1.0
    for number, (name, share) in enumerate(carved.items()):
        others = len(carved) - number  # the splits still to be carved, and train
        # tune and test are shares of all samples, of which earlier splits have taken some; val is a share of the rest.
        taken = _take(labels, families, pool, (share if name == "val" else share / left, others), rng)
        split[taken], pool, left = name, pool & ~taken, left - share


def _families(group: pd.Series, copies: np.ndarray) -> np.ndarray:
    """Return a number for each sample, int [N], shared within a group and by copies, directly or in a chain."""
    count = len(group)
    own = np.where(group == "", "sample " + pd.Series(range(count)).astype(str), "group " + group)
    keys = np.concatenate([pd.factorize(own)[0], copies + count])
    rows = np.tile(np.arange(count), 2)
    graph = coo_array((np.ones(2 * count, np.int8), (rows, keys + count)), shape=(3 * count, 3 * count))
    return connected_components(graph, directed=False)[1][:count]


def _conflicting(labels: pd.Series, copies: np.ndarray) -> np.ndarray:
    """Return a mask of all copies of every image that is under more than one class."""
    named = labels.where(labels != "")
    return (named.groupby(copies).transform("nunique") > 1).to_numpy()


def _drop_leaks(split: np.ndarray, families: np.ndarray, reason: np.ndarray) -> None:
    """Set a reason, in place, for samples of families that are in a more protected split too."""
    rank = pd.Series(split).map({name: number for number, name in enumerate(PROTECTED)}).where(reason == "")
    first = rank.groupby(families).transform("min")
    for number, name in enumerate(PROTECTED):
        reason[((rank > first) & (first == number)).to_numpy()] = f"a copy, or the same person, is in {name}"


def _take(
    labels: np.ndarray, groups: np.ndarray, pool: np.ndarray, amount: tuple[float, int], rng: np.random.Generator
) -> np.ndarray:
    """Return a mask of a share of the pool, class by class as nearly as whole groups allow, at least one of each.

    `amount` is the share, and the number of groups of each class that must stay in the pool.
    """
    share, others = amount
    taken = np.zeros(len(labels), bool)
    pairs = pd.DataFrame({"group": groups[pool], "label": labels[pool]}).drop_duplicates()
    left = pairs["label"].value_counts().to_dict()  # groups of each class
    several = pairs[pairs.duplicated("group", keep=False)].groupby("group")["label"].agg(list).to_dict()

    def goes(group: int, label: str) -> bool:
        """Take a group out of the pool if enough groups of each of its classes are left; return whether it is taken."""
        present = several.get(group, [label])
        if any(left[name] <= others for name in present):
            return False
        left.update({name: left[name] - 1 for name in present})
        return True

    # Images of no class come last and have a generator of their own, so that the other images' splits do not depend on
    # them (unless both show the same person).
    for label in sorted(np.unique(labels[pool]), key=lambda name: (name == "", name)):
        own = pool & (labels == label)
        missing = max(1, round(share * own.sum())) - (taken & own).sum()
        numbers, sizes = np.unique(groups[own & ~taken], return_counts=True)
        order = (rng if label else rng.spawn(1)[0]).permutation(len(numbers))
        chosen: list[int] = []
        for row in order:
            if sizes[row] <= missing and goes(numbers[row], label):
                chosen.append(row)
                missing -= sizes[row]
        if not chosen and not (taken & own).any():
            smallest_first = order[np.argsort(sizes[order], kind="stable")]
            chosen = list(islice((row for row in smallest_first if goes(numbers[row], label)), 1))
        taken |= pool & np.isin(groups, numbers[chosen])
    return taken


def _require_all_classes(study: str, labels: pd.Series, split: pd.Series, needed: list[str]) -> None:
    split, labels = split[labels != ""], labels[labels != ""]
    if labels.nunique() < 2:
        only = f"only the class {labels.iloc[0]!r} has images" if len(labels) else "no image has a class"
        raise UserError(f"{study}: {only}; allowed: at least two classes")
    counts = pd.crosstab(labels, split).reindex(columns=needed, fill_value=0)
    for label in counts.index[counts.sum(axis=1) == 0]:
        raise UserError(
            f"{study}: class {label!r} has {(labels == label).sum()} images and all are dropped, as copies of images "
            f"of another class or split; allowed: at least one left; `studies.{study}.split.conflicts: keep` and "
            f"`studies.{study}.split.leaks: keep` drop none"
        )
    for label, row in counts.iterrows():
        for name in counts.columns[row == 0]:
            without = f"`studies.{study}.finetune.holdout: 0` needs no such split; " * (name == HOLDOUT)
            raise UserError(
                f"{study}: class {label!r} has {row.sum()} images and none in the split {name!r}; {without}"
                f"allowed: at least one image (or group) of each class in each of {', '.join(counts.columns)}; "
                f"studies.{study}.classes can name {label!r} under another class"
            )
