"""The MLflow store: one per repository, shared by temporary and queued experiments."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from filelock import FileLock

from cnnstudy.tracking import address
from cnnstudy.workspace import paths

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
# The description of the experiment that MLflow makes with a store.
DEFAULT = "Made by MLflow itself, for runs that name no experiment; cnnstudy records nothing here."
# A training must not wait for its record: one retry, no messages. Variables that are already set are kept.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    # Otherwise a server starts eight processes for jobs on language models, which are not used here.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
# Columns of MLflow's tables that hold absolute addresses of artifacts.
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the address of a database in the repository's root.

    A database's relative path starts there: experiments run in temporary copies of the repository.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{DATABASE}"
    if not given.startswith(SQLITE):
        return given
    name, query = _parts(given)
    return _sqlite_uri(paths.root() / name) + query


def shown() -> str:
    """Return the store's address without its secrets."""
    return address.shown(uri())


def is_server() -> bool:
    """Return whether the store is behind an MLflow server, which then decides where artifacts are stored."""
    return uri().startswith(("http://", "https://"))


def is_new() -> bool:
    """Return whether the store is a database that does not exist yet; its creation takes seconds."""
    database = _database()
    return database is not None and not database.exists()


def lock(timeout: float) -> FileLock:
    """Return a lock that prevents two processes from creating the same thing.

    Waiting longer than `timeout` seconds raises TimeoutError.
    """
    database = _database() or paths.root() / ".mlflow"
    return FileLock(database.with_name(f"{database.name}.lock"), timeout=timeout)


def configure(timeout: str = "3") -> None:
    """Set MLflow's environment, which is read when mlflow is imported; a server has `timeout` seconds to respond."""
    for name, value in {**ENVIRONMENT, "MLFLOW_HTTP_REQUEST_TIMEOUT": timeout}.items():
        os.environ.setdefault(name, value)


def client() -> "MlflowClient":
    """Return a client of the store, which is created if missing. Needs the lock."""
    from mlflow import MlflowClient

    database = _database()
    if database and not database.exists():
        # MLflow can't complete tables that a killed process left half made, so they are made under another name.
        new = database.with_name(f"{database.name}.new")
        new.unlink(missing_ok=True)
        MlflowClient(_sqlite_uri(new)).set_experiment_tag("0", "mlflow.note.content", DEFAULT)
        new.replace(database)
    if database == paths.root() / DATABASE and (paths.root() / ARTIFACTS).is_dir():
        _follow_a_move(database)
    return MlflowClient(uri(), registry_uri=uri())


def experiment_id(client: "MlflowClient", study: str) -> str:
    """Return the id of a study's experiment, which is created if missing. Needs the lock."""
    if found := client.get_experiment_by_name(study):
        if found.lifecycle_stage == "deleted":  # its name stays taken until it is permanently deleted
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    # The location is fixed from now on, so it must not lie in a temporary copy.
    location = None if is_server() else f"{_artifacts()}{study}"
    return str(client.create_experiment(study, artifact_location=location))


def _artifacts() -> str:
    """Return the address below which every experiment of the repository's own store has a folder."""
    return (paths.root() / ARTIFACTS).as_uri() + "/"


def _follow_a_move(database: Path) -> None:
    """Rewrite the addresses of artifacts after the repository was moved or copied; MLflow has no command for it."""
    here = _artifacts()
    experiments = "SELECT DISTINCT substr(artifact_location, 1, length(artifact_location) - length(name))"
    ours = f"FROM experiments WHERE artifact_location LIKE 'file:%/{ARTIFACTS}/' || name"
    with closing(sqlite3.connect(database)) as connection, connection:
        for (there,) in connection.execute(f"{experiments} {ours}").fetchall():
            if there == here:
                continue
            for table, column in LOCATIONS:
                value, condition = f"? || substr({column}, length(?) + 1)", f"substr({column}, 1, length(?)) = ?"
                statement = f"UPDATE {table} SET {column} = {value} WHERE {condition}"
                connection.execute(statement, (here, there, there, there))


def _sqlite_uri(path: Path) -> str:
    return SQLITE + str(path).replace("%", "%25").replace("?", "%3F")


def _database() -> Path | None:
    """Return the store's file if the store is an SQLite database."""
    return Path(_parts(uri())[0]) if uri().startswith(SQLITE) else None


def _parts(given: str) -> tuple[str, str]:
    """Return the path in an SQLite address, and its query with the question mark or ''."""
    path, mark, query = given.removeprefix(SQLITE).partition("?")
    return unquote(path), mark + query
