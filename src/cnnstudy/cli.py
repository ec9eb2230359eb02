"""`cnnstudy`: what is not a stage."""

import argparse
import os
import sys
from pathlib import Path

import yaml

from cnnstudy import paths
from cnnstudy.errors import run_stage
from cnnstudy.params import Params, read_params


def main() -> None:
    """Parse the command line and do what it says; a user's mistake is one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="cnnstudy", description="Rebuild a published CNN study with DVC and MLflow.")
    commands = parser.add_subparsers(dest="command", required=True)
    compose = commands.add_parser("params", help="rewrite params.yaml from conf/, and check it")
    compose.add_argument("overrides", nargs="*", help="as of `dvc exp run -S`, such as model=mobilenet")
    commands.add_parser("track", help="record in MLflow what the workspace holds and MLflow does not")
    ui = commands.add_parser("ui", help="record, then serve the MLflow UI")
    ui.add_argument("--port", default="5000", help="port on localhost (5000)")
    arguments = parser.parse_args()
    actions = {
        "params": lambda: write_params(arguments.overrides),
        "track": track,
        "ui": lambda: serve(arguments.port),
    }
    run_stage(actions[arguments.command])


def write_params(overrides: list[str]) -> None:
    """Compose conf/ into params.yaml, as `dvc exp run` does, and check it."""
    from dvc.utils.hydra import compose_and_dump

    compose_and_dump(str(paths.PARAMS), str(paths.CONF.resolve()), None, "config", "", overrides)
    read_params()


def track() -> None:
    """Record every run and ablation that params.yaml names and the workspace has results of."""
    from cnnstudy.tracking import keys
    from cnnstudy.tracking.record import record_ablation, record_run

    params = read_params()
    lock = yaml.safe_load(paths.LOCK.read_text(encoding="utf-8")) if paths.LOCK.exists() else {}
    for run in _present_runs(params):
        record_run(params, run, keys.key_of_lock(lock, run, params.phases(run)))
    for name in params.ablations:
        if paths.ablation_plots(name).exists() and paths.ablation_metrics(name).exists():
            record_ablation(params, name)


def serve(port: str) -> None:
    """Record, then become `mlflow ui` on localhost."""
    from cnnstudy.tracking import store

    track()
    mlflow = Path(sys.executable).with_name("mlflow")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    command = ["ui", "--backend-store-uri", store.uri(), "--host", "127.0.0.1", "--port", port, "--workers", "1"]
    print(f"MLflow UI: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    os.execv(mlflow, [str(mlflow), *command])


def _present_runs(params: Params) -> list[str]:
    """Runs with metrics, figures and histories."""
    return [
        run
        for run in params.runs
        if paths.run_metrics(run).exists()
        and (paths.run_plots(run) / "figures").exists()
        and all(paths.phase(run, phase).exists() for phase in params.phases(run))
    ]
