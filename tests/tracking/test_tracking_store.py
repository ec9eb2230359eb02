"""Where the store is, and how it comes to be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnstudy.tracking import store

# Of SQLAlchemy, about MLflow's own tables.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_store_is_in_the_root_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "src/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "src/deep")
    assert store.uri() == f"sqlite:///{tmp_path}/mlflow.db"


def test_an_experiment_in_a_temporary_copy_uses_the_store_it_was_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copy/.dvc").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert store.uri() == f"sqlite:///{tmp_path}/mlflow.db"


def test_the_environment_may_name_another_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    assert store.uri() == "https://mlflow.example.org"
    assert store.is_server()


def test_what_the_user_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ENVIRONMENT", {"MLFLOW_A_TEST": "ours", "MLFLOW_ANOTHER_TEST": "ours"})
    monkeypatch.setenv("MLFLOW_A_TEST", "theirs")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    store.configure()
    assert [os.environ[name] for name in store.ENVIRONMENT] == ["theirs", "ours"]


def test_the_lock_is_not_waited_for_longer_than_said() -> None:
    with store.lock(1), pytest.raises(TimeoutError):
        store.lock(0.05).acquire()


CREATE = """
from cnnstudy.tracking import store
store.configure()
import mlflow
print("ready", flush=True)
input()
with store.lock(60):
    client = store.client()
    print(store.experiment_id(client, "faces"))
"""


def test_processes_at_once_on_no_store_make_one_in_a_root_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "50% of a #1 'ünusual' name?"
    (root / ".dvc").mkdir(parents=True)
    # As a killed process would leave it.
    (root / "mlflow.db.new").write_bytes(b"half a database")
    command, environment = [sys.executable, "-c", CREATE], {"PYTHONPATH": str(Path(store.__file__).parents[2])}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    processes = [subprocess.Popen(command, cwd=root, env=environment, text=True, **pipes) for _ in range(2)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate() for process in processes] == [("1\n", "")] * 2

    monkeypatch.chdir(root)
    assert not store.is_new()
    with store.lock(10):
        client = store.client()
        run = client.create_run(store.experiment_id(client, "faces"))
    client.log_text(run.info.run_id, "shown", "note.txt")
    assert sorted(path.name for path in root.iterdir()) == [".dvc", "mlartifacts", "mlflow.db", "mlflow.db.lock"]
    assert (root / "mlartifacts/faces" / run.info.run_id / "artifacts/note.txt").read_text() == "shown"
