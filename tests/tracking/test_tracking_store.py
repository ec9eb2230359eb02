"""Where the store is, and how it comes to be."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

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


def test_a_relative_database_is_the_repositorys_wherever_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///shared/mine.db?timeout=5")
    assert store.uri() == f"sqlite:///{tmp_path}/shared/mine.db?timeout=5"
    assert store._database() == tmp_path / "shared/mine.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////elsewhere/mine.db")
    assert store.uri() == "sqlite:////elsewhere/mine.db"


def test_a_deleted_experiment_comes_back_with_its_next_record() -> None:
    store.configure()
    with store.lock(10):
        client = store.client()
        first = store.experiment_id(client, "faces")
        client.delete_experiment(first)
        assert store.experiment_id(client, "faces") == first
    assert client.get_experiment(first).lifecycle_stage == "active"


@pytest.mark.parametrize("make", [shutil.move, shutil.copytree])
def test_artifacts_are_read_and_written_where_the_repository_was_moved_or_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path, Path], object]
) -> None:
    before, after = tmp_path / "100 % before", tmp_path / "after"
    (before / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(before)
    store.configure()
    with store.lock(10):
        client = store.client()
        experiment = store.experiment_id(client, "faces")
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "curves", "figure.txt")
    make(before, after)
    monkeypatch.chdir(after)
    with store.lock(10):
        client = store.client()
        assert store.experiment_id(client, "faces") == experiment
    again = client.get_run(run.info.run_id)
    assert again.info.artifact_uri.startswith((after / "mlartifacts/faces").as_uri())
    assert [each.path for each in client.list_artifacts(again.info.run_id)] == ["figure.txt"]
    new = client.create_run(experiment)
    client.log_text(new.info.run_id, "curves", "figure.txt")
    assert (after / f"mlartifacts/faces/{new.info.run_id}/artifacts/figure.txt").read_text() == "curves"


def test_what_the_user_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ENVIRONMENT", {"MLFLOW_A_TEST": "ours", "MLFLOW_ANOTHER_TEST": "ours"})
    monkeypatch.setenv("MLFLOW_A_TEST", "theirs")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    store.configure()
    assert [os.environ[name] for name in store.ENVIRONMENT] == ["theirs", "ours"]


def test_the_lock_is_not_waited_for_longer_than_said() -> None:
    with store.lock(1), pytest.raises(TimeoutError):
        store.lock(0.05).acquire()


def test_a_store_is_there_only_once_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(engine: Any) -> None:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("create table experiments (experiment_id integer)"))
        raise KeyboardInterrupt

    store.configure()
    monkeypatch.setattr("mlflow.store.db.utils._initialize_tables", stop)
    with store.lock(10), pytest.raises(KeyboardInterrupt):
        store.client()
    assert (tmp_path / "mlflow.db.new").exists()
    assert store.is_new()
