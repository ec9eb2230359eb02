"""Verdicts on the claims of the course report and the papers.

A claim holds, or does not, where our numbers show so beyond chance; otherwise the verdict is `cannot tell`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, Literal

import pandas as pd
from scipy.stats import fisher_exact

from cnnstudy.config.schema import Params
from cnnstudy.evaluation.intervals import Difference
from cnnstudy.evaluation.results import RunMetrics
from cnnstudy.published import reference

Verdict = Literal["holds", "does not hold", "cannot tell"]

# Differences in accuracy below this count as no difference.
MARGIN = 0.05
# Words for verdicts on an external set.
ELSEWHERE: dict[Verdict, str] = {"holds": "holds", "does not hold": "does not hold", "cannot tell": "not significant"}


@dataclass(frozen=True)
class Claim:
    """A claim: where it is made, what it says, the published numbers, ours, and the verdict.

    `is_confirmed` is false where the verdict is another on an external set.
    """

    where: str
    says: str
    published: str
    ours: str
    verdict: Verdict
    is_confirmed: bool = True


@dataclass(frozen=True)
class Findings:
    """The results that claims are judged by.

    `numbers` and `layers` are published (see cnnstudy.published.reference); `differences` are ours from every ablation,
    by the names of the two trainings.
    """

    params: Params
    metrics: dict[str, RunMetrics]
    numbers: pd.DataFrame
    layers: pd.DataFrame
    differences: dict[tuple[str, str], Difference]

    @property
    def has_report(self) -> bool:
        """Return whether some of the published numbers are the course report's."""
        return "report" in set(self.numbers["source"])

    def has(self, *runs: str) -> bool:
        """Return whether the experiment has all these runs."""
        return all(run in self.metrics for run in runs)

    def is_tuned(self, run: str) -> bool:
        """Return whether the experiment has the run, with fine-tuning."""
        return "tuned" in self.metrics.get(run, {})

    def split(self, run: str, phase: str, split: str) -> dict[str, Any]:
        """Return the metrics of a run's phase on a split."""
        return self.metrics[run][phase][split]

    def accuracy(self, run: str, phase: str, split: str) -> str:
        """Return an accuracy in words, with its interval, and a note if the net predicts one class for every image."""
        its = self.split(run, phase, split)
        constant = ", one class for every image" if its["constant"] else ""
        return f"{its['accuracy']:.3f} ({its['accuracy_low']:.3f} to {its['accuracy_high']:.3f}{constant})"

    def published(self, run: str, split: str, **cells: str) -> float:
        """Return a number of the course report."""
        found = reference.find(self.numbers, source="report", run=run, split=split, **cells)
        assert found, (run, split, cells)
        return found.value


def judge(
    claims: Callable[[Findings], list[Claim]],
    findings: Findings,
    elsewhere: Mapping[str, dict[tuple[str, str], Difference]],
) -> list[Claim]:
    """Return a paper's claims with verdicts; a claim about differences is judged on every external set as well.

    `elsewhere` has the differences on each external set of the study. The verdict is that on our own splits; our
    numbers say what it is on images from elsewhere.
    """
    judged = claims(findings)
    others = {name: claims(replace(findings, differences=found)) for name, found in elsewhere.items() if found}
    return [_beside(claim, {name: other[i] for name, other in others.items()}) for i, claim in enumerate(judged)]


def _beside(claim: Claim, others: dict[str, Claim]) -> Claim:
    """Return a claim with what differs on external sets; a claim that does not use differences is the same there."""
    if claim.verdict == "cannot tell":
        return claim
    notes, is_confirmed = [], True
    for name, other in others.items():
        if (other.ours, other.verdict) == (claim.ours, claim.verdict):
            continue
        if other.verdict == claim.verdict:
            notes.append(f"also on {name}")
        else:
            notes.append(f"on {name} ({ELSEWHERE[other.verdict]}): {other.ours}")
            is_confirmed = False
    return replace(claim, ours="; ".join([claim.ours, *notes]), is_confirmed=is_confirmed)


