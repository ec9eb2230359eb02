"""Run keys: before a training, and from dvc.lock after it, they must be the same."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
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
    for name in ("images.npy", "code/a.py", "code/__pycache__/a.pyc"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        params_with(RUNS)
    shared: dict[str, Any] = {"cmd": "exit 1", "params": ["seeds", "studies.faces.training"]}
    used = ["images.npy", "code"]
    train = shared | {"deps": used, "outs": ["models/${item}/base"]}
    finetune = shared | {"deps": [*used, "models/${item}/base"], "outs": ["models/${item}/tuned"]}
    stages = {
        "train": {"foreach": list(RUNS), "do": train},
        "finetune": {"foreach": ["alexnet"], "do": finetune},
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    environment = {"DVC_NO_ANALYTICS": "1"}
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=root, check=True, env=environment)
    (root / ".dvcignore").write_text("__pycache__/\n")
    subprocess.run([sys.executable, "-m", "dvc", "commit", "--force", "-q"], cwd=root, check=True, env=environment)
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
def test_the_key_before_the_training_is_that_in_the_lock_after_it(params: Params, run: str) -> None:
    known = keys.lock_identity(lock(), run, params)
    assert known
    assert known == keys.identity(run, params)
    shutil.rmtree(paths.model(run))
    paths.LOCK.unlink()
    assert keys.planned_key(run, params) == known.key


def test_any_changed_byte_of_any_phase_is_another_model_of_the_same_key(params: Params) -> None:
    before = {run: keys.identity(run, params) for run in RUNS}
    assert len({each.key for each in before.values()}) == 2
    (paths.phase("alexnet", "tuned") / "seed1/empty").write_bytes(b"x")
    after = {run: keys.identity(run, params) for run in RUNS}
    assert after["alexnet"].model != before["alexnet"].model
    assert after["alexnet"].key == before["alexnet"].key
    assert after["xray-aug0"] == before["xray-aug0"]


def edit(name: str) -> Params:
    Path(name).write_text("another")
    return params_with(RUNS)


@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        (lambda: edit("images.npy"), True),
        (lambda: edit("code/a.py"), True),
        (lambda: edit("code/__pycache__/a.pyc"), False),
        (lambda: params_with(RUNS, seeds=[7]), True),
        (lambda: params_with(RUNS, studies__faces__epochs=9), False),
    ],
)
def test_data_code_and_settings_that_a_training_depends_on_change_the_key(
    params: Params, change: Callable[[], Params], is_another: bool
) -> None:
    before = keys.planned_key("alexnet", params)
    assert (keys.planned_key("alexnet", change()) != before) == is_another


def test_a_lock_without_every_phase_gives_no_identity(params: Params) -> None:
    content = lock()
    assert keys.lock_identity({}, "alexnet", params) is None
    del content["stages"]["finetune@alexnet"]
    assert keys.lock_identity(content, "alexnet", params) is None
    assert keys.lock_identity(content, "xray-aug0", params) is not None


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
