"""Stage export: convert a run's net to LiteRT files, and compare their predictions with Keras's."""

import sys

from cnnstudy.config.params import read_params
from cnnstudy.training import environment
from cnnstudy.workspace.stage import run_stage


def main(run: str) -> None:
    """Write exports/<run> and metrics/export/runs/<run>.json, then log them to the run in MLflow."""
    params = read_params()
    environment.configure(params.compute.threads)
    from cnnstudy.export.run import export_run

    export_run(params, run)
    from cnnstudy.tracking.write import record_run

    record_run(params, run, is_exported=True)


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
