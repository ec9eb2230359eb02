"""Trainings shown in the real MLflow while they go on, and reconciled with their record."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tracking.finished_runs import finish

from cnnstudy.config.schema import Params
from cnnstudy.tracking import keys, live, store, upsert, write
from cnnstudy.workspace import paths

# Of SQLAlchemy, about MLflow's own tables.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")]

NAME = "alexnet"
# Seconds that a test waits for another process, which gives way to all others.
PATIENCE = 400.0


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_ROOT", str(folder))
        store.configure()
        with store.lock(PATIENCE):
            store.client()
    return folder / "mlflow.db"


@pytest.fixture
def params(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A workspace with a store, in which trainings are shown from their first epoch, however slow the machine."""
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(empty.read_bytes())
    monkeypatch.setattr(live, "WAIT", PATIENCE)
    return shown_at_once(finish((NAME,)))


def shown_at_once(params: Params) -> Params:
    return params.model_copy(update={"tracking": params.tracking.model_copy(update={"live_after": 0.0})})


def later(params: Params) -> Params:
    """Parameters with which trainings are not shown by themselves."""
    return params.model_copy(update={"tracking": params.tracking.model_copy(update={"live_after": 3600.0})})


def rows(phase: str, seed: int = 0) -> list[live.EpochRow]:
    """Return the rows of the workspace's history."""
    table = pd.read_csv(paths.history(paths.seed(NAME, phase, seed)))
    found: list[live.EpochRow] = table.to_dict("records")
    return found


def train(params: Params, phase: str, epochs: list[live.EpochRow], seed: int = 0) -> None:
    with live.reporting(params, NAME, phase) as report:
        for row in epochs:
            report(seed, row)


def client() -> MlflowClient:
    with store.lock(PATIENCE):
        return store.client()


def runs(query: str = f"tags.run = '{NAME}'") -> list[Run]:
    its = client()
    return list(its.search_runs([each.experiment_id for each in its.search_experiments()], query))


def only(query: str = f"tags.run = '{NAME}'") -> Run:
    (run,) = runs(query)
    return run


def history(run: Run, metric: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client().get_metric_history(run.info.run_id, metric)]


def test_epochs_are_there_before_the_run_is_evaluated_and_only_once_after(params: Params) -> None:
    for phase in ("base", "tuned"):
        train(params, phase, rows(phase))
    shown = only()
    assert shown.info.status == "FINISHED"
    assert shown.data.tags[upsert.KEY] == keys.planned_key(NAME, params)
    assert upsert.MODEL not in shown.data.tags
    assert shown.data.params["training.schedule"] == "cosine"
    write.record_run(params, NAME)
    whole = only()
    assert whole.info.run_id == shown.info.run_id
    assert whole.data.tags[upsert.KEY] == shown.data.tags[upsert.KEY]
    assert {upsert.MODEL, upsert.RECORD} <= set(whole.data.tags)
    assert upsert.LIVE not in whole.data.tags
    assert whole.data.tags["timing"] == "measured"
    for phase in ("base", "tuned"):
        for name in ("loss", "val_accuracy"):
            expected = [(row["epoch"], row[name]) for row in rows(phase)]
            assert history(shown, f"{phase}/{name}") == history(whole, f"{phase}/{name}") == expected


def test_epochs_appear_while_the_training_goes_on(params: Params) -> None:
    with live.reporting(params, NAME, "base") as report:
        for row in rows("base")[:3]:
            report(0, row)
        deadline = time.monotonic() + PATIENCE
        while not (found := runs()) or len(history(found[0], "base/loss")) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert found[0].info.status == "RUNNING"
        while not any(name.startswith("system/") for name in only().data.metrics):
            assert time.monotonic() < deadline
            time.sleep(0.5)
    assert only().info.status == "FINISHED"


def test_several_seeds_have_a_run_each_below_that_of_all(params: Params) -> None:
    params = shown_at_once(finish((NAME,), seeds=(0, 7)))
    with live.reporting(params, NAME, "base") as report:
        for seed in (0, 7):
            for row in rows("base", seed):
                report(seed, row)
    (run,) = runs("tags.kind = 'net'")
    shown = {each.data.params["seed"]: each for each in runs("tags.kind = 'seed'")}
    for _ in range(2):
        for seed in (0, 7):
            expected = [(row["epoch"], row["loss"]) for row in rows("base", seed)]
            assert history(shown[str(seed)], "base/loss") == expected
        write.record_run(params, NAME)
    assert {each.info.run_id for each in runs("tags.kind = 'seed'")} == {each.info.run_id for each in shown.values()}
    assert {each.data.tags["mlflow.parentRunId"] for each in shown.values()} == {run.info.run_id}
    assert len(history(only("tags.kind = 'net'"), "base/loss")) == 6


TRAINING = """
import os, signal, sys
from cnnstudy.config.params import read_params
from cnnstudy.tracking import live
sys.path[:0] = sys.argv[1:2]
from tracking.test_tracking_live import NAME, rows, shown_at_once
with live.reporting(shown_at_once(read_params()), NAME, "base") as report:
    for row in rows("base")[:3]:
        report(0, row)
    if sys.argv[2] == "together":
        print(report.process.pid, flush=True)
        input()
    os.kill(os.getpid(), signal.SIGKILL)
"""


