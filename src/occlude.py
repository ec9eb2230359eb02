"""Stage occlude: test a study's nets with parts of the images hidden."""

import sys

from cnnstudy.config.params import read_params
from cnnstudy.training import environment
from cnnstudy.workspace.stage import run_stage


def main(study: str) -> None:
    """Write metrics/occlusion/<study>.json and plots/occlusion/<study>, then log them to the nets' runs in MLflow."""
    params = read_params()
    if params.studies[study].regions:
        environment.configure(params.compute.threads)
    from cnnstudy.occlusion.run import test_nets

    test_nets(params, study)
    from cnnstudy.tracking.write import record_run

    for run in params.class_runs_of(study):
        record_run(params, run)


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
