"""Contents of an MLflow store in a form that is equal whenever the recorded results are."""

import hashlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

# Where and when something was recorded; the others of MLflow's own say the same in other words.
# A description has links, which have MLflow's ids of runs in them.
PLACE = (
    "git_commit",
    "git_dirty",
    "device",
    "timing",
    "trained.host",
    "trained.hardware",
    "cnnstudy.live",
    "cnnstudy.note",
)
RUNS = "select run_uuid, name, status from runs where lifecycle_stage = 'active'"
SERIES = (
    "select key, value, step from metrics where run_uuid = ? and key not like 'system/%' and key != 'training_seconds' "
    "order by key, step, value"
)
DATA = (
    "select d.name, d.digest from datasets d join inputs i on i.source_id = d.dataset_uuid where i.destination_id = ? "
    "order by d.name, d.digest"
)


def record(root: Path) -> list[dict[str, Any]]:
    """Every run, by name, study and key: parameters, tags, metrics, data, parent, and hashes of its artifacts."""
    with sqlite3.connect(root / "mlflow.db") as connection:
        runs = connection.execute(RUNS).fetchall()
        names = {run: name for run, name, _ in runs}
        found = [_run(connection, root, run, names) | {"name": name, "status": status} for run, name, status in runs]
    return sorted(found, key=lambda run: (run["name"], run["tags"].get("study", ""), run["tags"]["cnnstudy.key"]))


def _run(connection: sqlite3.Connection, root: Path, run: str, names: dict[str, str]) -> dict[str, Any]:
    tags = dict(connection.execute("select key, value from tags where run_uuid = ?", [run]))
    return {
        "tags": {name: value for name, value in tags.items() if name not in PLACE and not name.startswith("mlflow.")},
        "parent": names[tags["mlflow.parentRunId"]] if "mlflow.parentRunId" in tags else "",
        "params": dict(connection.execute("select key, value from params where run_uuid = ?", [run])),
        "series": connection.execute(SERIES, [run]).fetchall(),
        "data": connection.execute(DATA, [run]).fetchall(),
        "artifacts": {
            path.name: hashlib.md5(path.read_bytes()).hexdigest()
            for path in sorted(root.glob(f"mlartifacts/*/{run}/artifacts/**/*"))
            if path.is_file()
        },
    }


def dump(root: Path) -> list[str]:
    """Return everything in the store."""
    with sqlite3.connect(root / "mlflow.db") as connection:
        return list(connection.iterdump())


def lose(root: Path) -> None:
    """Delete the store."""
    (root / "mlflow.db").unlink()
    shutil.rmtree(root / "mlartifacts")
