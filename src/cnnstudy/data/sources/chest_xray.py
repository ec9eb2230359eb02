"""chest_xray (Kermany et al. 2018): {train,val,test}/{NORMAL,PNEUMONIA}, at times nested in itself.

Kaggle's copy and the second one on Mendeley Data have the same folders and other file names.
"""

import re
from dataclasses import replace
from pathlib import Path

from cnnstudy.data.sources import Candidate, folders
from cnnstudy.errors import UserError

# Kaggle's: `person1_bacteria_1.jpeg` is a film of person 1, `NORMAL2-IM-1427-0001.jpeg` and `IM-0115-0001.jpeg` are of
# one each.
NUMBERED = re.compile(r"(person\d+)_|((?:NORMAL2-)?IM-\d+)-", re.IGNORECASE)
# Mendeley Data's: `BACTERIA-1135262-0004.jpeg` is a film of patient 1135262.
NAMED = re.compile(r"(?:NORMAL|BACTERIA|VIRUS)-(\d+)-\d+\.", re.IGNORECASE)
UNKNOWN = "no patient in its name: another film of theirs may be in another split"


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Every file of the outermost folder that has train/; the group is the patient its name tells, if any.

    Raises:
        UserError: no folder train/ in `root`, root/chest_xray or root/chest_xray/chest_xray.
    """
    for inner in ("", "chest_xray/", "chest_xray/chest_xray/"):
        if (root / inner / "train").is_dir():
            found = folders.find(root / inner, names)
            return [_of_patient(replace(candidate, path=inner + candidate.path)) for candidate in found]
    raise UserError(f"{root}: no folder train/; allowed: chest_xray/ with train/, val/ and test/")


def _of_patient(candidate: Candidate) -> Candidate:
    name = Path(candidate.path).name
    if candidate.reason:
        return candidate
    if named := NAMED.match(name):
        return replace(candidate, group=f"patient {named[1]}")
    if numbered := NUMBERED.match(name):  # the number counts within a split and class
        return replace(candidate, group=f"{candidate.hint}/{candidate.label}/{numbered[1] or numbered[2]}")
    return replace(candidate, note=UNKNOWN)
