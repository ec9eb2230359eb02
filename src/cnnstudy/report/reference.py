"""The numbers of the report that is rebuilt, and of the two papers behind it.

Sources: `report`, the report's tables and logs; `hewitt_gunes_2018`, arXiv:1807.08775; `reshi_2021`, doi
10.1155/2021/6621607.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

FILES = ("report_faces.csv", "report_xray.csv", "hewitt_gunes_2018.csv", "reshi_2021.csv")


@dataclass(frozen=True)
class Published:
    """A number, and the table or log it stands in."""

    value: float
    table: str


def read(folder: Path) -> pd.DataFrame:
    """One row a number: study, table, run, phase, split, class, metric, value, source; an empty cell is ''."""
    tables = [pd.read_csv(folder / file, dtype={"table": str, "class": str}, keep_default_na=False) for file in FILES]
    return pd.concat(tables, ignore_index=True)


def read_layers(folder: Path) -> pd.DataFrame:
    """The report's layer tables: study, table, run, row, type, shape (such as 128x128x16), parameters, source."""
    return pd.read_csv(folder / "report_layers.csv", dtype={"table": str, "shape": str})


def read_contents(folder: Path) -> pd.DataFrame:
    """Every table and figure of the report: item, shows, study, run, phase, split, kind; an empty cell is ''."""
    return pd.read_csv(folder / "report_contents.csv", dtype=str, keep_default_na=False)


def find(numbers: pd.DataFrame, **cells: str) -> Published | None:
    """The accuracy (or another metric) whose row has these cells and no class, or None where nothing is published."""
    cells = {"class": "", "metric": "accuracy"} | cells
    found = numbers[(numbers[list(cells)] == pd.Series(cells)).all(axis=1)]
    assert len(found) <= 1, cells
    return Published(float(found["value"].item()), str(found["table"].item())) if len(found) else None
