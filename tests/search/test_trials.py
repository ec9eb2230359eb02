"""A search with Optuna's own database: what is made, resumed, pruned and failed."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from optuna import Study
from search.searched import EPOCHS, RUN, accuracy, epoch, make, quick, scripted, stopped_in, unrecorded

from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.search import trials
from cnnstudy.search.space import Alternatives, with_values
from cnnstudy.search.trials import Epoch, Report, Search
from cnnstudy.workspace import paths

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)


def content(study: Study) -> list[tuple[Any, ...]]:
    """Return parameters and value of every finished trial."""
    return [(each.params, each.value, each.state.name, each.user_attrs) for each in trials.finished(study)]


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_resumed_search_is_the_one_that_was_not_stopped(tmp_path: Path) -> None:
    whole = trials.run(make(tmp_path / "whole"), 8, quick, unrecorded)
    parts = make(tmp_path / "parts")
    trials.run(parts, 2, quick, unrecorded)
    with pytest.raises(KeyboardInterrupt):
        trials.run(parts, 8, stopped_in(4, interrupt), unrecorded)
    resumed = trials.run(parts, 8, quick, unrecorded)
    assert content(resumed) == content(whole)
    assert states(resumed).count("FAIL") == 1
    assert len(content(whole)) == 8


def test_a_killed_trial_is_marked_as_failed_and_made_again(tmp_path: Path) -> None:
    whole = trials.run(make(tmp_path / "whole"), 4, quick, unrecorded)
    code = (
        "import os, pathlib, signal\n"
        "from search.searched import make, stopped_in, unrecorded\n"
        "from cnnstudy.search import trials\n"
        "stop = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "trials.run(make(pathlib.Path('killed').resolve()), 4, stopped_in(3, stop), unrecorded)\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'src'}"}
    killed = subprocess.run([sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    resumed = trials.run(make(tmp_path / "killed"), 4, quick, unrecorded)
    assert states(resumed) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert resumed.trials[2].params == resumed.trials[3].params
    assert content(resumed) == content(whole)


def test_the_same_search_again_makes_nothing(tmp_path: Path) -> None:
    search = make(tmp_path)
    before = content(trials.run(search, 3, quick, unrecorded))
    again = trials.run(search, 3, scripted([]), unrecorded)
    assert content(again) == before


def test_the_first_trial_takes_what_params_yaml_has() -> None:
    search = make()
    (first, *_) = trials.finished(trials.run(search, 1, quick, unrecorded))
    own = search.params.studies["xray"].training
    assert first.params == {
        "studies.xray.training.learning_rate": own.learning_rate,
        "studies.xray.training.schedule": own.schedule,
    }


def test_the_first_trial_chooses_what_params_yaml_has_outside_the_space() -> None:
    search = make()
    narrow = dataclasses.replace(search, space=(Alternatives("studies.xray.epochs", (1, 2)), *search.space))
    (first,) = trials.finished(trials.run(narrow, 1, quick, unrecorded))
    assert first.params["studies.xray.epochs"] in (1, 2)
    assert first.params["studies.xray.training.learning_rate"] == search.params.studies["xray"].training.learning_rate


def test_another_seed_is_another_search() -> None:
    first, second = (trials.run(make(seed=seed), 3, quick, unrecorded) for seed in (0, 1))
    assert first.study_name != second.study_name
    assert [each.params for each in first.trials[1:]] != [each.params for each in second.trials[1:]]


def test_trials_come_nearer_to_the_best() -> None:
    study = trials.run(make(), 16, quick, unrecorded)
    found = trials.best(study)
    assert found is not None
    assert found.user_attrs["accuracy"] > accuracy(make().params)
    assert found.user_attrs["accuracy"] > 0.85


def test_a_trial_below_the_median_is_pruned_once_there_are_enough() -> None:
    study = trials.run(make(), 7, scripted([0.8, 0.1, 0.8, 0.8, 0.1, 0.9, 0.1]), unrecorded)
    assert [name[0] for name in states(study)] == ["C", "C", "C", "C", "P", "C", "P"]
    pruned = study.trials[4]
    assert pruned.user_attrs["reason"] == f"pruned after epoch 2 of {EPOCHS}, at 0.1000 on val"
    assert [row["epoch"] for row in pruned.user_attrs["rows"]] == [1, 2]
    found = trials.best(study)
    assert found is not None
    assert found.number == 5


def test_a_trial_that_has_come_to_its_last_epoch_is_not_pruned() -> None:
    values = iter([0.8, 0.8, 0.8, 0.8, 0.1])

    def objective(params: Params, report: Report) -> Epoch:
        value = next(values)
        for number in (1, 2):
            report(epoch(number, value))
        return epoch(2, value)

    search = make()
    short = dataclasses.replace(search, params=with_values(search.params, {"studies.xray.epochs": 2}))
    assert states(trials.run(short, 5, objective, unrecorded)) == ["COMPLETE"] * 5


def test_a_loss_that_is_no_number_counts_as_pruned() -> None:
    study = trials.run(make(), 2, scripted([float("nan"), 0.5]), unrecorded)
    assert states(study) == ["PRUNED", "COMPLETE"]
    assert "nan after epoch 1" in study.trials[0].user_attrs["reason"]


def test_what_else_goes_wrong_ends_the_search(tmp_path: Path) -> None:
    def no_room() -> None:
        raise MemoryError("OOM")

    with pytest.raises(MemoryError, match="OOM"):
        trials.run(make(tmp_path), 3, stopped_in(2, no_room), unrecorded)
    assert states(trials.run(make(tmp_path), 2, quick, unrecorded)) == ["COMPLETE", "FAIL", "COMPLETE"]


def test_of_equal_accuracies_the_lower_loss_is_worth_more_and_one_image_more_than_any_loss() -> None:
    assert epoch(1, 0.5, 0.1).value > epoch(1, 0.5, 0.2).value
    assert epoch(1, 0.55, 16.0).value > epoch(1, 0.5, 0.0).value


def test_a_searchs_name_follows_data_and_what_is_not_searched() -> None:
    def changed(**values: Any) -> Search:
        keys = {key.replace("__", "."): value for key, value in values.items()}
        return dataclasses.replace(search, params=with_values(search.params, keys))

    search = make()
    assert changed(studies__xray__training__learning_rate=0.5).name == search.name
    assert changed(studies__faces__training__dropout=0.5, studies__xray__split__test=0.3).name == search.name
    names = {
        changed(studies__xray__epochs=9).name,
        changed(studies__xray__training__dropout=0.5).name,
        changed(batchnorm="moving").name,
    }
    names |= {search.name, dataclasses.replace(search, space=search.space[:1]).name}
    paths.splits("xray").write_text(paths.splits("xray").read_text().replace("val", "train"))
    names |= {search.name}
    study = search.params.studies["xray"]
    turned = {"classes": dict(reversed(study.classes.items()))}
    steeper = {"policies": {"aug0": search.params.policy_of(RUN).model_copy(update={"level": 4})}}
    for change in (turned, steeper):
        params = search.params.model_copy(update={"studies": {"xray": study.model_copy(update=change)}})
        names |= {dataclasses.replace(search, params=params).name}
    assert len(names) == 8
    assert all(name.startswith("xray-aug0-") for name in names)


def test_one_process_makes_a_search() -> None:
    search = make()
    lock = paths.stage_lock(f"search@{search.name}")
    lock.parent.mkdir(parents=True)
    with FileLock(lock), pytest.raises(UserError, match="another process runs this search"):
        trials.run(search, 1, quick, unrecorded)


@pytest.mark.parametrize(
    "address",
    ["nothing", "redis://me:secret@localhost/1", "sqlite:////no/such/folder/optuna.db", "postgresql://me:secret@h/db"],
)
def test_a_database_that_can_not_be_opened_is_one_line_without_its_password(address: str) -> None:
    with pytest.raises(UserError) as error:
        trials.run(dataclasses.replace(make(), storage=address), 1, quick, unrecorded)
    line = str(error.value)
    assert line.startswith("--storage: ")
    assert "\n" not in line
    assert "secret" not in line
