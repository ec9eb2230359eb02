"""`cnnstudy doctor` says what is right, and of what is not, what to do."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from workspace import Workspace, clone

from cnnstudy.commands import sizes
from cnnstudy.config.params import read_params
from cnnstudy.workspace import locked

LOCK = """# a comment
numpy==1.2.3 \\
    --hash=sha256:00
    # via pandas
no-such-package==4.5 ; sys_platform == 'linux' or sys_platform == 'darwin' \\
    --hash=sha256:00
only-elsewhere==6 ; sys_platform == 'nowhere'
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return clone(tmp_path_factory.mktemp("clone"))


@contextmanager
def written(path: Path, content: str) -> Iterator[None]:
    """A file with another content for a while."""
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    try:
        yield
    finally:
        path.unlink() if before is None else path.write_bytes(before)


def lines(workspace: Workspace, code: int, **environment: str) -> dict[str, str]:
    """Return the doctor's lines by subject, each with its severity in front."""
    there = replace(workspace, environment=workspace.environment | environment)
    said = [line for line in there.run("cnnstudy", "doctor", code=code).splitlines() if line]
    return {line[6:].split(": ")[0]: f"{line[:4].strip()} {line[6:].partition(': ')[2]}" for line in said}


@pytest.mark.slow
def test_a_fresh_clone_needs_nothing(workspace: Workspace) -> None:
    found = lines(workspace, code=0)
    subjects = ["Python", "packages", "git", "DVC", "parameters", "disk", "memory", "MLflow", "TensorFlow", "same bits"]
    assert list(found) == subjects
    assert all(found[name].startswith("ok ") for name in subjects if name not in ("Python", "DVC", "same bits"))
    assert found["Python"].startswith("note this `cnnstudy` is the one in ")
    assert "stages would run: " in found["DVC"]


@pytest.mark.slow
def test_what_is_broken_is_said_with_what_to_do(workspace: Workspace) -> None:
    path = workspace.path
    params = (path / "params.yaml").read_text()
    environment = json.dumps({"python": "3.0.0", "packages": {"keras": "0.1"}})
    with (
        written(
            path / "params.yaml", re.sub(r"^    epochs: \d+", "    epochs: 0", params, count=1, flags=re.MULTILINE)
        ),
        written(path / "dvc.lock", "schema: '2.0'\nstages:\n  che"),
        written(path / "requirements.lock", LOCK),
        written(path / "src/check.py", "edited"),
        written(path / "checkpoints/alexnet-base-0123/seed0.npz", "x" * (1 << 20)),
        written(path / "environment.json", environment),
    ):
        found = lines(workspace, code=1, MLFLOW_TRACKING_URI="http://user:secret@127.0.0.1:1")
    assert "fix numpy" in found["packages"]
    assert "(locked 1.2.3); no-such-package missing (locked 4.5); `rm -r" in found["packages"]
    assert found["git"].startswith("note ")
    assert "1 uncommitted edits" in found["git"]
    assert found["DVC"] == "fix a killed dvc left a torn file; `cnnstudy check` mends it"
    assert found["parameters"].startswith("fix params.yaml: studies.faces.epochs: 0 found")
    assert found["checkpoint"].startswith("note alexnet-base-0123, 1 MiB: ")
    assert found["MLflow"].startswith("fix http://***@127.0.0.1:1: ")
    assert "secret" not in str(found)


@pytest.mark.slow
@pytest.mark.parametrize(("own", "said"), [("hypothesis", "hypothesis "), ("no-such-gpu", "numpy ")])
def test_the_lock_of_an_extra_counts_where_a_package_of_it_is_installed(
    workspace: Workspace, own: str, said: str
) -> None:
    path, locked_at = workspace.path, "{}==0.0.1 \\\n    --hash=sha256:00\n"
    numpy = locked_at.format("numpy")
    with (
        written(path / "requirements.lock", numpy),
        written(path / "requirements-gpu.lock", locked_at.format(own)),
        written(path / "requirements-app.lock", numpy),
    ):
        found = lines(workspace, code=1)
    assert found["packages"].startswith(f"fix {said}")


@pytest.mark.slow
def test_another_environment_than_the_one_that_made_the_lock_is_named(workspace: Workspace) -> None:
    environment = json.dumps({"python": "3.0.0", "gpus": ["H9"], "cpu_features": ["x"], "packages": {"keras": "0.1"}})
    with written(workspace.path / "environment.json", environment):
        found = lines(workspace, code=0)
    assert found["same bits"].startswith("note python ")
    assert "(was 3.0.0); gpus without H9" in found["same bits"]
    assert "cpu_features" not in found["same bits"]
    assert "; packages.keras " in found["same bits"]


@pytest.mark.slow
def test_edited_params_are_named(workspace: Workspace) -> None:
    params = (workspace.path / "params.yaml").read_text()
    with written(workspace.path / "params.yaml", params.replace("rotation: 20", "rotation: 30")):
        found = lines(workspace, code=0)
    assert found["parameters"].startswith("note params.yaml has other settings than the default: model=all, ")
    assert "studies.faces.policies.augmented.rotation; `make params`" in found["parameters"]


def test_a_lock_file_is_read_for_this_system(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text(LOCK)
    assert locked.versions(tmp_path / "requirements.lock") == {"numpy": "1.2.3", "no-such-package": "4.5"}


def test_sizes_grow_with_the_profile(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.path)
    workspace.compose("profile=report")
    report = read_params()
    workspace.compose()
    quick = read_params()
    # Measured: mobilenet 7.0 GB at the report's sizes, the one-layer net 1.8 GB under quick.
    run, needed = sizes.memory_bytes(report, sizes.shapes(report))
    assert run == "mobilenet"
    assert 7e9 < needed < 14e9
    nets = sizes.shapes(quick)
    run, needed = sizes.memory_bytes(quick, nets)
    assert run == "xray-depth1"
    assert 1.8e9 < needed < 3e9
    assert 3 * sizes.disk_bytes(quick, nets) < sizes.disk_bytes(report, sizes.shapes(report))
    assert sizes.machine_memory() > sizes.GIB / 4
    weights = 4 * nets["alexnet"].parameters
    left = {
        section: {name: entry for name, entry in getattr(quick, section).items() if name != "alexnet"}
        for section in ("finetuned", "exported")
    }
    # Its second phase, and files for phones of 32, 16 and 8 bits a weight.
    less = sizes.disk_bytes(quick, nets) - sizes.disk_bytes(quick.model_copy(update=left), nets)
    assert less == weights + weights * (32 + 16 + 8) // 32
