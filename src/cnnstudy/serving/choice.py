"""Which training of a run is meant."""

from dataclasses import dataclass
from pathlib import Path

from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.workspace import paths


@dataclass(frozen=True)
class Choice:
    """A run, the phase whose weights are meant, and the seed."""

    run: str
    phase: str
    seed: int

    def __str__(self) -> str:
        return f"{self.run}, {self.phase}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where its weights lie."""
        return paths.seed(self.run, self.phase, self.seed)


def choose(params: Params, run: str, phase: str | None = None, seed: int | None = None) -> Choice:
    """A training of `run`: of its last phase and of the first seed, unless said otherwise.

    Raises:
        UserError: there is no such run, phase or seed.
    """
    if run not in params.runs:
        raise UserError(f"RUN: {run!r} found; allowed: {', '.join(params.runs)}")
    phases = params.phases(run)
    if phase is not None and phase not in phases:
        raise UserError(f"--phase: {phase!r} found; allowed: {', '.join(phases)}")
    if seed is not None and seed not in params.seeds:
        raise UserError(f"--seed: {seed} found; allowed: {', '.join(map(str, params.seeds))}")
    return Choice(run, phase or phases[-1], params.seeds[0] if seed is None else seed)
