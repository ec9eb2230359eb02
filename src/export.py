"""Stage export: turn a fine-tuned net into LiteRT files for phones, and compare their answers with Keras's."""

import sys

from cnnstudy.config.params import read_params
from cnnstudy.training import environment
from cnnstudy.workspace.stage import run_stage


def main(run: str) -> None:
    """Write exports/<run> and metrics/export/runs/<run>.json, then add them to the run's record in MLflow."""
    params = read_params()
    environment.configure(params.compute.threads)
    from cnnstudy.export.run import export_run

    export_run(params, run)
    from cnnstudy.tracking.record import record_run

    record_run(params, run, is_exported=True)


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
