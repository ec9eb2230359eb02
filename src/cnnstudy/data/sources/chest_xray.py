"""chest_xray (Kaggle, after Kermany et al. 2018): {train,val,test}/{NORMAL,PNEUMONIA}, at times nested in itself."""

import re
from dataclasses import replace
from pathlib import Path

from cnnstudy.data.sources import Candidate, folders
from cnnstudy.errors import UserError

# `person1_bacteria_1.jpeg` is a film of person 1, `NORMAL2-IM-1427-0001.jpeg` and `IM-0115-0001.jpeg` are of one each.
PATIENT = re.compile(r"(person\d+)_|((?:NORMAL2-)?IM-\d+)-", re.IGNORECASE)


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Every file of the outermost folder that has train/; the group is the patient, whose number counts in a split.

    Raises:
        UserError: no folder train/ in `root`, root/chest_xray or root/chest_xray/chest_xray.
    """
    for inner in ("", "chest_xray/", "chest_xray/chest_xray/"):
        if (root / inner / "train").is_dir():
            found = folders.find(root / inner, names)
            return [replace(candidate, group=_patient(candidate), path=inner + candidate.path) for candidate in found]
    raise UserError(f"{root}: no folder train/; allowed: chest_xray/ with train/, val/ and test/")


def _patient(candidate: Candidate) -> str:
    name = PATIENT.match(Path(candidate.path).name)
    return f"{candidate.hint}/{candidate.label}/{name[1] or name[2]}" if name and not candidate.reason else ""
