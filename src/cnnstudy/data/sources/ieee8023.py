"""ieee8023/covid-chestxray-dataset: metadata.csv beside images/, with the headers of any of its versions.

agchung's Figure1-COVID-chestxray-dataset and Actualmed-COVID-chestxray-dataset have the same layout.
"""

import re
from collections.abc import Collection
from pathlib import Path

from cnnstudy.config.labels import folded
from cnnstudy.data.sources import Candidate, Listing, below, named_problem, rows, written

ABOUT = (
    "COVID-19 image data collection (Cohen et al. 2020): X-rays from publications; each image has its own "
    "licence, in the column license of metadata.csv."
)

# Words in the view of a frontal X-ray: PA, AP, AP Supine, AP Erect, AP semi erect, in any order and case.
FRONTAL = {"pa", "ap", "frontal", "posteroanterior", "anteroposterior"}
OTHER = {"l", "lat", "lateral", "ll", "rl", "axial", "coronal", "sagittal", "ct", "oblique"}
# Modalities that mean X-ray; CR and DX are DICOM's words.
MODALITIES = {"", "x-ray", "xray", "x ray", "cr", "dx", "cxr", "radiograph"}
# Columns with the file's name; Figure1 has none and names files after the patient, with a letter for each X-ray.
FILES = ("filename", "imagename")
LETTERED = re.compile(r"(COVID-\d+)[a-z]", re.IGNORECASE)
# Columns that must agree in all rows of a file.
SAID = ("finding", "patientid", "view", "modality")


def find(root: Path, names: Collection[str]) -> list[Candidate]:
    """Return every file named by metadata.csv or held by a folder beside it; only frontal X-rays are used.

    The label is the finding as written, such as `Pneumonia/Viral/COVID-19`, or the only known part of it; the group is
    the patient.

    Raises:
        UserError: metadata.csv is missing, or lacks one of the columns patientid, finding and view.
    """
    listed = [(row, *_file(row)) for row in rows(root / "metadata.csv", ("patientid", "finding", "view"))]
    folders = {"images", *(folder for _, folder, _ in listed)}
    listing = Listing(
        name
        for folder in sorted(root.iterdir())
        if folder.name in folders and folder.is_dir() and not folder.is_symlink()
        for name in below(root, folder)
    )
    named: dict[str, list[dict[str, str]]] = {}
    problems: dict[str, str] = {}
    for row, folder, file in listed:
        name, problem = listing.named(f"{folder}/{file}")
        named.setdefault(name, []).append(row)
        problems[name] = problem
    unnamed = [
        Candidate(written(name), reason="no row of metadata.csv names it")
        for name in sorted(listing.names)
        if name not in named
    ]
    found = [_candidate(root, name, named[name], problems[name], names) for name in sorted(named)]
    return sorted(found + unnamed, key=lambda candidate: candidate.path)


def _file(row: dict[str, str]) -> tuple[str, str]:
    """Return the folder and the name of a row's file."""
    name = next((row[column] for column in FILES if column in row), row["patientid"])
    return row.get("folder") or "images", name.replace("\\", "/").removeprefix("images/")


def _candidate(root: Path, name: str, found: list[dict[str, str]], problem: str, names: Collection[str]) -> Candidate:
    said = {column: sorted({row.get(column, "") for row in found}) for column in SAID}
    (finding, *_), (patient, *_), (view, *_), (modality, *_) = said.values()
    if not any(column in found[0] for column in FILES) and (lettered := LETTERED.fullmatch(patient)):
        patient = lettered[1]
    several = [f"{column} {' and '.join(values)}" for column, values in said.items() if len(values) > 1]
    if several:
        reason = f"rows that differ: {', '.join(several)}"
    elif modality.casefold() not in MODALITIES:
        reason = f"modality {modality!r} is not X-ray"
    elif not _is_frontal(view):
        reason = f"view {view!r} is not frontal"
    else:
        reason = problem or named_problem(root, name)
    return Candidate(written(name), _finding(finding, names), group=patient, reason=reason, row=found[0])


def _is_frontal(view: str) -> bool:
    words = set(
        re.split(r"[^a-z]+", view.casefold().replace("postero-anterior", "pa").replace("antero-posterior", "ap"))
    )
    return bool(words & FRONTAL) and not words & OTHER


def _finding(written: str, names: Collection[str]) -> str:
    """Return a finding as written, the only known one in `COVID-19, ARDS`, or the narrowest known part of `A/B/C`."""
    if folded(written) in names:
        return written
    parts = [part.strip() for part in re.split(r"[,;|]", written)]
    known = {folded(name): name for part in parts if (name := _narrowest(part, names))}
    return next(iter(known.values())) if len(known) == 1 else written


def _narrowest(finding: str, names: Collection[str]) -> str:
    whole = [finding, *reversed([part.strip() for part in finding.split("/")])]
    return next((name for name in whole if folded(name) in names), "")
