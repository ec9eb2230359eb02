"""FER2013 and CK+ as one CSV file of pixels (emotion, pixels, Usage), 48 x 48 grey, seven classes."""

import math
from pathlib import Path

from cnnstudy.data.sources import Candidate, rows
from cnnstudy.errors import UserError

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
USAGES = {"training": "train", "publictest": "val", "privatetest": "test"}


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Every row of the folder's CSV file; its path is the file's name and the row's number, from 1.

    Raises:
        UserError: not exactly one CSV file, or one without the columns emotion and pixels.
    """
    tables = sorted(root.glob("*.csv"))
    if len(tables) != 1:
        raise UserError(f"{root}: {len(tables)} CSV files; allowed: one, with the columns emotion, pixels, Usage")
    table = tables[0]
    numbered = enumerate(rows(table, ("emotion", "pixels")), start=1)
    return [_candidate(f"{table.name}:{number:06d}", row) for number, row in numbered]


def _candidate(path: str, row: dict[str, str]) -> Candidate:
    emotion = row["emotion"].strip()
    is_known = emotion.isdecimal() and len(emotion) < 3 and int(emotion) < len(EMOTIONS)
    label = EMOTIONS[int(emotion)] if is_known else emotion
    hint = USAGES.get(row.get("usage", "").strip().casefold(), "")
    try:
        grey = bytes(map(int, row["pixels"].split()))
    except ValueError:
        return Candidate(path, label, hint=hint, reason="pixels that are not whole numbers from 0 to 255")
    if not grey or math.isqrt(len(grey)) ** 2 != len(grey):
        return Candidate(path, label, hint=hint, reason=f"{len(grey)} pixels, not a square")
    return Candidate(path, label, hint=hint, grey=grey)
