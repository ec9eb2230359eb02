"""Training of one seed apart from the others: a worker runs it, and hands the result to the stage of all seeds."""

import os
import sys
from pathlib import Path

from cnnstudy.config.params import read_params
from cnnstudy.training import environment
from cnnstudy.workspace.stage import end_with, name_user, reported_errors


def main(stage: str, seed: int) -> None:
    """Train a seed of the stage `train@<run>` or `finetune@<run>`, and move its files to `checkpoint.SEEDS`."""
    params = read_params()
    environment.configure(params.compute.threads)
    from cnnstudy.tracking import live
    from cnnstudy.training import checkpoint, fit

    name, _, run = stage.partition("@")
    phase = fit.tuned(params, run) if name == "finetune" else fit.base(params, run)
    with live.showing(params, run, phase.name) as report:
        fit.train_apart(params, run, phase, seed, Path(os.environ[checkpoint.SEEDS]), report)


if __name__ == "__main__":
    _, STAGE, SEED, PARENT = sys.argv
    end_with(int(PARENT))
    name_user()
    with reported_errors():
        main(STAGE, int(SEED))
