"""A search on two workers with its trials in PostgreSQL: a worker and the coordinator are killed, no trial is lost."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import team_server
from cluster.toy import Cluster, wait_until
from workspace import Workspace, clone

pytestmark = pytest.mark.slow

RUN, TRIALS = "xray-aug1", 8
SETTINGS = ("profile=smoke", "studies.xray.options.widths=reshi", "studies.xray.epochs=4")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "MLFLOW", "GIT", "PYTEST"))}
    cluster = Cluster(tmp_path / "nodes", own | {"PATH": path})
    try:
        cluster.start_scheduler()
        for name in ("a", "b"):
            cluster.start_worker(name)
        yield cluster
    finally:
        cluster.close()


def test_no_trial_is_lost_or_made_twice(nodes: Cluster, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    workspace = clone(tmp_path / "study")
    workspace.compose(*SETTINGS)
    workspace.select((RUN,))
    workspace.run("dvc", "remote", "add", "lab", str(tmp_path / "remote"))
    with team_server.database() as storage:
        command = ["cnnstudy", "search", RUN, "--trials", str(TRIALS), "--storage", storage, "--cluster", nodes.address,
                   "--remote", "lab"]  # fmt: skip
        log = tmp_path / "search.log"
        with log.open("w") as file:
            process = subprocess.Popen(command, cwd=workspace.path, env=workspace.environment, stdout=file, stderr=file)
        wait_until(
            lambda: log.read_text().count(": accuracy on val") > 1 or process.poll() is not None, "two trials end"
        )
        assert process.poll() is None, log.read_text()
        nodes.kill_inner("a")
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        said = Workspace(workspace.path, workspace.environment).run(*command)
        (name,) = optuna.get_all_study_names(storage)
        study = optuna.load_study(study_name=name, storage=storage)
        ended = [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]
        assert len(ended) == TRIALS
        assert len({tuple(trial.params.items()) for trial in ended}) == TRIALS
        assert not [trial for trial in study.trials if trial.state.name in ("WAITING", "RUNNING")]
    assert f"trials: {TRIALS}, of these pruned: " in said
    assert "train a run with these values" in said
    password = storage.split(":")[2].split("@")[0]
    told = [path for path in (*nodes.root.glob("*.log"), log) if password in path.read_text()]
    assert not told
    assert password not in said
