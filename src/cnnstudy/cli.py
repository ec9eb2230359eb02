"""`cnnstudy`: what is not a stage."""

import argparse
import os
import sys
from pathlib import Path

from cnnstudy.errors import UserError
from cnnstudy.process import reported_errors


def main() -> None:
    """Parse the command line and do what it says; a user's mistake is one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="cnnstudy", description="Rebuild a published CNN study with DVC and MLflow.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("params", help="compose params.yaml from conf/, and check it")
    command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as of `dvc exp run -S`: model=mobilenet")
    command.set_defaults(action=lambda arguments: write_params(arguments.overrides))
    command = commands.add_parser("check", help="check params.yaml, and mend what a killed `dvc` left torn")
    command.set_defaults(action=lambda arguments: check())
    command = commands.add_parser("repro", help="`dvc repro`, several stages at once")
    command.add_argument("targets", nargs="*", metavar="STAGE", help="as of `dvc repro`; all if none is given")
    command.add_argument("-j", "--jobs", type=int, default=0, help="as many as cores and memory allow if not given")
    command.set_defaults(action=lambda arguments: rebuild(arguments.targets, arguments.jobs))
    command = commands.add_parser("search", help="look for better hyperparameters of a run, with Optuna")
    command.add_argument("run", metavar="RUN", help="a key of runs in params.yaml")
    command.add_argument("--trials", type=int, required=True, help="in all, those of earlier calls included")
    command.add_argument("--space", type=Path, help="what is tried; conf/search/<study>.yaml if not given")
    command.add_argument("--seed", type=int, default=0, help="of the choices, not of the trainings; 0 if not given")
    command.add_argument("--storage", help="the address of a database; optuna.db in the root if not given")
    command.set_defaults(action=search)
    command = commands.add_parser("doctor", help="what stands between this machine and the result")
    command.set_defaults(action=lambda arguments: doctor())
    command = commands.add_parser("track", help="record in MLflow what the workspace holds and MLflow does not")
    command.set_defaults(action=lambda arguments: track())
    command = commands.add_parser("ui", help="record, then serve the MLflow UI on this machine")
    command.add_argument("--port", type=int, default=5000, help="5000 if not given")
    command.set_defaults(action=lambda arguments: serve(arguments.port))
    arguments = parser.parse_args()
    with reported_errors():
        arguments.action(arguments)


def write_params(overrides: list[str]) -> None:
    """Compose conf/ into params.yaml, as `dvc exp run` does, and check it.

    Raises:
        UserError: conf/ has no such group, choice or key, or params.yaml holds a value that is not allowed.
    """
    from dvc.utils.hydra import compose_and_dump
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from cnnstudy import paths
    from cnnstudy.params import read_params

    if not paths.CONF.is_dir():
        raise UserError(f"{paths.CONF}: no such folder; run cnnstudy in the repository's root")
    try:
        compose_and_dump(str(paths.PARAMS), str(paths.CONF.resolve()), None, "config", "", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        cause = str(error).partition("Config search path")[0]
        raise UserError(f"{paths.CONF}: {' '.join(cause.split())}") from None
    read_params()


def check() -> None:
    """Check params.yaml, which DVC reads before its stage `check` can, and mend DVC's own files.

    Raises:
        UserError: params.yaml holds a value that is not allowed.
    """
    from cnnstudy.params import read_params
    from cnnstudy.recovery import mend

    read_params()
    for line in mend():
        print(line, flush=True)


def rebuild(targets: list[str], jobs: int) -> None:
    """Check, then bring stages up to date.

    Raises:
        UserError: params.yaml holds a value that is not allowed.
        SystemExit: with code 1, where a stage failed.
    """
    from cnnstudy.params import read_params
    from cnnstudy.repro import default_jobs, repro

    check()
    if not repro(targets, jobs if jobs > 0 else default_jobs(read_params())):
        raise SystemExit(1)


def search(arguments: argparse.Namespace) -> None:
    """Bring a run's data up to date, make the trials that are missing, and print the best and how to apply it.

    Raises:
        UserError: a wrong argument, space or parameter, or a database that can't be opened.
        SystemExit: with code 1, where a stage failed.
    """
    from cnnstudy.params import read_params
    from cnnstudy.search import start

    job = start.checked(read_params(), arguments)
    rebuild([f"augment@{job.params.runs[job.run].plan}"], 0)
    start.search(job, arguments.trials)


def doctor() -> None:
    """Print what is right and what to do, a line a thing.

    Raises:
        SystemExit: with code 1, where something must be done.
    """
    from cnnstudy.doctor import Finding, examine

    found: list[Finding] = []
    for finding in examine():
        print(finding, flush=True)
        found.append(finding)
    if any(finding.severity == "fix" for finding in found):
        raise SystemExit(1)


def track() -> None:
    """Record every run and ablation that params.yaml names and the workspace has the files of.

    Raises:
        SystemExit: with code 1, where the store could not take all of them.
    """
    stored, total = _record_all()
    if stored < total:
        raise SystemExit(1)


def serve(port: int) -> None:
    """Record, then become `mlflow ui`.

    Raises:
        UserError: the store is behind a server, which has a UI of its own.
    """
    from cnnstudy.tracking import store

    if store.is_server():
        raise UserError(f"MLFLOW_TRACKING_URI: {store.uri()} is a server; open it in a browser, or unset the variable")
    _record_all()
    store.configure()
    print("MLflow UI (Ctrl-C ends it):")
    with store.lock(timeout=60):
        experiments = store.client().search_experiments(order_by=["name"])
    for each in experiments:
        if each.name != "Default":
            # Without the query, and from its list of experiments, the UI opens on its pages for language models.
            page = f"experiments/{each.experiment_id}/runs?workflowType=machine_learning"
            print(f"  {each.name}: http://127.0.0.1:{port}/#/{page}", flush=True)
    mlflow = Path(sys.executable).with_name("mlflow")
    options = {"backend-store-uri": store.uri(), "host": "127.0.0.1", "port": str(port), "workers": "1"}
    os.execv(mlflow, [str(mlflow), "ui", *(f"--{name}={value}" for name, value in options.items())])


def _record_all() -> tuple[int, int]:
    import yaml

    from cnnstudy import paths
    from cnnstudy.params import read_params
    from cnnstudy.tracking.record import record_all

    lock = yaml.safe_load(paths.LOCK.read_text(encoding="utf-8")) if paths.LOCK.exists() else {}
    stored, total = record_all(read_params(), lock)
    print(f"MLflow has {stored} of {total} runs and ablations in the workspace", flush=True)
    return stored, total
