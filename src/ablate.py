"""Stage ablate: compare runs that differ in one setting, and log the comparison."""

import sys

from cnnstudy.config.params import read_params
from cnnstudy.evaluation.ablation import write_ablation
from cnnstudy.workspace.stage import run_stage


def main(name: str) -> None:
    """Write metrics/ablations/<name>.json and plots/ablations/<name>, then log them to MLflow."""
    params = read_params()
    write_ablation(params, name)
    from cnnstudy.tracking.write import record_ablation

    record_ablation(params, name)


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
