"""Run keys: the stage and dvc.lock must give the same."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import yaml
from synthetic_runs import params_with

from cnnstudy.config.schema import Params
from cnnstudy.tracking import keys
from cnnstudy.workspace import paths
from cnnstudy.workspace.dvc import repository_lock

RUNS = ("alexnet", "xray-aug0")
# Their order by name is not that of a walk through the folder.
FILES = ("seed0/model.weights.h5", "seed0-b.csv", "seed0.csv", "seed0/a/z", "seed1/ä ü.csv", "Zeta", "seed1/empty")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose dvc.lock the real DVC wrote, of two runs of which one is finetuned."""
    root = tmp_path_factory.mktemp("locked")
    for phase in (paths.phase("alexnet", "base"), paths.phase("alexnet", "tuned"), paths.phase("xray-aug0", "base")):
        for name in FILES:
            file = root / phase / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"" if "empty" in name else f"{phase} {name}\r\n".encode())
    outs = {"train": "base", "finetune": "tuned"}
    stages: dict[str, Any] = {
        stage: {
            "foreach": ["alexnet", "xray-aug0"] if stage == "train" else ["alexnet"],
            "do": {"cmd": "exit 1", "outs": [f"models/${{item}}/{phase}"]},
        }
        for stage, phase in outs.items()
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for command in (["init", "--no-scm", "--quiet"], ["commit", "--force", "--quiet"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=root, check=True, env={"DVC_NO_ANALYTICS": "1"})
    return root


@pytest.fixture
def params(locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Parameters of both runs; the working directory is a copy of the repository."""
    shutil.copytree(locked, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return params_with(RUNS)


def lock() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(paths.LOCK.read_text())
    return content


def test_a_directory_has_the_md5_that_dvc_gives_it(params: Params) -> None:
    for stage, phase in (("train", "base"), ("finetune", "tuned")):
        (out,) = lock()["stages"][f"{stage}@alexnet"]["outs"]
        assert keys.directory_md5(paths.phase("alexnet", phase)) == out["md5"]


@pytest.mark.parametrize("run", RUNS)
def test_files_and_lock_give_the_same_key(params: Params, run: str) -> None:
    assert keys.run_key(run, params) == keys.lock_key(lock(), run, params)


def test_any_changed_byte_of_any_phase_changes_the_key_of_its_run_alone(params: Params) -> None:
    before = {run: keys.run_key(run, params) for run in RUNS}
    assert len(set(before.values())) == 2
    (paths.phase("alexnet", "tuned") / "seed1/empty").write_bytes(b"x")
    after = {run: keys.run_key(run, params) for run in RUNS}
    assert after["alexnet"] != before["alexnet"]
    assert after["xray-aug0"] == before["xray-aug0"]


def test_equal_files_of_two_runs_have_two_keys(params: Params) -> None:
    shutil.copytree(paths.model("xray-aug0"), paths.model("xray-aug1"))
    both = params_with(("xray-aug0", "xray-aug1"))
    assert keys.run_key("xray-aug0", both) != keys.run_key("xray-aug1", both)


def test_a_lock_without_every_phase_gives_no_key(params: Params) -> None:
    content = lock()
    assert keys.lock_key({}, "alexnet", params) is None
    del content["stages"]["finetune@alexnet"]
    assert keys.lock_key(content, "alexnet", params) is None
    assert keys.lock_key(content, "xray-aug0", params) is not None


def test_a_lock_that_is_being_rewritten_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = "schema: '2.0'\nstages:\n  check:\n    cmd: python src/check.py\n"
    for torn in ("", whole[:30]):
        paths.LOCK.write_text(torn)
        begun = Event()

        def rewrite(begun: Event = begun) -> None:
            with repository_lock():
                begun.set()
                time.sleep(0.3)
                paths.LOCK.write_text(whole)

        writer = Thread(target=rewrite)
        writer.start()
        begun.wait()
        assert keys.read_lock()["stages"] == {"check": {"cmd": "python src/check.py"}}
        writer.join()
    paths.LOCK.unlink()
    assert keys.read_lock() == {}
