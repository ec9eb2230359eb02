"""Processes that share a search make every planned trial once, and again those of a process that was lost."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from optuna import Study
from optuna.trial import FrozenTrial, TrialState
from search.searched import make, quick

from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.search import shared, trials
from cnnstudy.search.trials import Epoch, Report, Search

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shared, "HEARTBEAT", 1)
    monkeypatch.setattr(shared, "GRACE", 2)


def states(study: Study) -> list[str]:
    return sorted(trial.state.name for trial in study.trials)


def process(code: str) -> "subprocess.Popen[str]":
    """A process that works on the search in the folder `shared`."""
    before = (
        "import pathlib, time\n"
        "from search.searched import make, quick\n"
        "from cnnstudy.search import shared\n"
        "shared.HEARTBEAT, shared.GRACE = 1, 2\n"
        "search = make(pathlib.Path('shared').resolve())\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'src'}"}
    return subprocess.Popen([sys.executable, "-c", before + code], env=environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)  # fmt: skip


def test_two_processes_make_each_planned_trial_once(tmp_path: Path) -> None:
    study = shared.plan(make(tmp_path / "shared"), 9)
    assert states(study) == ["WAITING"] * 9
    slow = "def slow(params, report): time.sleep(0.3); return quick(params, report)\nshared.work(search, slow, {})\n"
    both = [process(slow.format(number)) for number in (0, 1)]
    outputs = [each.communicate(timeout=120)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], outputs
    assert len(trials.finished(study)) == 9
    # Another process may have begun a trial that nobody planned, and left it.
    assert set(states(study)) <= {"COMPLETE", "PRUNED", "FAIL"}
    made = [output.count(": accuracy on val") + output.count(": pruned") for output in outputs]
    assert sum(made) == 9
    assert min(made) > 0
    assert len({tuple(trial.params.items()) for trial in trials.finished(study)}) == 9


def test_a_killed_process_s_trial_is_made_again_by_another(tmp_path: Path) -> None:
    search = make(tmp_path / "shared")
    study = shared.plan(search, 3)
    lost = process(
        "import os, signal\n"
        "def killed(params, report): os.kill(os.getpid(), signal.SIGKILL)\n"
        "shared.work(search, killed, 0)\n"
    )
    lost.communicate(timeout=120)
    assert lost.returncode == -9
    assert states(study) == ["RUNNING", "WAITING", "WAITING"]
    shared.work(search, quick, 1)
    assert states(study) == ["COMPLETE"] * 3 + ["FAIL"]
    (failed,) = [trial for trial in study.trials if trial.state.name == "FAIL"]
    assert failed.params in [trial.params for trial in trials.finished(study)]


def test_a_trial_whose_process_gave_no_sign_of_life_is_made_again(tmp_path: Path) -> None:
    search = make(tmp_path / "shared")
    study = shared.plan(search, 2)
    trials.open_study(search, search.storage).ask()
    shared.work(search, quick, 1)
    assert states(study) == ["COMPLETE"] * 2 + ["FAIL"]


def test_a_trial_taken_for_lost_does_not_end_its_process(tmp_path: Path) -> None:
    search = make(tmp_path / "shared")
    study = shared.plan(search, 2)
    taken: list[FrozenTrial] = []

    def slow(params: Params, report: Report) -> Epoch:
        if not taken:
            taken.append(study.tell(0, state=TrialState.FAIL))
        return quick(params, report)

    shared.work(search, slow, 0)
    assert states(study) == ["COMPLETE", "FAIL"]


def test_as_many_trials_are_planned_as_are_missing(tmp_path: Path) -> None:
    search = make(tmp_path / "shared")
    study = shared.plan(search, 2)
    shared.work(search, quick, 0)
    shared.plan(search, 2)
    assert states(study) == ["COMPLETE"] * 2
    shared.plan(search, 5)
    shared.plan(search, 5)
    assert states(study) == ["COMPLETE"] * 2 + ["WAITING"] * 3
    first = study.trials[0].params
    assert first == trials.own_values(search)


def test_a_trial_that_nobody_planned_is_not_made(tmp_path: Path) -> None:
    search = make(tmp_path / "shared")
    study = shared.plan(search, 1)

    def late(params: Params, report: Report) -> Epoch:
        study.enqueue_trial({})  # as if another process took the last planned one meanwhile
        return quick(params, report)

    shared.work(search, late, 0)
    assert states(study) == ["COMPLETE", "FAIL"]


def test_what_goes_wrong_ends_the_process_and_is_planned_again(tmp_path: Path) -> None:
    search = make(tmp_path / "shared")
    study = shared.plan(search, 2)

    def broken(params: Params, report: Report) -> Epoch:
        raise MemoryError("no room")

    with pytest.raises(MemoryError):
        shared.work(search, broken, 0)
    assert states(study) == ["FAIL", "WAITING"]
    shared.plan(search, 2)
    shared.work(search, quick, 0)
    assert states(study) == ["COMPLETE"] * 2 + ["FAIL"]


@pytest.mark.parametrize("storage", [None, "sqlite:///optuna.db"])
def test_several_machines_need_a_database_server(storage: str | None) -> None:
    with pytest.raises(UserError, match=r"--storage: .* found; allowed with --cluster: a server's"):
        shared.require_server(storage)


def test_a_server_that_does_not_answer_is_one_line_without_its_password() -> None:
    search: Search = dataclasses.replace(make(), storage="postgresql://me:secret@localhost:1/none")
    with pytest.raises(UserError) as error:
        shared.plan(search, 1)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
