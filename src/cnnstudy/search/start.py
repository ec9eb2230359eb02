"""`cnnstudy search`: from the command line to the best trial."""

import argparse
import shlex
from importlib.util import find_spec

from cnnstudy.config.checks import require_classes_alone
from cnnstudy.config.compose import overrides_of
from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.search import space, trials
from cnnstudy.search.trials import Epoch, Report, Search
from cnnstudy.tracking import address
from cnnstudy.workspace.terminal import say


def checked(params: Params, arguments: argparse.Namespace) -> Search:
    """Return the search requested on the command line.

    Raises:
        UserError: an argument or the space's file holds a value that is not allowed, or Optuna is missing.
    """
    if find_spec("optuna") is None:
        raise UserError("optuna: not installed, but needed for a search; `pip install -e '.[search]'` installs it")
    run = arguments.run
    require_classes_alone(params, [run])
    if arguments.trials < 1:
        raise UserError(f"--trials: {arguments.trials} found; allowed: 1 or more")
    if arguments.seed < 0:
        raise UserError(f"--seed: {arguments.seed} found; allowed: 0 or more")
    file = arguments.space or space.default_file(params.all_runs[run].study)
    storage = arguments.storage or trials.default_storage()
    return Search(run, params, space.read_space(file, params, run), arguments.seed, storage)


def search(job: Search, count: int) -> None:
    """Run trials until `count` are finished, and print the best and the command that applies it.

    Raises:
        UserError: another process runs this search, or its database can't be opened.
        MemoryError: a trial needs more memory than there is.
    """
    from cnnstudy.search.record import Recorder
    from cnnstudy.training import environment

    environment.configure(job.params.compute.threads)

    def objective(params: Params, report: Report) -> Epoch:
        from cnnstudy.search import trainer

        return trainer.train(params, job.run, report)

    study = trials.run(job, count, objective, Recorder(job))
    ended, found = trials.finished(study), trials.best(study)
    pruned = sum(trial.state.name == "PRUNED" for trial in ended)
    where = f"{study.study_name} in {address.shown(job.storage)}"
    say(f"trials: {len(ended)}, of these pruned: {pruned}; {where}")
    if found is None:
        say("no trial was trained to its end")
        return
    say(f"best: {trials.called(found)}, {trials.outcome(found)}; {trials.shown(found.params)}")
    say("train a run with these values (as the best of many trials, this accuracy is too high):")
    say(f"  {command(job, found.params)}")


def command(job: Search, values: dict[str, space.Value]) -> str:
    """Return the command that trains the searched run with some values and leaves the workspace alone."""
    fixed = [each for each in overrides_of(job.params, job.run) if each.partition("=")[0] not in values]
    overrides = [*fixed, *(f"{key}={value}" for key, value in values.items())]
    return " ".join(["dvc exp run --temp", *(f"-S {shlex.quote(each)}" for each in overrides)])
