"""FER2013 and CK+ as one CSV file of pixels (emotion, pixels, Usage), 48 x 48 grey.

The seven numbers of FER2013 have known meanings; CK+ comes in several files, whose numbers mean different things.
"""

import math
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from cnnstudy.config.schema import Source
from cnnstudy.data.names import splits_of
from cnnstudy.data.sources import NUMBER, Candidate, rows
from cnnstudy.errors import UserError

ABOUT = (
    "FER2013 (Goodfellow et al. 2013): 48x48 grey faces from web searches, seven classes; labels are known to be noisy."
)

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
# `find` translates the numbers; other numbers are ordinary labels.
KNOWS_NUMBERS = True
# Names of FER2013's file on Kaggle and in the competition (ICML 2013).
NAMED = re.compile(r"(?i)fer[-_ ]?2013|icml_face_data")


def find(root: Path, names: Collection[str], source: Source) -> list[Candidate]:
    """Return every row of the folder's CSV file; a row's path is the file's name and the row's number, from 1.

    Raises:
        UserError: there is not exactly one CSV file, or it lacks the columns emotion and pixels, or has a Usage that is
            not a split, or numbers whose meaning differs between tables.
    """
    tables = sorted(root.glob("*.csv"))
    if len(tables) != 1:
        raise UserError(f"{root}: {len(tables)} CSV files; allowed: one, with the columns emotion, pixels, Usage")
    table = tables[0]
    numbered = enumerate(rows(table, ("emotion", "pixels")), start=1)
    found = [_candidate(f"{table.name}:{number:06d}", row) for number, row in numbered]
    splits = _splits(table, {each.source_split for each in found}, source)
    means = {} if source.numbers else _meanings(table, {each.label for each in found}, names)
    return [
        replace(each, label=means.get(each.label, each.label), source_split=splits.get(each.source_split, ""))
        for each in found
    ]


def _splits(table: Path, usages: set[str], source: Source) -> dict[str, str]:
    splits = splits_of(usages, source.splits)
    if unknown := sorted(usages - set(splits) - {""}):
        raise UserError(
            f"{table}: Usage {unknown[0]!r} found, which is not a split; allowed: Training, PublicTest, PrivateTest, "
            f"or `-S '+studies.<study>.source.splits={{{unknown[0]}: test}}'` (train, val, tune, test, none)"
        )
    return {usage: split for usage, split in splits.items() if split != "none"}


def _meanings(table: Path, labels: set[str], names: Collection[str]) -> dict[str, str]:
    """Return the meanings of the numbers that are not labels of a class."""
    numbers = {label: int(number[1]) for label in labels - set(names) if (number := NUMBER.fullmatch(label))}
    if NAMED.search(table.stem) or not numbers:
        return {label: EMOTIONS[number] for label, number in numbers.items() if number < len(EMOTIONS)}
    raise UserError(
        f"{table}: emotions {', '.join(sorted(numbers))} are numbers, which tables order differently (6 is neutral in "
        "FER2013 and in CK+ with contempt as 7, contempt in CK+ without neutral, and CK+ itself begins with 0 neutral, "
        "1 anger, 2 contempt); allowed: "
        "studies.<study>.source.numbers=[anger,disgust,fear,happy,sad,surprise,neutral], the meanings in order"
    )


def _candidate(path: str, row: dict[str, str]) -> Candidate:
    label, split, kept = row["emotion"], row.get("usage", ""), {**row, "pixels": ""}
    try:
        grey = bytes(map(int, row["pixels"].split()))
    except ValueError:
        return Candidate(
            path, label, source_split=split, reason="pixels that are not whole numbers from 0 to 255", row=kept
        )
    if not grey or math.isqrt(len(grey)) ** 2 != len(grey):
        return Candidate(path, label, source_split=split, reason=f"{len(grey)} pixels, not a square", row=kept)
    return Candidate(path, label, source_split=split, grey=grey, row=kept)
