"""A search: Optuna chooses each trial's values, stops bad trials early, and keeps all in a database.

A trial's values follow from the search's seed, and from the number and results of the finished trials. So a search
that was stopped, by Ctrl-C or by the machine, resumes as if it had not been: the interrupted trial is repeated.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnstudy.config.schema import OF_VALUES, SIZES, Params
from cnnstudy.errors import UserError
from cnnstudy.search.space import Space, Value, current, with_values
from cnnstudy.tracking.address import without_secrets
from cnnstudy.workspace import paths
from cnnstudy.workspace.terminal import say

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

# Complete trials before any is compared with their median (Optuna's MedianPruner), and the share and the number of the
# epochs that no trial is pruned in: under a cosine schedule the first epochs say little.
UNPRUNED_TRIALS, UNPRUNED_SHARE, UNPRUNED_EPOCHS = 4, 0.25, 2
# More than any mean cross-entropy, which Keras's bounds keep below -log(1e-7) = 16.2.
LARGEST_LOSS = 17.0


@dataclass(frozen=True)
class Search:
    """A search: the run, its initial parameters, the space, the seed, and the database's address."""

    run: str
    params: Params
    space: Space
    seed: int
    storage: str

    @property
    def name(self) -> str:
        """The run and 12 hexadecimal digits of the common inputs of all trials: parameters and data."""
        study = self.params.all_runs[self.run].study
        searched = {dimension.key for dimension in self.space}
        own = {f"studies.{study}.training.{key}": value for key, value in self.params.studies[study].training
               if key not in OF_VALUES}  # fmt: skip
        own |= {f"studies.{study}.{key}": getattr(self.params.studies[study], key) for key in SIZES}
        settings = {
            "fixed": {key: value for key, value in own.items() if key not in searched},
            "run": self.params.all_runs[self.run].model_dump(exclude={"task"}),
            "options": self.params.options_of(self.run),
            "policy": self.params.policy_of(self.run).model_dump(),
            "classes": list(self.params.studies[study].classes),
            "batchnorm": self.params.batchnorm,
            "compute": self.params.compute.model_dump(include={"threads", "precision"}),
            "training_seed": self.params.seeds[0],
            "seed": self.seed,
            "space": [[type(dimension).__name__, asdict(dimension)] for dimension in self.space],
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        policy = paths.policy(study, self.params.all_runs[self.run].policy)
        for path in (paths.samples(study), paths.images(study), paths.splits(study), policy):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return f"{self.run}-{digest.hexdigest()[:12]}"


@dataclass(frozen=True)
class Epoch:
    """Results on the split `val` after an epoch, counted from 1: accuracy and mean cross-entropy.

    `images` is the split's size, `row` the history's row.
    """

    number: int
    accuracy: float
    loss: float
    images: int
    row: dict[str, float]

    @property
    def value(self) -> float:
        """Return the objective of a search: the accuracy, and for equal accuracies, frequent with few images, the loss.

        The loss subtracts less than one more correct image would add.
        """
        return self.accuracy - self.loss / (LARGEST_LOSS * self.images)


class DivergedError(Exception):
    """A trial's loss is no longer a number."""


# Takes each epoch as it ends; its exception ends the trial.
Report = Callable[[Epoch], None]
# Trains with some parameters, reports every epoch, and returns the one whose weights are kept.
Objective = Callable[[Params, Report], Epoch]
# Called after each trial, with the one that ended, and with None when a search starts or goes on.
Record = Callable[["Study", "FrozenTrial | None"], None]


def default_storage() -> str:
    """Return the address of an SQLite database in the repository's root."""
    return f"sqlite:///{paths.root() / 'optuna.db'}"


def run(search: Search, trials: int, objective: Objective, record: Record) -> "Study":
    """Run trials until `trials` are finished, those of earlier calls included.

    A trial whose loss is not a number counts as pruned. Any other exception of an objective ends the search; its trial
    is marked as failed, and repeated next time.

    Raises:
        UserError: another process runs this search, or its database can't be opened.
    """
    with _alone(search.name):
        study = open_study(search, search.storage)
        _fail_unfinished(study)
        record(study, None)
        while (count := len(finished(study))) < trials:
            trial = _ask(study, search, count)
            name = called(trial)
            say(f"{name}, {count + 1} of {trials}: {shown(trial.params)}")
            ended = _make(study, trial, search, objective)
            say(f"{name}: {outcome(ended)}")
            record(study, ended)
    return study


def finished(study: "Study") -> "list[FrozenTrial]":
    """Return the trials that were completed or pruned."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def best(study: "Study") -> "FrozenTrial | None":
    """Return the best completed trial; the first of equals."""
    from optuna.trial import TrialState

    whole = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(whole, key=lambda trial: trial.value or 0.0, default=None)


def called(trial: "Trial | FrozenTrial") -> str:
    """Return a trial's name, also in MLflow: its number from 1, interrupted trials included."""
    return f"trial {trial.number + 1}"


def shown(values: dict[str, Value]) -> str:
    """Return keys without their section, and values, on one line."""
    texts = {key.rpartition(".")[2]: f"{v:.3g}" if isinstance(v, float) else str(v) for key, v in values.items()}
    return ", ".join(f"{key} {text}" for key, text in texts.items())


def outcome(trial: "FrozenTrial") -> str:
    """Return the outcome of a finished trial in words."""
    if trial.state.name == "PRUNED":
        return trial.user_attrs["reason"]
    return f"accuracy on val {trial.user_attrs['accuracy']:.4f}, cross-entropy {trial.user_attrs['loss']:.3f}"


def open_study(search: Search, storage: "str | BaseStorage") -> "Study":
    """Open a search's study in a storage, and create it there if it is new.

    Raises:
        UserError: the database can't be opened.
    """
    import optuna
    from filelock import FileLock

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    epochs = search.params.run_sizes(search.run).epochs
    unpruned = max(UNPRUNED_EPOCHS, int(UNPRUNED_SHARE * epochs))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=unpruned)
    # Without the lock, two searches that start at once would both create the tables.
    with storage_errors(search), FileLock(paths.root() / "optuna.db.lock"):
        return optuna.create_study(
            study_name=search.name, storage=storage, direction="maximize", pruner=pruner, load_if_exists=True
        )


