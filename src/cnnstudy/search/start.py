"""`cnnstudy search`: from the command line to the best trial."""

import argparse
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cnnstudy.cluster.coordinator import Options, coordinating
from cnnstudy.config.checks import require_classes_alone
from cnnstudy.config.compose import overrides_of
from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.search import space, trials
from cnnstudy.search.trials import Epoch, Objective, Report, Search
from cnnstudy.tracking import address
from cnnstudy.workspace.parallel import StageError
from cnnstudy.workspace.terminal import say

if TYPE_CHECKING:
    from optuna import Study


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
    storage = arguments.storage or trials.default_storage()
    return Search(run, params, space.read_space(space_file(params, arguments), params, run), arguments.seed, storage)


def space_file(params: Params, arguments: argparse.Namespace) -> Path:
    """Return the file of the search space requested on the command line."""
    found: Path = arguments.space or space.default_file(params.all_runs[arguments.run].study)
    return found


def search(job: Search, count: int) -> None:
    """Run trials until `count` are finished, and print the best and the command that applies it.

    Raises:
        UserError: another process runs this search, or its database can't be opened.
        MemoryError: a trial needs more memory than there is.
    """
    from cnnstudy.search.record import Recorder

    _close(job, trials.run(job, count, objective_of(job), Recorder(job)))


def search_on(job: Search, count: int, options: Options, space_file: Path) -> None:
    """Run trials on a cluster until `count` are finished; otherwise as `search`.

    Raises:
        UserError: the cluster can't be used, or the database can't be opened.
        SystemExit: with code 1 if a trial failed.
    """
    from cnnstudy.search import shared
    from cnnstudy.search.record import Recorder

    if job.run in job.params.pretrained:
        raise UserError(f"--cluster: {job.run}, whose weights are in a file, found; allowed: a key of runs")
    if not Path(space_file).resolve().is_relative_to(Path.cwd()):
        raise UserError(f"--space: {space_file} found; allowed with --cluster: a file of this repository")
    study, record, stage = shared.plan(job, count), Recorder(job), f"train@{job.run}"
    arguments = (job.run, str(space_file), str(job.seed))
    with coordinating(options, [], [stage], lambda name, line: say(f"{name}: {line}")) as cluster:
        try:
            cluster.everywhere(stage, shared.__name__, *arguments, **{shared.STORAGE: job.storage})
        except StageError as error:
            say(f"error: {error}", sys.stderr)
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            cluster.end()
            raise
        finally:
            record(study, None)
    _close(job, study)


def objective_of(job: Search) -> Objective:
    """Return the objective of a search, which trains in this process."""
    from cnnstudy.training import environment

    environment.configure(job.params.compute.threads)

    def objective(params: Params, report: Report) -> Epoch:
        from cnnstudy.search import trainer

        return trainer.train(params, job.run, report)

    return objective


def _close(job: Search, study: "Study") -> None:
    """Print the outcome of a search."""
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
