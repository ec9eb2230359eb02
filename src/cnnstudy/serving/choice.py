"""The choice of one training of a run."""

from dataclasses import dataclass
from pathlib import Path

from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.workspace import paths


@dataclass(frozen=True)
class Choice:
    """One training: a run, a phase and a seed."""

    run: str
    phase: str
    seed: int

    def __str__(self) -> str:
        return f"{self.run}, {self.phase}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Return the folder of the training's weights."""
        return paths.seed(self.run, self.phase, self.seed)


def choose(params: Params, run: str, phase: str | None = None, seed: int | None = None) -> Choice:
    """Return a training of `run`: by default the run's last phase with the first seed.

    Raises:
        UserError: there is no such run, phase or seed.
    """
    if run not in params.all_runs:
        raise UserError(f"RUN: {run!r} found; allowed: {', '.join(params.all_runs)}")
    phases = params.phases(run)
    if phase is not None and phase not in phases:
        raise UserError(f"--phase: {phase!r} found; allowed: {', '.join(phases)}")
    if seed is not None and seed not in params.seeds:
        raise UserError(f"--seed: {seed} found; allowed: {', '.join(map(str, params.seeds))}")
    return Choice(run, phase or phases[-1], params.seeds[0] if seed is None else seed)


def require_trained(choice: Choice) -> None:
    """Refuse a training whose weights are not there, before anything heavy is imported.

    Raises:
        UserError: they are missing; the message says what to do.
    """
    weights = paths.weights(choice.folder)
    if not weights.is_file():
        raise UserError(f"{weights}: no such file; `cnnstudy repro` trains {choice.run}, `dvc pull` fetches it")
