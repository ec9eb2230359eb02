"""Experiments side by side: all of them end, and none of their results is another's."""

import json
import shutil
import sqlite3
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import stored
from workspace import PATIENCE, Workspace, clone

from cnnstudy.workspace import paths

pytestmark = pytest.mark.slow

# Of one net, its base phase.
SMALL = ("-S", "model=alexnet", "-S", "profile=smoke", "-S", "~finetuned.alexnet", "-S", "~exported.alexnet")
# A setting apart for each experiment, which its history and its record must show.
EPOCHS = {"one": 1, "two": 2}


@pytest.fixture
def workspace(tmp_path: Path, data_cache: Path) -> Workspace:
    return clone(tmp_path, data_cache)


def side_by_side(commands: list[tuple[Workspace, tuple[str, ...]]]) -> None:
    """Start commands at once; each must succeed."""
    running = [
        subprocess.Popen(
            command, cwd=workspace.path, env=workspace.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for workspace, command in commands
    ]  # fmt: skip
    outputs = [one.communicate(timeout=PATIENCE)[0] for one in running]
    assert all(one.returncode == 0 for one in running), "\n\n".join(output[-3000:] for output in outputs)


def settings(store: Path) -> dict[str, tuple[str, str]]:
    """(tag dvc_experiment, epochs) of each training run in the store, by its key."""
    query = """
        select k.value, coalesce(e.value, ''), p.value from runs r
        join tags k on k.run_uuid = r.run_uuid and k.key = 'cnnstudy.key'
        join tags n on n.run_uuid = r.run_uuid and n.key = 'run'
        left join tags e on e.run_uuid = r.run_uuid and e.key = 'dvc_experiment'
        join params p on p.run_uuid = r.run_uuid and p.key = 'epochs'
    """
    with sqlite3.connect(store) as connection:
        return {key: (experiment, epochs) for key, experiment, epochs in connection.execute(query)}


def experiments(workspace: Workspace) -> dict[str, int]:
    """The epochs of each experiment that ended well, as its parameters and its summary are in git."""
    shown = json.loads(workspace.run("dvc", "exp", "show", "--json"))
    found = [run["revs"][0] for commit in shown for run in commit["experiments"] or []]
    assert all(run["error"] is None for run in found)
    assert all(set(run["data"]["metrics"][str(paths.SUMMARY)]["data"]) == {"alexnet"} for run in found)
    return {run["name"]: run["data"]["params"]["params.yaml"]["data"]["studies"]["faces"]["epochs"] for run in found}


def test_two_temporary_experiments_at_once(workspace: Workspace) -> None:
    side_by_side(
        [
            (workspace, ("dvc", "exp", "run", "--temp", "--name", name, *SMALL, "-S", f"studies.faces.epochs={epochs}"))
            for name, epochs in EPOCHS.items()
        ]
    )
    assert experiments(workspace) == EPOCHS
    assert sorted(settings(workspace.path / "mlflow.db").values()) == [(n, str(e)) for n, e in EPOCHS.items()]
    assert not workspace.run("git", "status", "--porcelain")
    made_again(workspace)


def made_again(workspace: Workspace) -> None:
    """A lost store is rebuilt from DVC and git; a second rebuild changes nothing."""
    workspace.run("cnnstudy", "track")  # stages on a busy machine leave it what takes the store too long
    before = stored.record(workspace.path)
    stored.lose(workspace.path)
    for _ in range(2):
        assert "MLflow has 6 of 6 runs, ablations and pages" in workspace.run("cnnstudy", "track")
        assert stored.record(workspace.path) == before
    dump = stored.dump(workspace.path)
    workspace.run("cnnstudy", "track")
    assert stored.dump(workspace.path) == dump


def test_a_queue_with_two_workers(workspace: Workspace) -> None:
    for name, epochs in EPOCHS.items():
        workspace.run("dvc", "exp", "run", "--queue", "--name", name, *SMALL, "-S", f"studies.faces.epochs={epochs}")
    workspace.run("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 400
    while (status := workspace.run("dvc", "queue", "status")).count("Success") < 2:
        assert "Failed" not in status
        assert time.monotonic() < deadline, status
        time.sleep(2)
    workspace.run("dvc", "queue", "stop", "--kill")
    assert experiments(workspace) == EPOCHS
    assert sorted(settings(workspace.path / "mlflow.db").values()) == [(n, str(e)) for n, e in EPOCHS.items()]


def test_a_queued_experiment_runs_the_code_it_was_queued_with(workspace: Workspace) -> None:
    chosen = ("model=mobilenet", "profile=smoke", "~finetuned.mobilenet", "~exported.mobilenet")
    mobilenet = [part for override in chosen for part in ("-S", override)]
    workspace.run("dvc", "exp", "run", "--queue", "--name", "queued", *mobilenet)
    for script in (workspace.path / "src").glob("*.py"):
        script.write_text("raise SystemExit('edited after queueing')\n")
    (workspace.path / "src/cnnstudy/config/params.py").write_text("raise SystemExit('edited after queueing')\n")
    workspace.run("dvc", "exp", "run", "--run-all")
    shown = json.loads(workspace.run("dvc", "exp", "show", "--json"))
    ran = [run["revs"][0] for commit in shown for run in commit["experiments"] or []]
    assert [(run["name"], run["error"]) for run in ran] == [("queued", None)]
    assert set(ran[0]["data"]["metrics"][str(paths.SUMMARY)]["data"]) == {"mobilenet"}
    recorded = {run["name"]: run["tags"] for run in stored.record(workspace.path)}
    assert set(recorded) == {"ablation: nets", "mobilenet", "page"}
    assert recorded["mobilenet"]["run"] == "mobilenet"
    assert {tags["dvc_experiment"] for tags in recorded.values()} == {"queued"}


def test_two_clones_share_a_cache_and_a_store(tmp_path: Path, data_cache: Path) -> None:
    shutil.copytree(data_cache, tmp_path / "cache")
    shared = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    workspaces = []
    for name, epochs in EPOCHS.items():
        (tmp_path / name).mkdir()
        made = clone(tmp_path / name)
        workspace = replace(made, environment=made.environment | shared)
        workspace.run("dvc", "config", "--local", "cache.dir", str(tmp_path / "cache"))
        workspace.compose(
            "model=alexnet",
            "profile=smoke",
            "~finetuned.alexnet",
            "~exported.alexnet",
            f"studies.faces.epochs={epochs}",
        )
        workspaces.append(workspace)
    side_by_side([(workspace, ("cnnstudy", "repro")) for workspace in workspaces])
    for workspace, epochs in zip(workspaces, EPOCHS.values(), strict=True):
        assert "up to date" in workspace.run("dvc", "status")
        history = workspace.path / paths.history(paths.seed("alexnet", "base", 0))
        assert len(history.read_text().splitlines()) == 1 + epochs
    found = settings(tmp_path / "mlflow.db")
    assert sorted(epochs for _, epochs in found.values()) == ["1", "2"]
