"""Known schemes of naming files after persons or patients, most of them those of public data sets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """A scheme of naming files after persons: the group of `pattern`, found in the path, is the person.

    `within` says that numbers restart in every split and class.
    """

    called: str
    pattern: re.Pattern[str]
    within: bool = False

    def person(self, path: str, within: str) -> str:
        """Return the person of a path, or ''; `within` names the split and class of the path."""
        found = self.pattern.search(path)
        if not found:
            return ""
        return f"{within}/{found[1]}" if self.within else found[1]


def _scheme(called: str, pattern: str, within: bool = False) -> Scheme:
    return Scheme(called, re.compile(pattern, re.IGNORECASE), within)


_END = r"(?=[/_. -]|$)"
# The first scheme that fits most files of a source is used.
SCHEMES = (
    _scheme("ChestX-ray14's (00001234_000.png)", r"(?:^|/)(\d{8})_\d{3}\.\w+$"),
    _scheme("Kermany's (person12_bacteria_3.jpeg, IM-0115-0001.jpeg)",
            r"(?:^|/)((?:person\d+(?=_(?:bacteria|virus)))|(?:NORMAL2-)?IM-\d+(?=-))", within=True),
    _scheme("Mendeley Data's (BACTERIA-1135262-0004.jpeg)", r"(?:^|/)(?:NORMAL|BACTERIA|VIRUS)-(\d+)-\d+\.\w+$"),
    _scheme("patient123, subject_7, person12",
            rf"(?:^|[/_. -])((?:patient|subject|person|pat|subj|sub|pt)[ _-]?[A-Z]?\d+){_END}"),
    _scheme("MIMIC-CXR's (p10000032/s50414267/)", r"(?:^|/)(p\d{8})/s\d{8}/"),
    _scheme("Figure1's (COVID-00003a.jpg)", r"(?:^|/)(COVID-\d{5})[a-z]?\.\w+$"),
    _scheme("Cohn-Kanade's (S005_001_00000011.png)", r"(?:^|/)(S\d{3})_\d{3}_\d{6,8}\.\w+$"),
    _scheme("KDEF's (AF01ANS.JPG)", r"(?:^|/)[AB]([FM]\d{2})(?:AF|AN|DI|HA|NE|SA|SU)(?:F[LR]|H[LR]|S)\.\w+$"),
    _scheme("JAFFE's (KA.AN1.39.tiff)", r"(?:^|/)([A-Z]{2})[.-](?:AN|DI|FE|HA|NE|SA|SU)\d[.-]\d+\.\w+$"),
    _scheme("RaFD's (Rafd090_01_Caucasian_female_angry_frontal.jpg)", r"(?:^|/)Rafd\d+_(\d+)_"),
)  # fmt: skip
# The share of a source's files that a scheme must fit.
MOST = 0.8
# All files are tried only if a scheme fits half of MOST in a sample of about this many files.
SAMPLE = 200


def scheme_of(paths: Sequence[str]) -> Scheme | None:
    """Return the scheme by which most paths are named, if it distinguishes at least two persons."""
    sample = paths[:: max(1, len(paths) // SAMPLE)]
    for scheme in SCHEMES:
        if sum(bool(scheme.pattern.search(path)) for path in sample) < MOST / 2 * len(sample):
            continue
        persons = [found[1] for path in paths if (found := scheme.pattern.search(path))]
        if len(persons) >= MOST * len(paths) and len(set(persons)) > 1:
            return scheme
    return None
