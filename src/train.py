"""Stage train: train the base phase of a run."""

import sys

from cnnstudy.params import read_params
from cnnstudy.process import run_stage
from cnnstudy.training import environment


def main(run: str) -> None:
    """Train the seeds of `run` in order; per seed write weights, history and predictions."""
    params = read_params()
    environment.configure(params.compute.threads)
    from cnnstudy.training import phases

    phases.train_phase(params, run, phases.base(params, run))


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