def learnt(findings: Findings, verdict: Verdict, ours: str, trainings: list[str], *splits: str) -> tuple[Verdict, str]:
    """Return a verdict, or `cannot tell` if one of the nets predicts one class for every image.

    `trainings` are named as in a difference; `splits` are those checked, by default the primary split of their study.
    """
    stuck = []
    for name in trainings:
        run, _, phase = name.partition(", ")
        where = splits or (findings.params.study_of(run).primary_split,)
        if any(findings.split(run, phase or "base", split)["constant"] for split in where):
            stuck.append(name)
    if not stuck:
        return verdict, ours
    return "cannot tell", f"{ours}; one class for every image: {', '.join(dict.fromkeys(stuck))}"


def untuned(findings: Findings, run: str) -> tuple[Verdict, str]:
    """Return the verdict on a claim about tuning where a run is not fine-tuned, or absent."""
    return ("cannot tell", f"{run} is not fine-tuned here") if findings.has(run) else absent(findings, run)


def absent(findings: Findings, *runs: str) -> tuple[Verdict, str]:
    """Return the verdict on a claim about runs that the experiment does not have."""
    missing = [run for run in runs if not findings.has(run)]
    return "cannot tell", f"needs {', '.join(missing)}, which this experiment does not have"


def find_pair(findings: Findings, first: str, second: str) -> Difference | None:
    """Return the difference of two trainings, the first minus the second; None where they were not compared."""
    if pair := findings.differences.get((first, second)):
        return pair
    if pair := findings.differences.get((second, first)):
        return Difference(first, second, -pair.difference, -pair.high, -pair.low, pair.significant)
    return None


def beats(findings: Findings, first: str, second: str) -> Verdict:
    """Return whether the first training does significantly better than the second."""
    pair = find_pair(findings, first, second)
    if not pair or not pair.significant:
        return "cannot tell"
    return "holds" if pair.difference > 0 else "does not hold"


def direction(findings: Findings, first: str, second: str) -> tuple[Verdict, str]:
    """Return whether the first training has a higher accuracy than the second."""
    pair = find_pair(findings, first, second)
    if not pair:
        runs = dict.fromkeys(name.split(",")[0] for name in (first, second))
        missing = [run for run in runs if not findings.has(run)]
        return absent(findings, *missing) if missing else untuned(findings, next(iter(runs)))
    return learnt(findings, beats(findings, first, second), in_words(pair), [first, second])


def in_words(pair: Difference) -> str:
    """Return a difference with its interval in words."""
    chance = "" if pair.significant else f", {significance(pair.significant, pair.low, pair.high)}"
    text = f"{pair.first} − {pair.second}: {pair.difference:+.3f} ({pair.low:+.3f} to {pair.high:+.3f}{chance})"
    return minus(text)


def significance(is_significant: bool, low: float, high: float) -> str:
    """Return in words whether a difference is significant, or only before correction (its interval excludes 0)."""
    excludes = low > 0 or high < 0
    return "significant" if is_significant else f"not significant{' after correction' if excludes else ''}"


def half_width(metrics: dict[str, Any]) -> float:
    """Return half the width of an accuracy's interval."""
    return float(metrics["accuracy_high"] - metrics["accuracy_low"]) / 2


def is_larger(first: float, second: float, n: float, among: int = 1) -> Verdict:
    """Return whether a share is significantly larger than another, by Fisher's exact test (1935).

    The level is 0.05, divided by `among`, the number of pairs that this one was selected from (Bonferroni).
    """
    images = round(n)
    table = [[round(share * images), images - round(share * images)] for share in (first, second)]
    if fisher_exact(table).pvalue >= 0.05 / among:
        return "cannot tell"
    return "holds" if first > second else "does not hold"


def standard_error(first: float, second: float, n: float) -> float:
    """Return the standard error of the difference between two shares of n."""
    return sqrt((first * (1 - first) + second * (1 - second)) / n)


def series(values: list[float], digits: int) -> str:
    """Return numbers with `digits` decimals, separated by commas."""
    return ", ".join(f"{value:.{digits}f}" for value in values)


def minus(text: str) -> str:
    """Return a text with typographic minus signs."""
    return text.replace(" -", " −").replace("(-", "(−")
