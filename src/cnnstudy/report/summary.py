"""What the page says first, in a few lines."""

from collections import Counter
from typing import Any

from cnnstudy.config.schema import HEADLINE, StudyName
from cnnstudy.evaluation.intervals import Difference
from cnnstudy.report.claims import Claim, Findings


def lines(
    its: Findings, judged: dict[StudyName, list[Claim]], severe: dict[StudyName, list[dict[str, Any]]]
) -> list[str]:
    """The best of each study, the differences that are real, one-class answers, and how many claims hold.

    And what makes all that worthless: of each study what its audit found `severe`.
    """
    found = []
    for study in its.params.studies:
        found += _study_lines(its, study)
        found += [
            f"{study}, severe: {finding['kind']}, {finding['count']} images. {finding['advice']}"
            for finding in severe[study]
        ]
    constant = [run for run, phases in its.metrics.items() if any(_any_constant(splits) for splits in phases.values())]
    if constant:
        found.append(
            f"One class for every image of some split: {', '.join(constant)}. Their accuracy there is no skill."
        )
    claims = [claim for each in judged.values() for claim in each]
    if claims:
        counts = Counter(claim.verdict for claim in claims)
        found.append(
            f"Of {len(claims)} claims of the report and the papers, on this data {counts['holds']} hold, "
            f"{counts['does not hold']} do not, and {counts['cannot tell']} can't be told."
        )
    return found


def _study_lines(its: Findings, study: StudyName) -> list[str]:
    split = HEADLINE[study]
    runs = [run for run in its.metrics if its.params.runs[run].study == study]
    if not runs:
        return []
    named = {(run, phase): f"{run}, {phase}" for run in runs for phase in its.metrics[run]}
    best = max(named, key=lambda key: float(its.metrics[key[0]][key[1]][split]["accuracy"]))
    line = f"{study}: the highest {split} accuracy is {its.accuracy(best[0], best[1], split)}, {named[best]}."
    if study == "xray":
        stuck = [run for run in runs if its.split(run, "base", split)["constant_moving"]]
        line += (
            f" With BatchNorm's moving statistics {len(stuck)} of {len(runs)} nets give every film the same answer;"
            " re-estimated, the same weights don't."
            if stuck and not any(its.split(run, "base", split)["constant_recalibrated"] for run in stuck)
            else ""
        )
    pairs = [pair for pair in its.differences.values() if pair.first.split(",")[0] in runs]
    return [line, *_real(pairs)]


def _real(pairs: list[Difference]) -> list[str]:
    if not pairs:
        return []
    real = [pair for pair in pairs if pair.real]
    words = "; ".join(f"{pair.first} − {pair.second} {pair.difference:+.3f}".replace("-0", "−0") for pair in real[:4])
    more = f" and {len(real) - 4} more" if len(real) > 4 else ""
    return [f"Differences that are more than chance: {len(real)} of {len(pairs)}{': ' + words + more if real else ''}."]


def _any_constant(splits: dict[str, dict[str, object]]) -> bool:
    return any(bool(its["constant"]) for its in splits.values())
