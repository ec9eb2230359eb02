"""A real MLflow server, and what a stage does when it fails: one warning, no long wait, and a full record later."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tracking.finished_runs import finish

from cnnstudy.config.schema import Params
from cnnstudy.tracking import build, keys, live, store, upsert, write
from cnnstudy.workspace import paths

# Of SQLAlchemy, about MLflow's own tables.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")]

NAME = "alexnet"
# Seconds that a store may cost a stage.
ALLOWED = 10


@dataclass(frozen=True)
class Server:
    """An MLflow server with its folder and its process."""

    folder: Path
    address: str
    process: psutil.Process

    @property
    def database(self) -> Path:
        return self.folder / "mlflow.db"

    def processes(self) -> list[psutil.Process]:
        """The server's process and its workers."""
        return [self.process, *self.process.children(recursive=True)]


Failure = Callable[[Server], AbstractContextManager[None]]


def is_up(address: str) -> bool:
    with contextlib.suppress(OSError, urllib.error.URLError):
        return urllib.request.urlopen(f"{address}/health", timeout=2).status == 200
    return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on an SQLite database that serves artifacts too."""
    folder = tmp_path_factory.mktemp("server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {"backend-store-uri": f"sqlite:///{folder}/mlflow.db", "artifacts-destination": str(folder / "artifacts")}
    options |= {"host": "127.0.0.1", "port": str(port), "workers": "1"}
    command = [str(Path(sys.executable).with_name("mlflow")), "server", *(f"--{k}={v}" for k, v in options.items())]
    with (folder / "log").open("wb") as log:
        environment = os.environ | store.ENVIRONMENT
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not is_up(address := f"http://127.0.0.1:{port}"):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[-3000:]  # noqa: PT018
            time.sleep(0.2)
        yield Server(folder, address, psutil.Process(process.pid))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def params(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A workspace with one run that no other test has."""
    for name in ("DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.chdir(tmp_path)
    params = finish((NAME,))
    (paths.phase(NAME, "base") / "own").write_text(tmp_path.name)
    return params


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    for process in server.processes():
        process.suspend()
    try:
        yield
    finally:
        for process in server.processes():
            process.resume()


@contextmanager
def with_errors(server: Server) -> Iterator[None]:
    """A database that takes no new run and changes none."""
    events = "insert", "update"
    with sqlite3.connect(server.database) as connection:
        for event in events:
            refusal = "begin select raise(abort, 'refused'); end"
            connection.execute(f"create trigger refuses_{event} before {event} on runs {refusal}")
    try:
        yield
    finally:
        with sqlite3.connect(server.database) as connection:
            for event in events:
                connection.execute(f"drop trigger refuses_{event}")


@contextmanager
def with_full_disk(server: Server) -> Iterator[None]:
    """Limit the size of the server's files, as a full disk does."""

    def limit(soft: int) -> None:
        for each in server.processes():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(each.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    limit(0)
    try:
        yield
    finally:
        limit(resource.RLIM_INFINITY)


@contextmanager
def locked(server: Server) -> Iterator[None]:
    """A database that another process writes to without end."""
    with contextlib.closing(sqlite3.connect(server.database, isolation_level=None)) as connection:
        connection.execute("begin exclusive")
        yield


@contextmanager
def gone(server: Server) -> Iterator[None]:
    """An address at which no server listens."""
    os.environ["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:1"
    try:
        yield
    finally:
        os.environ["MLFLOW_TRACKING_URI"] = server.address


def record_all(params: Params) -> tuple[int, int]:
    tally = write.Tally()
    write.record_all(write.records(params, write.RecordSource(build.environment_tags(), has_models=True)), tally)
    return tally.stored, tally.total


def found(server: Server) -> list[Run]:
    """The trainings in the server's record that have a key."""
    client = MlflowClient(server.address)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, f"tags.kind = 'net' and tags.`{upsert.MODEL}` != ''"))


def test_a_server_has_the_record_and_serves_its_artifacts(server: Server, params: Params, tmp_path: Path) -> None:
    write.record_run(params, NAME)
    client = MlflowClient(server.address)
    (run,) = found(server)
    assert run.info.artifact_uri
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    shutil.rmtree(tmp_path / "plots")
    got = client.download_artifacts(run.info.run_id, "base/base-curves.png", str(tmp_path))
    assert Path(got).read_text() == "alexnet base curves.png"


@pytest.mark.parametrize("failure", [gone, stopped, with_errors, with_full_disk, locked])
def test_a_server_that_fails_costs_a_stage_a_warning_and_its_record_comes_later(
    failure: Failure, server: Server, params: Params, capfd: pytest.CaptureFixture[str]
) -> None:
    before = len(found(server))
    shown = params.model_copy(update={"tracking": params.tracking.model_copy(update={"live_after": 0.0})})
    with failure(server):
        start = time.monotonic()
        with live.reporting(shown, NAME, "base") as report:
            for epoch in range(1, 4):
                report(0, {"epoch": epoch, "loss": 1.0})
        assert time.monotonic() - start < ALLOWED
        warnings = capfd.readouterr().err.splitlines()
        assert len(warnings) <= 1  # none where the training ended first
        assert all(line.startswith(f"warning: {NAME}: not shown live in MLflow (") for line in warnings)
        start = time.monotonic()
        write.record_run(params, NAME)
        assert time.monotonic() - start < ALLOWED + 1
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith(f"warning: {NAME}: not recorded in MLflow (")
    assert record_all(params) == (2, 2)
    runs = found(server)
    assert len(runs) == before + 1
    assert all(upsert.RECORD in run.data.tags for run in runs)
    assert capfd.readouterr().err == ""


def test_of_what_several_make_at_once_the_first_stays(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes look for the run before either has created it."""
    write.record_run(params, NAME)
    its = keys.identity(NAME, params)

    def runs() -> list[Run]:
        client = store.client()
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(
            client.search_runs(
                experiments, f"tags.`{upsert.KEY}` = '{its.key}' and tags.`{upsert.MODEL}` = '{its.model}'"
            )
        )

    before = {run.info.run_id for run in runs()}
    assert len(before) == 1
    looks = iter([lambda *_: None, upsert._find])
    monkeypatch.setattr(upsert, "_find", lambda *arguments: next(looks)(*arguments))
    write.record_run(params, NAME)
    assert {run.info.run_id for run in runs()} == before
