"""Stage external: test a study's nets on images from elsewhere."""

import sys

from cnnstudy.config.params import read_params
from cnnstudy.training import environment
from cnnstudy.workspace.stage import run_stage


def main(name: str) -> None:
    """Write metrics/external/<set>.json and plots/external/<set>, then log them to the nets' runs in MLflow."""
    params = read_params()
    environment.configure(params.compute.threads)
    from cnnstudy.external.run import test_nets

    test_nets(params, name)
    from cnnstudy.tracking.write import record_run

    for run in params.class_runs_of(params.external[name].study):
        record_run(params, run)


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