@contextmanager
def storage_errors(search: Search) -> Iterator[None]:
    """Turn a database's errors into a UserError without its password."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, ImportError, ValueError, RuntimeError) as error:
        cause = " ".join(without_secrets(f"{search.storage}: {error}", search.storage).split())[:240]
        raise UserError(f"--storage: {cause}; allowed: the address of a database, such as sqlite:///{{file}}") from None


def _fail_unfinished(study: "Study") -> None:
    """Mark trials that a killed process left running as failed; no other process works on this search."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _ask(study: "Study", search: Search, count: int) -> "Trial":
    """Ask for the trial after `count` finished ones; the first takes the values of params.yaml if allowed."""
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    # A sampler's own state is lost with its process, so each trial gets a new, seeded one.
    study.sampler = TPESampler(seed=int(np.random.SeedSequence([search.seed, count]).generate_state(1)[0]))
    if count == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(own_values(search))
    trial = study.ask()
    for dimension in search.space:
        dimension.suggest(trial)
    return trial


def own_values(search: Search) -> dict[str, Value]:
    """Return the values of params.yaml that the space allows."""
    own = current(search.params, search.space)
    return {each.key: own[each.key] for each in search.space if each.holds(own[each.key])}


def _make(study: "Study", trial: "Trial", search: Search, objective: Objective) -> "FrozenTrial":
    from optuna import TrialPruned
    from optuna.trial import TrialState

    try:
        value = trained(search, objective, trial)
    except TrialPruned:
        return study.tell(trial, state=TrialState.PRUNED)
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        raise
    return study.tell(trial, value)


def trained(search: Search, objective: Objective, trial: "Trial") -> float:
    """Train with a trial's values, and return its own value; its attributes say how it ended.

    Raises:
        TrialPruned: it is worse than others, or its loss is not a number.
    """
    from optuna import TrialPruned

    params = with_values(search.params, trial.params)
    epochs = params.run_sizes(search.run).epochs
    rows: list[dict[str, Any]] = []

    def report(epoch: Epoch) -> None:
        if not np.isfinite(epoch.value):
            raise DivergedError(f"the cross-entropy on val is {epoch.loss} after epoch {epoch.number}")
        rows.append({**epoch.row, "value": epoch.value})
        trial.report(epoch.value, epoch.number)
        if epoch.number < epochs and trial.should_prune():
            raise TrialPruned(f"pruned after epoch {epoch.number} of {epochs}, at {epoch.accuracy:.4f} on val")

    try:
        kept = objective(params, report)
    except (TrialPruned, DivergedError) as reason:
        trial.set_user_attr("reason", str(reason))
        raise TrialPruned from None
    finally:
        trial.set_user_attr("rows", rows)
    for name, number in (("epoch", kept.number), ("accuracy", kept.accuracy), ("loss", kept.loss)):
        trial.set_user_attr(name, number)
    return kept.value


@contextmanager
def _alone(name: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path = paths.stage_lock(f"search@{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{path}: another process runs this search; wait for it, or end it") from None
    try:
        yield
    finally:
        lock.release()
