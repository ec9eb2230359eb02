"""ieee8023/covid-chestxray-dataset: metadata.csv beside images/, with any of the headers it had over its life."""

from pathlib import Path

from cnnstudy.data.sources import Candidate, files, named_problem, rows, written

FRONTAL = ("pa", "ap", "ap supine", "ap erect")
# What every row of a file must say alike.
SAID = ("finding", "patientid", "view", "modality")


def find(root: Path, names: set[str]) -> list[Candidate]:
    """Every file that metadata.csv or a folder beside it names; only frontal X-rays are taken.

    The label is the finding as written, such as `Pneumonia/Viral/COVID-19`; the group is the patient.

    Raises:
        UserError: no metadata.csv, or one without the columns patientid, finding, view and filename.
    """
    named: dict[str, list[dict[str, str]]] = {}
    for row in rows(root / "metadata.csv", ("patientid", "finding", "view", "filename")):
        folder = row.get("folder", "").strip() or "images"
        named.setdefault(f"{folder}/{row['filename'].strip()}", []).append(row)
    folders = {"images", *(name.split("/")[0] for name in named)}
    unnamed = [
        Candidate(written(name), reason="no row of metadata.csv names it")
        for folder in sorted(root.iterdir())
        if folder.name in folders and folder.is_dir() and not folder.is_symlink()
        for path in files(folder)
        if (name := path.relative_to(root).as_posix()) not in named
    ]
    listed = [_candidate(root, name, named[name]) for name in sorted(named)]
    return sorted(listed + unnamed, key=lambda candidate: candidate.path)


def _candidate(root: Path, name: str, found: list[dict[str, str]]) -> Candidate:
    said = {column: sorted({row.get(column, "").strip() for row in found}) for column in SAID}
    (finding, *_), (patient, *_), (view, *_), (modality, *_) = said.values()
    several = [f"{column} {' and '.join(values)}" for column, values in said.items() if len(values) > 1]
    if several:
        reason = f"rows that differ: {', '.join(several)}"
    elif modality and modality.casefold() != "x-ray":
        reason = f"modality {modality!r} is not X-ray"
    elif view.casefold() not in FRONTAL:
        reason = f"view {view!r} is not frontal"
    else:
        reason = named_problem(root, name)
    return Candidate(written(name), finding, group=patient, reason=reason)