ANOTHER = """
import sys
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
from cnnstudy.tracking import live
writer = live.Writer(SimpleNamespace(tracking=SimpleNamespace(live_after=0.0)), "alexnet", "base", 0.0)
writer(0, {"epoch": 1})
writer.process.communicate()
"""


def test_the_writer_runs_the_code_of_the_training_which_may_be_another_checkout(tmp_path: Path) -> None:
    copy = tmp_path / "checkout" / "src"
    shutil.copytree(Path(live.__file__).parents[1], copy / "cnnstudy", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "cnnstudy/tracking/live.py").write_text(
        Path(live.__file__)
        .read_text()
        .replace("    main(sys.argv[1]", "    print(__file__, flush=True)\n    main(sys.argv[1]")
    )
    command = [sys.executable, "-c", ANOTHER, str(copy)]
    said = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False).stdout
    assert said.splitlines() == [str(copy / "cnnstudy/tracking/live.py")]


def start_training(how: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", TRAINING, str(Path(__file__).parents[1]), how]
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_killed_training_is_shown_as_such_and_goes_on_in_the_same_run(params: Params) -> None:
    with start_training("alone") as training:
        training.wait()
    deadline = time.monotonic() + PATIENCE
    while not (found := runs()) or found[0].info.status != "KILLED":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert [step for step, _ in history(found[0], "base/loss")] == [1, 2, 3]
    train(params, "base", rows("base")[1:])
    assert only().info.run_id == found[0].info.run_id
    assert history(only(), "base/loss") == [(row["epoch"], row["loss"]) for row in rows("base")]


def test_a_killed_training_that_came_to_its_end_unseen_has_finished(params: Params) -> None:
    logger = live.Logger(params, NAME, "base", 0.0)
    logger.log([(0, row) for row in rows("base")[:2]])
    logger.end("KILLED")
    assert only().info.status == "KILLED"
    write.record_run(params, NAME)
    assert (only().info.status, upsert.MODEL in only().data.tags) == ("FINISHED", True)


def test_more_epochs_than_a_pipe_holds_arrive_whole(params: Params, tmp_path: Path) -> None:
    script = "import sys, time; time.sleep(0.5); open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"
    writer = live.Writer(later(params), NAME, "base", 0.0)
    writer.start = 0.0
    writer.command = [sys.executable, "-c", script, str(tmp_path / "arrived")]
    for epoch in range(3000):
        writer(0, {"epoch": epoch, "loss": 1 / 3})
    writer.close(is_whole=True)
    *messages, last = (json.loads(line) for line in (tmp_path / "arrived").read_text().splitlines())
    assert last is None
    assert [row["epoch"] for message in messages for _, row in message] == list(range(3000))


def test_a_training_killed_with_its_writer_is_ended_by_the_next_track(params: Params) -> None:
    with start_training("together") as training:
        assert training.stdout
        writer = psutil.Process(int(training.stdout.readline()))
        deadline = time.monotonic() + PATIENCE
        while not runs():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        write.tidy_up()
        assert only().info.status == "RUNNING"
        for process in (writer, psutil.Process(training.pid)):
            process.send_signal(signal.SIGKILL)
        training.wait()
        psutil.wait_procs([writer])
    write.tidy_up()
    assert only().info.status == "KILLED"


def test_a_live_run_of_another_machine_is_left_alone(params: Params) -> None:
    train(params, "base", rows("base"))
    client().set_tag(only().info.run_id, upsert.LIVE, "elsewhere 1@1.00")
    write.record_run(params, NAME)
    assert sorted(upsert.LIVE in run.data.tags for run in runs()) == [False, True]


def test_the_same_training_again_is_shown_and_leaves_no_second_record(params: Params) -> None:
    write.record_run(params, NAME)
    first = only()
    train(params, "base", rows("base"))
    assert len(runs()) == 2
    assert client().get_run(first.info.run_id).to_dictionary() == first.to_dictionary()
    write.record_run(params, NAME)
    assert only().info.run_id == first.info.run_id


def test_a_live_run_of_other_values_is_left_alone(params: Params) -> None:
    train(params, "base", [row | {"loss": 9.0} for row in rows("base")])
    write.record_run(params, NAME)
    assert sorted(upsert.LIVE in run.data.tags for run in runs()) == [False, True]


def test_a_training_is_shown_before_its_first_epoch_has_ended(params: Params) -> None:
    with live.reporting(params, NAME, "base"):
        deadline = time.monotonic() + PATIENCE
        while not runs():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert only().info.status == "FINISHED"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_does_not_answer_holds_no_training_up(
    params: Params, silent_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent_server)
    monkeypatch.setattr(live, "WAIT", 1.0)
    row = rows("base")[0]
    start = time.monotonic()
    with ExitStack() as stack:
        report = stack.enter_context(live.reporting(params, NAME, "base"))
        for epoch in range(3000):  # more than a pipe holds
            report(0, row | {"epoch": epoch})
    assert time.monotonic() - start < 5


def test_a_server_that_is_down_costs_one_warning(
    params: Params, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:1")
    train(params, "base", rows("base"))
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"warning: {NAME}: not shown live in MLflow (")
    assert "secret" not in line


def test_a_short_training_starts_no_process(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.subprocess, "Popen", None)
    train(later(params), "base", rows("base"))
    assert runs() == []
