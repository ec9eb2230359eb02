"""A search by several processes, on one machine or many: they share its trials by way of a database server.

The trials are planned first, without values; each process takes one at a time, and chooses its values from the results
so far. A process that works on a trial says every few seconds that it is alive; the trials of others are planned again.
As a script, `python -m cnnstudy.search.shared RUN SPACE SEED NUMBER PID` is one such process, which ends when the
process PID does; the address of the database is in the environment, since others can read arguments.
"""

import os
import sys
import time
import warnings
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnstudy.errors import UserError
from cnnstudy.search.trials import (
    Objective,
    Search,
    called,
    finished,
    open_study,
    outcome,
    own_values,
    shown,
    storage_errors,
    trained,
)
from cnnstudy.workspace.terminal import say

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

# Seconds between a process's signs of life, and after which a trial without them is lost.
HEARTBEAT, GRACE = 10, 60
# The variable with the address of the database.
STORAGE = "CNNSTUDY_STORAGE"
# The attributes of a planned trial, and of one whose process has given a sign of life.
PLANNED, BEGUN = "planned", "begun"


class UnplannedError(Exception):
    """A trial that was begun because another process took the last planned one first."""


def require_server(storage: str | None) -> str:
    """Return the address of a database server, which several machines can use at once.

    Raises:
        UserError: it is none, or a file.
    """
    if not storage or storage.startswith("sqlite"):
        found = "a file" if storage else "none"
        raise UserError(f"--storage: {found} found; allowed with --cluster: a server's, such as postgresql://HOST/NAME")
    return storage


def plan(search: Search, trials: int) -> "Study":
    """Plan as many trials as are missing until `trials` are finished, waiting or under way.

    Raises:
        UserError: the database can't be opened.
    """
    study = open_study(search, _storage(search))
    with storage_errors(search):
        count = len(finished(study)) + len(_in_state(study, "WAITING")) + len(_in_state(study, "RUNNING"))
        for number in range(count, trials):
            study.enqueue_trial(own_values(search) if number == 0 else {}, user_attrs={PLANNED: True})
    return study


def work(search: Search, objective: Objective, number: int) -> None:
    """Run planned trials, as one of several processes with different numbers, until none waits or runs anywhere."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.samplers import TPESampler
    from optuna.storages import fail_stale_trials

    storage = _storage(search)
    study = open_study(search, storage)
    its_id = storage.get_study_id_from_name(study.study_name)
    # With the number of trials that were begun, a process that starts again draws other values.
    begun = sum(trial.state.name != "WAITING" for trial in study.trials)
    seed = int(np.random.SeedSequence([search.seed, number, begun]).generate_state(1)[0])
    # With the liar, processes that choose at the same time do not choose the same.
    study.sampler = TPESampler(seed=seed, constant_liar=True)

    taken: set[int] = set()

    def attempt(trial: "Trial") -> float:
        if PLANNED not in trial.user_attrs:
            raise UnplannedError
        # Optuna's first sign of life comes from a thread, perhaps after this process was killed.
        storage.record_heartbeat(storage.get_trial_id_from_study_id_trial_number(its_id, trial.number))
        trial.set_user_attr(BEGUN, True)
        for dimension in search.space:
            dimension.suggest(trial)
        say(f"{called(trial)}: {shown(trial.params)}")
        try:
            value = trained(search, objective, trial)
        except UpdateFinishedTrialError:
            taken.add(trial.number)
            raise
        taken.add(trial.number)  # what goes wrong from now on is that its end can't be told
        return value

    def tell(study: "Study", trial: "FrozenTrial") -> None:
        if trial.state.name in ("COMPLETE", "PRUNED"):
            say(f"{called(trial)}: {outcome(trial)}")

    while True:
        fail_stale_trials(study)
        _fail_unbegun(study)
        if _in_state(study, "WAITING"):
            taken.clear()
            try:
                study.optimize(attempt, n_trials=1, catch=(UnplannedError,), callbacks=[tell])
            except (UpdateFinishedTrialError, ValueError):
                if not taken:
                    raise
                say("warning: a trial gave no sign of life for so long that others took it for lost", sys.stderr)
        elif _in_state(study, "RUNNING"):
            time.sleep(HEARTBEAT)  # that trial's process may be lost
        else:
            return


def _in_state(study: "Study", name: str) -> "list[FrozenTrial]":
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState[name],))


def _fail_unbegun(study: "Study") -> None:
    """Fail the trials whose process was lost before its first sign of life, and plan them again."""
    from optuna.trial import TrialState

    for trial in _in_state(study, "RUNNING"):
        assert trial.datetime_start
        is_old = (datetime.now() - trial.datetime_start).total_seconds() > GRACE
        if is_old and BEGUN not in trial.user_attrs:
            with suppress(ValueError):  # another process was faster
                study.tell(trial.number, state=TrialState.FAIL)
                _plan_again(study, trial)


def _storage(search: Search) -> "RDBStorage":
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import RDBStorage

    warnings.simplefilter("ignore", ExperimentalWarning)  # signs of life are experimental in Optuna 5
    with storage_errors(search):
        return RDBStorage(
            search.storage, heartbeat_interval=HEARTBEAT, grace_period=GRACE, heartbeat_stale_trial_callback=_plan_again
        )


def _plan_again(study: "Study", lost: "FrozenTrial") -> None:
    study.enqueue_trial(lost.params, user_attrs={PLANNED: True, "again": called(lost)})


def main(run: str, space: str, seed: int, number: int) -> None:
    """Work on a search in this process."""
    from cnnstudy.config.params import read_params
    from cnnstudy.search import space as spaces
    from cnnstudy.search import start

    params = read_params()
    job = Search(run, params, spaces.read_space(Path(space), params, run), seed, os.environ[STORAGE])
    work(job, start.objective_of(job), number)


if __name__ == "__main__":
    from cnnstudy.workspace.stage import end_with, name_user, reported_errors

    _, RUN, SPACE, SEED, NUMBER, PARENT = sys.argv
    end_with(int(PARENT))
    name_user()
    with reported_errors():
        main(RUN, SPACE, int(SEED), int(NUMBER))
