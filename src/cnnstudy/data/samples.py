"""Reading of samples.csv and images.npy, the two files into which every source is ingested."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cnnstudy.config.schema import TASKS, Task
from cnnstudy.workspace import paths

# The beginning of the names of columns with an image's values, such as its valence.
VALUE = "value_"
COLUMNS = ("id", "label", "group", "source_split", "source", "path", "sha256", "width", "height", "mode", "bytes")
# The part of the split tune that fine-tuning does not see, but is judged by.
HOLDOUT = "tune_holdout"
SPLITS = ("train", "val", "tune", HOLDOUT, "test")
# The label of an image of no class.
NO_CLASS = -1


@dataclass(frozen=True)
class Dataset:
    """A study's images with their labels, splits and values.

    `images` is a read-only memory map, uint8 [N, H, W, 3]; `labels` int64 [N] indexes `classes`, and is `NO_CLASS` for
    an image of no class; `splits` [N] has split names, '' for images that are not used. `values` float32 [N, k], if
    there are any, has the numbers called `value_names`, NaN where one is missing. Row i of each belongs to the sample
    with id i.
    """

    images: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    classes: tuple[str, ...]
    values: np.ndarray | None = None
    value_names: tuple[str, ...] = ()

    def targets(self, ids: np.ndarray) -> np.ndarray:
        """Return what a net is to predict for some samples, float32 [n, 1 + k]: the label and the values."""
        labels = self.labels[ids, None].astype(np.float32)
        return labels if self.values is None else np.hstack([labels, self.values[ids]])

    def ids(self, split: str) -> np.ndarray:
        """Return the ids of a split's samples, ascending, int64 [n]."""
        return np.flatnonzero(self.splits == split)

    @property
    def present_splits(self) -> tuple[str, ...]:
        """Return the splits that have samples, in the order of `SPLITS`."""
        return tuple(split for split in SPLITS if (self.splits == split).any())


def read_samples(study: str) -> pd.DataFrame:
    """Read samples.csv, with text columns as text (an empty cell is '')."""
    text = dict.fromkeys(("label", "group", "source_split", "source", "path", "sha256", "mode"), str)
    table = pd.read_csv(paths.samples(study), dtype=text, keep_default_na=False)
    numbers = [column for column in table if column.startswith(VALUE)]
    return table.assign(**{column: pd.to_numeric(table[column]) for column in numbers}) if numbers else table


def numbered(samples: pd.DataFrame, order: dict[str, list[str]]) -> pd.DataFrame:
    """Return samples with the column `class`: the position of a sample's label in the parameter `classes`.

    The positive class depends on the order, but DVC does not notice when only the order of a parameter's keys changes;
    with the column in samples.csv, which every stage reads, a new order makes DVC rerun the stages. The column is empty
    for images of no class.
    """
    numbers = samples["label"].map({name: number for number, name in enumerate(order)})
    return samples.assign(**{"class": numbers.astype("Int64")})


def read_table(study: str) -> pd.DataFrame:
    """Read samples.csv with the columns of splits.csv and families.csv."""
    table = read_samples(study)
    splits = pd.read_csv(paths.splits(study), dtype={"split": str})
    families = pd.read_csv(paths.families(study), dtype={"reason": str}, keep_default_na=False)
    assert table["id"].tolist() == splits["id"].tolist() == families["id"].tolist()
    return table.assign(split=splits["split"], copy=families["copy"], family=families["family"],
                        reason=families["reason"])  # fmt: skip


def groups(table: pd.DataFrame, ids: np.ndarray) -> np.ndarray:
    """Return a number for each of `ids` [n], the same for images of one group (a person, a patient) and for equal ids.

    `table` has the columns of samples.csv.
    """
    named = table["group"].to_numpy()[ids]
    return np.array(pd.factorize(np.where(named == "", [f"image {i}" for i in ids], named))[0])


def present_classes(order: dict[str, list[str]], samples: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes that have samples, in the order of the parameter `classes`."""
    found = set(samples["label"])
    return tuple(name for name in order if name in found)


def load(study: str, order: dict[str, list[str]], task: Task = TASKS["classification"],
         values: tuple[str, ...] = ()) -> Dataset:  # fmt: skip
    """Read a study's images, labels, splits and the named values; `order` is the study's parameter `classes`.

    Images that have none of what the task learns are in no split.
    """
    samples = read_samples(study)
    splits = pd.read_csv(paths.splits(study), dtype={"split": str})
    assert samples["id"].tolist() == splits["id"].tolist() == list(range(len(samples)))
    classes = present_classes(order, samples)
    labels = samples["label"].map({name: i for i, name in enumerate(classes)}).fillna(NO_CLASS).to_numpy(np.int64)
    images = np.load(paths.images(study), mmap_mode="r", allow_pickle=False)
    is_used = task.has_classes & (labels != NO_CLASS)
    numbers = None
    if values:
        columns = [samples.get(f"{VALUE}{name}", pd.Series(np.nan, samples.index)) for name in values]
        numbers = np.array(columns, np.float32).T
        is_used |= np.isfinite(numbers).any(axis=1)
    used = splits["split"].to_numpy() if is_used.all() else np.where(is_used, splits["split"], "")
    return Dataset(images, labels, used, classes, numbers, values)
