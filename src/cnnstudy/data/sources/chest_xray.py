"""chest_xray (Kermany et al. 2018): {train,val,test}/{NORMAL,PNEUMONIA}, in some copies below a second chest_xray/.

Kaggle's copy and the second one on Mendeley Data have the same folders but different file names.
"""

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from cnnstudy.config.schema import Source
from cnnstudy.data.names import split_of
from cnnstudy.data.sources import Candidate, folders
from cnnstudy.errors import UserError

ABOUT = "Chest X-ray images (Kermany et al. 2018): X-rays of children aged one to five, CC BY 4.0."

# Kaggle's: `person1_bacteria_1.jpeg` is an X-ray of person 1, `NORMAL2-IM-1427-0001.jpeg` and `IM-0115-0001.jpeg` show
# one person each.
NUMBERED = re.compile(r"(person\d+)_|((?:NORMAL2-)?IM-\d+)-", re.IGNORECASE)
# Mendeley Data's: `BACTERIA-1135262-0004.jpeg` is an X-ray of patient 1135262.
NAMED = re.compile(r"(?:NORMAL|BACTERIA|VIRUS)-(\d+)-\d+\.", re.IGNORECASE)
UNKNOWN = "no patient in its name: another X-ray of the patient may be in another split"


def find(root: Path, names: Collection[str], source: Source) -> list[Candidate]:
    """Return every file of the outermost folder with train/; the group is the patient in the file's name, if any.

    Raises:
        UserError: there is no folder train/ in `root`, root/chest_xray or root/chest_xray/chest_xray.
    """
    for inner in ("", "chest_xray/", "chest_xray/chest_xray/"):
        inside = (root / inner).iterdir() if (root / inner).is_dir() else ()
        if any(split_of(folder.name) == "train" and folder.is_dir() for folder in inside):
            found = folders.find(root / inner, names, source)
            return [_of_patient(replace(candidate, path=inner + candidate.path)) for candidate in found]
    raise UserError(f"{root}: no folder train/; allowed: chest_xray/ with train/, val/ and test/")


def _of_patient(candidate: Candidate) -> Candidate:
    name = Path(candidate.path).name
    if candidate.reason:
        return candidate
    if named := NAMED.match(name):
        return replace(candidate, group=f"patient {named[1]}")
    if numbered := NUMBERED.match(name):  # numbers begin anew in every split and class
        return replace(candidate, group=f"{candidate.source_split}/{candidate.label}/{numbered[1] or numbered[2]}")
    return replace(candidate, note=UNKNOWN)
