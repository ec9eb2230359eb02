"""Where the record lives: one MLflow store per repository, shared by its temporary and queued experiments."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Seconds; a record that must wait longer is left to `cnnstudy track`.
LOCK_TIMEOUT = 30


def root() -> Path:
    """The repository's root: DVC names the one that an experiment was started in, not the copy that it runs in."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def uri() -> str:
    """MLFLOW_TRACKING_URI, or a database in the repository's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root() / 'mlflow.db'}"


@contextmanager
def opened() -> Iterator["MlflowClient"]:
    """A client of the store, alone with it: several processes that create or fill one at once would break or double it."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from mlflow import MlflowClient

    with FileLock(root() / ".mlflow.lock", timeout=LOCK_TIMEOUT):
        yield MlflowClient(uri(), registry_uri=uri())


def experiment_id(client: "MlflowClient", study: str) -> str:
    """A study's experiment, made where it is missing."""
    found = client.get_experiment_by_name(study)
    if found:
        return str(found.experiment_id)
    # Fixed when an experiment is made, so it must not lie in a temporary copy. A server has its own place.
    location = None if uri().startswith("http") else (root() / "mlartifacts" / study).as_uri()
    return str(client.create_experiment(study, artifact_location=location))
