"""Stage train: train the base phase of a run."""

import sys

from cnnstudy.config.params import read_params
from cnnstudy.training import environment
from cnnstudy.workspace.stage import run_stage


def main(run: str) -> None:
    """Train the seeds of `run` in order; per seed write weights, history and predictions."""
    params = read_params()
    environment.configure(params.compute.threads)
    from cnnstudy.tracking import live
    from cnnstudy.training import phases

    with live.reporting(params, run, "base") as report:
        phases.train_phase(params, run, phases.base(params, run), report)


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
