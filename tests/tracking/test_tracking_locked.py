"""Recording a workspace that differs from dvc.lock: results of another commit are left out."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from serving import promotable

from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.tracking import build, keys, write
from cnnstudy.workspace import files, paths

RUNS = ("alexnet", "xray-aug4")
WHOLE = {*RUNS, "ablation: nets", "ablation: augmentation", "ablation: depth"}


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    params = promotable.make(RUNS, has_nets=False)
    lock = yaml.safe_load(paths.LOCK.read_text())
    for name in params.ablations:
        table = keys.directory_md5(paths.ablation_plots(name))
        numbers = files.md5(paths.ablation_metrics(name))
        outs = [(paths.ablation_metrics(name), numbers), (paths.ablation_plots(name), table)]
        entries = [{"path": path.as_posix(), "md5": md5} for path, md5 in outs]
        lock["stages"][f"ablate@{name}"] = {"cmd": f"run ablate@{name}", "outs": entries}
    lock["stages"]["train@alexnet"]["params"] = {"params.yaml": {"batchnorm": "recalibrated"}}
    paths.LOCK.write_text(yaml.safe_dump(lock))
    return params


def recorded(params: Params) -> set[str]:
    return {each.name for each in write.records(params, write.RecordSource({}, has_models=True)) if each}


def evaluated_elsewhere(params: Params) -> Params:
    paths.run_metrics("alexnet").write_text(paths.run_metrics("alexnet").read_text() + "\n")
    return params


def trained_elsewhere(params: Params) -> Params:
    (paths.seed("alexnet", "tuned", 0) / "own").write_text("")
    return params


def plotted_elsewhere(params: Params) -> Params:
    (paths.ablation_plots("depth") / "curve.csv").write_text("run,phase,x\n")
    return params


def with_other_parameters(params: Params) -> Params:
    return params.model_copy(update={"batchnorm": "moving"})


@pytest.mark.parametrize(
    ("edit", "left_out"),
    [
        (lambda params: params, set()),
        (evaluated_elsewhere, {"alexnet"}),
        (trained_elsewhere, {"alexnet"}),
        (plotted_elsewhere, {"ablation: depth"}),
        (with_other_parameters, {"alexnet"}),
    ],
)
def test_what_is_not_as_dvc_lock_has_it_is_left_out(
    params: Params, edit: Callable[[Params], Params], left_out: set[str]
) -> None:
    assert recorded(edit(params)) == WHOLE - left_out


def test_numbers_on_phones_are_those_of_the_same_net(params: Params) -> None:
    def has_them(is_exported: bool = False) -> bool:
        its = keys.RunIdentity("key", {"base": "1", "tuned": "2"})
        return "export.json" in build.run_record(params, "alexnet", its, {}, is_exported).texts

    assert not has_them()
    assert has_them(is_exported=True)
    lock = yaml.safe_load(paths.LOCK.read_text())
    (tuned,) = lock["stages"]["finetune@alexnet"]["outs"]
    lock["stages"]["export@alexnet"] = {"cmd": "run export@alexnet", "deps": [tuned]}
    paths.LOCK.write_text(yaml.safe_dump(lock))
    assert has_them()


@pytest.mark.parametrize(
    ("lock", "line"),
    [
        (
            "stages:\n<<<<<<< HEAD\n  a:\n=======\n  b:\n>>>>>>> other\n",
            "dvc.lock: both sides of a merge found; allowed",
        ),
        ("schema: '2.0'\nstages:\n  a: {\n", "dvc.lock: torn by a killed dvc; `cnnstudy check` mends it"),
    ],
)
def test_a_lock_that_can_not_be_read_is_one_line(params: Params, lock: str, line: str) -> None:
    paths.LOCK.write_text(lock)
    with pytest.raises(UserError, match=f"^{line}"):
        keys.read_lock()


def test_a_broken_environment_json_is_one_line(params: Params) -> None:
    paths.ENVIRONMENT.write_text("<<<<<<< HEAD\n")
    with pytest.raises(UserError, match=r"^environment\.json: not JSON; "):
        build.environment_tags()
