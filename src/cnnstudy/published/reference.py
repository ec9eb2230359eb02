"""Published numbers: the course report's (source `report`), and those of the papers that it rebuilds."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cnnstudy.errors import UserError

COLUMNS = ("study", "table", "run", "phase", "split", "class", "metric", "value", "source")


@dataclass(frozen=True)
class Published:
    """A number, and the table or log that contains it."""

    value: float
    table: str


def read(folder: Path, names: Iterable[str]) -> pd.DataFrame:
    """Return the published numbers in some tables: a row for each, with `COLUMNS`; an empty cell is ''.

    Raises:
        UserError: an accuracy is not a share from 0 to 1.
    """
    names = list(names)
    text = {"table": str, "class": str}
    tables = [pd.read_csv(folder / name, dtype=text, keep_default_na=False) for name in names]
    for name, table in zip(names, tables, strict=True):
        wrong = table[(table["metric"] == "accuracy") & ~table["value"].between(0, 1)]
        if len(wrong):
            raise UserError(f"{folder / name}: accuracy {wrong['value'].iloc[0]} found; allowed: a share from 0 to 1")
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))


def read_values(folder: Path) -> pd.DataFrame:
    """Return the published numbers on values, such as RMSEs of valence: the tables *_values.csv, with `COLUMNS`.

    The runs `baseline`, `constant` and `positive` are not nets: a paper's baseline, the mean of the labels, and a value
    above 0 for every image.
    """
    return read(folder, sorted(path.name for path in folder.glob("*_values.csv")))


def read_layers(folder: Path) -> pd.DataFrame:
    """Return the course report's layer tables: study, table, run, row, type, shape (128x128x16), parameters, source."""
    return pd.read_csv(folder / "report_layers.csv", dtype={"table": str, "shape": str})


def read_contents(folder: Path) -> pd.DataFrame:
    """Return the course report's tables and figures: item, shows, study, run, phase, split, kind ('' if empty)."""
    return pd.read_csv(folder / "report_contents.csv", dtype=str, keep_default_na=False)


def find(numbers: pd.DataFrame, **cells: str) -> Published | None:
    """Return the accuracy (or another metric) in the row with these cells and no class, or None."""
    found = find_all(numbers, **cells)
    assert len(found) <= 1, cells
    return found[0] if found else None


def find_all(numbers: pd.DataFrame, **cells: str) -> list[Published]:
    """Return the accuracies (or another metric) in the rows with these cells and no class, in the tables' order."""
    cells = {"class": "", "metric": "accuracy"} | cells
    found = numbers[(numbers[list(cells)] == pd.Series(cells)).all(axis=1)]
    return [Published(float(row["value"]), str(row["table"])) for row in found.to_dict("records")]
