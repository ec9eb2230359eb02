"""`cnnstudy track` and `cnnstudy ui`: record all results, and serve MLflow's UI."""

import os
import socket
import sys
from pathlib import Path

from cnnstudy.errors import UserError
from cnnstudy.workspace.git import repository_problem
from cnnstudy.workspace.terminal import say


def track() -> None:
    """Record every run, ablation and page of HEAD, of every experiment of `dvc exp list`, and of the workspace.

    Raises:
        SystemExit: with code 1, where the store could not take all of them.
    """
    stored, total = _record_all()
    if problem := repository_problem():
        say(f"warning: {problem}; without it only the workspace is recorded, and no commit", sys.stderr)
    if stored < total:
        raise SystemExit(1)


def serve(port: int) -> None:
    """Record the workspace, then replace this process with `mlflow ui`.

    Raises:
        UserError: the store is behind a server, which has a UI of its own, or can't be read, or the port is taken.
    """
    require_free(port)
    from cnnstudy.tracking import store, views
    from cnnstudy.tracking.write import cause

    if store.is_server():
        remedy = "open it in a browser, or unset the variable"
        raise UserError(f"MLFLOW_TRACKING_URI: {store.shown()} is a server; {remedy}")
    _record_all()
    store.configure()
    say("MLflow UI (Ctrl-C ends it):")
    try:
        with store.lock(timeout=60):
            experiments = store.client().search_experiments(order_by=["name"])
    except Exception as error:  # whatever the store raises
        raise UserError(f"{store.shown()}: {cause(error)}; allowed: a database of MLflow's") from None
    for each in experiments:
        if each.name != "Default":
            for name, page in views.links(each).items():
                say(f"  {each.name}, {name}: http://127.0.0.1:{port}/{page}")
    mlflow = Path(sys.executable).with_name("mlflow")
    options = {"host": "127.0.0.1", "port": str(port), "workers": "1"}
    # Not an option: every user of the machine can read a process's options, and the address may have a password in it.
    environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": store.uri()}
    os.execve(mlflow, [str(mlflow), "ui", *(f"--{name}={value}" for name, value in options.items())], environment)


def require_free(port: int) -> None:
    """Refuse a port of this machine that is taken.

    Raises:
        UserError: it is taken, or not a valid port.
    """
    if not 1 <= port <= 65535:
        raise UserError(f"--port: {port} found; allowed: a port of this machine that is free, 1 to 65535")
    with socket.socket() as one:
        # As servers do; otherwise the port of one that has just ended would seem taken.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            raise UserError(f"--port: {port} found; allowed: a port of this machine that is free") from None


def _record_all() -> tuple[int, int]:
    from cnnstudy.tracking.revisions import record_everything

    stored, total = record_everything()
    what = "runs, ablations and pages of HEAD, its experiments and the workspace"
    say(f"MLflow has {stored} of {total} {what}")
    return stored, total
