"""The pairs of trainings that an ablation compares."""

from itertools import combinations

from cnnstudy.config.schema import Ablation, Params

# A run and a phase.
Training = tuple[str, str]


def named(run: str, phase: str) -> str:
    """Return the name of a training, as in differences."""
    return run if phase == "base" else f"{run}, {phase}"


def in_order(ablation: Ablation) -> list[str]:
    """Return the runs of an ablation along its axis: by ascending value, or in the listed order for words."""
    if ablation.has_words:
        return list(ablation.runs)
    return sorted(ablation.runs, key=lambda run: float(ablation.runs[run]))


def trainings(params: Params, ablation: Ablation) -> dict[Training, str]:
    """Return the names of an ablation's trainings, as in differences."""
    return {(run, phase): named(run, phase) for run in in_order(ablation) for phase in params.phases(run)}


def compared(params: Params, ablation: Ablation) -> list[tuple[str, str]]:
    """Return the names of every two runs in the same phase, the later on the axis first, and of a run's phases."""
    names = trainings(params, ablation)
    runs = in_order(ablation)
    pairs = [
        (names[later, phase], names[earlier, phase])
        for phase in ("base", "tuned")
        for earlier, later in combinations([run for run in runs if (run, phase) in names], 2)
    ]
    return pairs + [(names[run, "tuned"], names[run, "base"]) for run in runs if (run, "tuned") in names]
