"""Stage evaluate: compute metrics, tables and figures from a run's predictions, and log the run."""

import sys

from cnnstudy.config.params import read_params
from cnnstudy.evaluation.run import evaluate_run
from cnnstudy.workspace.stage import run_stage


def main(run: str) -> None:
    """Write metrics/runs/<run>.json and plots/runs/<run>, then log them to MLflow."""
    params = read_params()
    evaluate_run(params, run)
    from cnnstudy.tracking.write import record_run

    record_run(params, run)


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
