"""`cnnstudy search` on the command line, and the command that it ends with."""

import argparse
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from search.searched import EPOCHS, make, quick
from synthetic_runs import params_with

from cnnstudy import cli
from cnnstudy.config.compose import composed, overrides
from cnnstudy.config.params import read_params
from cnnstudy.search import start, trainer
from cnnstudy.search.trials import Epoch, Report
from cnnstudy.training import environment
from cnnstudy.workspace import files

# Of SQLAlchemy, about MLflow's own tables.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with conf/ and params.yaml."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["cnnstudy", "search", *arguments])
    cli.main()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("resnet", "--trials", "2"), "RUN: 'resnet' found; allowed: xray-aug0"),
        (("xray-aug0", "--trials", "0"), "--trials: 0 found; allowed: 1 or more"),
        (("xray-aug0", "--trials", "1", "--seed", "-1"), "--seed: -1 found; allowed: 0 or more"),
        (("xray-aug0", "--trials", "1", "--space", "none.yaml"), "none.yaml: no such file"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], line: str
) -> None:
    params_with(("xray-aug0",))
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, *arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: {line}\n"


def test_a_search_brings_data_up_to_date_and_ends_with_the_command_that_applies_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(params: object, run: str, report: Report) -> Epoch:
        return quick(params, report)  # type: ignore[arg-type]

    built: list[list[str]] = []
    make(tmp_path)
    cli.write_params([])
    own = read_params().studies["xray"]
    monkeypatch.setattr(cli, "rebuild", lambda targets: built.append(targets))
    monkeypatch.setattr(environment, "configure", lambda threads: None)
    monkeypatch.setattr(trainer, "train", train)
    Path("space.yaml").write_text("learning_rate: {low: 0.00001, high: 0.1, log: true}\nbatch_size: [8, 16]\n")
    call(monkeypatch, "xray-aug0", "--trials", "3", "--space", "space.yaml")
    assert built == [["augment@xray"]]
    assert (tmp_path / "optuna.db").exists()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"trial 1, 1 of 3: learning_rate {own.training.learning_rate:.3g}, batch_size {own.batch_size}"
    assert lines[-4].startswith("trials: 3, of these pruned: 0; xray-aug0-")
    assert lines[-3].startswith("best: trial ")
    assert lines[-1].startswith("  dvc exp run --temp -S model=xraynet -S ")
    overrides = [part for part in shlex.split(lines[-1]) if "=" in part]
    found = composed(overrides)
    assert {override.partition("=")[0] for override in overrides} == {
        "model", "studies.xray.training.learning_rate", "studies.xray.batch_size",
    }  # fmt: skip
    assert f"learning_rate {found['studies.xray.training.learning_rate']:.3g}" in lines[-3]


def test_a_page_says_what_it_was_made_with(tmp_path: Path) -> None:
    chosen = ["model=alexnet", "profile=smoke", "recipe=report", "faces_data=folders"]
    own = [
        "seeds=[3,4]",
        "studies.faces.epochs=4",
        "studies.faces.training.selection=best",
        "~studies.faces.classes.fear",
        "+studies.faces.classes.glad=[glad]",
    ]
    cli.write_params([*chosen, *own, "studies.faces.source.path=/faces", "compute.threads=2"])
    found = overrides(read_params())
    changed = [each for each in found if "studies.faces.classes" in each]
    assert sorted(set(found) - set(changed)) == sorted([*chosen, *own[:3]])
    assert all("fear" not in each for each in changed if not each.startswith("~"))
    assert composed([*found, "studies.faces.source.path=/faces", "compute.threads=2"]) == files.flat(
        read_params().model_dump(exclude_unset=True)
    )


def test_the_command_has_what_params_yaml_has_of_its_own(tmp_path: Path) -> None:
    cli.write_params(
        ["profile=smoke", "recipe=report", "seeds=[3,4]", "studies.xray.epochs=4", "studies.xray.source.path=/xrays"]
    )
    arguments = argparse.Namespace(run="xray-aug0", trials=1, seed=0, space=None, storage=None)
    job = start.checked(read_params(), arguments)
    values: dict[str, float | str] = {
        "studies.xray.training.learning_rate": 1e-05,
        "studies.xray.training.schedule": "constant",
    }
    assert start.command(job, values) == (
        "dvc exp run --temp -S model=xraynet -S profile=smoke -S recipe=report -S 'seeds=[3,4]' "
        "-S studies.xray.source.path=/xrays -S studies.xray.epochs=4 "
        "-S studies.xray.training.learning_rate=1e-05 -S studies.xray.training.schedule=constant"
    )
    found = composed([part for part in shlex.split(start.command(job, values)) if "=" in part])
    assert (found["seeds"], found["studies.xray.epochs"]) == ([3, 4], EPOCHS)
    assert found["studies.xray.training.learning_rate"] == 1e-05
    assert found["studies.xray.batch_size"] == job.params.studies["xray"].batch_size
