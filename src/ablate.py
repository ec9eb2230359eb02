"""Stage ablate: set runs that differ in one setting side by side, and log the curve."""

import sys

from cnnstudy.config.params import read_params
from cnnstudy.evaluation.ablation import write_ablation
from cnnstudy.workspace.stage import run_stage


def main(name: str) -> None:
    """Write metrics/ablations/<name>.json and plots/ablations/<name>, then log them to MLflow."""
    params = read_params()
    write_ablation(params, name)
    from cnnstudy.tracking.record import record_ablation

    record_ablation(params, name)


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
