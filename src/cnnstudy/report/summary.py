"""The first screen of the page: title, summary, three numbers, and severe findings."""

from dataclasses import dataclass
from typing import Any

from cnnstudy.evaluation.intervals import Difference
from cnnstudy.evaluation.pairs import named
from cnnstudy.evaluation.results import RunMetrics
from cnnstudy.published.paper import Paper
from cnnstudy.published.verdicts import Findings
from cnnstudy.report.tables import interval

NUMBERS = 3


@dataclass(frozen=True)
class Number:
    """A large number, its 95 % interval in words, and what it is."""

    value: str
    bounds: str
    text: str


def title(its: Findings, papers: dict[str, Paper]) -> str:
    """Return the titles of the studies, and whether they rebuild published ones."""
    names = [study.title for study in its.params.studies.values()]
    words = joined([names[0], *(name[:1].lower() + name[1:] if name[1:2].islower() else name for name in names[1:])])
    return f"{words}, rebuilt" if len(papers) == len(names) else words


def paragraph(
    its: Findings, papers: dict[str, Paper], synthetic: list[str], metrics: dict[str, RunMetrics], headlines: list[str]
) -> str:
    """Return what was done, on what data, and the first of the findings; `metrics` are those of all runs."""
    trainings = sum(len(phases) for phases in metrics.values())
    seeds = len(its.params.seeds)
    nets = f"{len(metrics)} nets were" if len(metrics) != 1 else "One net was"
    several = f"from {seeds} seeds" if seeds > 1 else "from one seed"
    each = "each " if len(metrics) != 1 else ""
    data = "synthetic images" if len(synthetic) == len(its.params.studies) else "the same splits"
    tuned = trainings - len(metrics)
    more = f"; {tuned} of the nets were also fine-tuned ({trainings} trainings in all)" if tuned else ""
    text = f"{nets} trained on {data}, {each}{several}{more}"
    theirs = "the papers" if len(papers) > 1 else "the paper"
    beside = f"a course report and of {theirs} it rebuilds" if its.has_report else theirs
    text += f". The numbers of {beside} stand beside ours." if papers else "."
    if headlines:
        text += f" {headlines[0]}."
    return text


def numbers(its: Findings, baselines: dict[str, dict[str, dict[str, float]]]) -> list[Number]:
    """Return at most `NUMBERS` numbers: the studies' highest accuracies, `_hidden` and `_largest`."""
    found = [number for study in its.params.studies if (number := _best(its, study, baselines.get(study, {})))]
    more = [_hidden(its), _largest(list(its.differences.values()))]
    return [*found[: NUMBERS - 1], *(number for number in more if number), *found[NUMBERS - 1 :]][:NUMBERS]


def best(its: Findings, study: str) -> tuple[str, str] | None:
    """Return the run and phase with the highest accuracy on a study's primary split; None where it has no run."""
    split = its.params.studies[study].primary_split
    trainings = [(run, phase) for run in its.params.class_runs_of(study) for phase in its.metrics.get(run, {})]
    return max(trainings, key=lambda key: float(its.split(key[0], key[1], split)["accuracy"])) if trainings else None


def hidden(its: Findings) -> list[tuple[str, str]]:
    """Return the trainings that predict one class with moving averages, but not with re-estimated statistics."""
    return [
        (run, phase)
        for run, phases in its.metrics.items()
        for phase, splits in phases.items()
        for split in [splits[its.params.study_of(run).primary_split]]
        if split["constant_moving"] and not split["constant_recalibrated"]
    ]


def joined(words: list[str], last: str = "and") -> str:
    """Return words as an enumeration: a, b and c."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def severe(study: str, found: list[dict[str, Any]]) -> list[str]:
    """Return an audit's severe findings in words."""
    return [f"{study}, severe: {each['kind']}, {each['count']} images. {each['advice']}" for each in found]


def _best(its: Findings, study: str, baselines: dict[str, dict[str, float]]) -> Number | None:
    found = best(its, study)
    if found is None:
        return None
    settings = its.params.studies[study]
    split = its.split(*found, settings.primary_split)
    chance = baselines.get("largest_class", {}).get(settings.primary_split)
    floor = f" Always predicting the largest class gives {chance:.3f}." if chance is not None else ""
    if split["constant"]:
        floor += " The net predicts one class for every image."
    trainings = sum(len(its.metrics.get(run, {})) for run in its.params.class_runs_of(study))
    of = f" of {trainings} trainings" if trainings > 1 else ""
    text = f"{settings.title}: best {settings.primary_split} accuracy{of} ({named(*found)}).{floor}"
    return Number(f"{split['accuracy']:.3f}", interval(split), text)


def _hidden(its: Findings) -> Number | None:
    """Return the training whose accuracy BatchNorm's moving averages hide most."""
    found = hidden(its) if its.params.batchnorm == "recalibrated" else []
    if not found:
        return None
    parts = {key: its.split(*key, its.params.study_of(key[0]).primary_split) for key in found}
    key = max(parts, key=lambda each: parts[each]["accuracy_recalibrated"] - parts[each]["accuracy_moving"])
    split = parts[key]
    text = (
        f"{named(*key)}: the same weights with BatchNorm’s moving averages, which predict one class for every image, "
        "and with re-estimated statistics"
    )
    return Number(f"{split['accuracy_moving']:.3f} → {split['accuracy']:.3f}", interval(split), text)


def _largest(pairs: list[Difference]) -> Number | None:
    found = [pair for pair in pairs if pair.significant]
    if not found:
        return None
    pair = max(found, key=lambda each: abs(each.difference))
    bounds = f"{pair.low:+.3f} to {pair.high:+.3f}".replace("-", "−")
    text = f"The largest significant difference in accuracy: {pair.first} minus {pair.second}"
    return Number(f"{pair.difference:+.3f}".replace("-", "−"), bounds, text)
