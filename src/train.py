"""Stage train: train the base phase of a run."""

import sys

from cnnstudy.config.params import read_params
from cnnstudy.training import environment
from cnnstudy.workspace.stage import run_stage


def main(run: str) -> None:
    """Train the seeds of a run in order, and write each seed's weights, history and predictions."""
    params = read_params()
    environment.configure(params.compute.threads)
    from cnnstudy.tracking import live
    from cnnstudy.training import fit

    with live.reporting(params, run, "base") as report:
        fit.train_phase(params, run, fit.base(params, run), report)


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
