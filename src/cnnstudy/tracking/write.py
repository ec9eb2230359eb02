"""Write runs, ablations and pages into the MLflow store, without ever failing a stage or delaying it for long."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.tracking import build, keys, store, upsert
from cnnstudy.tracking.address import without_secrets
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.terminal import say

Result = TypeVar("Result")

# The variable that makes stages leave their record to the rebuild that runs them.
LATER = "CNNSTUDY_TRACK_LATER"
# Seconds that a stage, a rebuild and a user's command wait for each record; and how many times as long if the store
# must be created first.
LIMIT = 10.0
REBUILD_LIMIT = 60.0
USER_LIMIT = 600.0
NEW_STORE = 6
# How many names a line holds.
NAMED = 8
REMEDY = "`cnnstudy track` records it later"


def record_run(params: Params, run: str, is_exported: bool = False) -> None:
    """Record a run, or leave its record as it is if nothing changed; a failure causes one warning on stderr.

    It takes at most `LIMIT` seconds. `is_exported` says that its LiteRT files have just been made and are not in
    dvc.lock yet.
    """
    _record(
        lambda: build.run_record(params, run, keys.identity(run, params), build.environment_tags(), is_exported),
        run,
    )


def record_ablation(params: Params, name: str) -> None:
    """Record an ablation as a run of its own; limit and failures as in `record_run`."""
    _record(lambda: build.ablation_record(params, name, build.environment_tags()), f"ablation {name}")


def record_page(params: Params) -> None:
    """Record the page as a run of its own, in an experiment of its own; limit and failures as in `record_run`."""
    _record(lambda: build.page_record(params, build.environment_tags()), "page")


def _record(make: Callable[[], build.Record], name: str) -> None:
    if LATER not in os.environ and (record := _made(make, name)):
        _stored(record, LIMIT)


def record_workspace(params: Params) -> None:
    """Record every run, ablation and page that the workspace has; failures cause warnings on stderr."""
    tally = Tally()
    record_all(records(params, RecordSource(build.environment_tags(), has_models=True)), tally, REBUILD_LIMIT)
    if tally.stored < tally.total:
        stored = f"MLflow has {tally.stored} of {tally.total} records"
        say(f"warning: {stored}; `cnnstudy track` records the rest", sys.stderr)


@dataclass(frozen=True)
class RecordSource:
    """The identity under which a folder's runs are recorded.

    `where` are the tags of `build.place_tags`. `has_models` says whether the models are in the folder, so that runs
    that are not in dvc.lock can be identified too.
    """

    where: dict[str, str]
    has_models: bool


@dataclass
class Tally:
    """Progress of writing records: written, total, identities of those written, and whether the store has failed."""

    stored: int = 0
    total: int = 0
    known: set[tuple[str, str]] = field(default_factory=set)
    has_failed: bool = False


def record_all(found: Iterable[build.Record | None], tally: Tally, limit: float = USER_LIMIT) -> None:
    """Record those of `found` (see `records`) that are not in `tally` yet; stop once the store has failed.

    A record takes at most `limit` seconds.
    """
    for record in found:
        if record and record.identity in tally.known:
            continue
        tally.total += 1
        if record is None or tally.has_failed:
            continue
        if _stored(record, limit):
            tally.stored += 1
            tally.known.add(record.identity)
        else:
            tally.has_failed = True  # the next one would fail like it, after as long a wait


def records(params: Params, source: RecordSource) -> list[build.Record | None]:
    """Return records of the runs, ablations and page in the working directory; None for damaged files.

    Left out are results without the study's samples, as after a failed ingest, and results whose files or parameters
    differ from dvc.lock: they belong to another commit, as after `git checkout` without `dvc checkout`, or are out of
    date.
    """
    lock = keys.read_lock()

    def run_maker(run: str, known: keys.RunIdentity | None) -> Callable[[], build.Record]:
        return lambda: build.run_record(params, run, known or keys.identity(run, params), source.where)

    def ablation_maker(name: str) -> Callable[[], build.Record]:
        return lambda: build.ablation_record(params, name, source.where)

    makers = {}
    for run in params.all_runs:
        has_data = paths.samples(params.all_runs[run].study).exists()
        if has_data and build.has_run(params, run) and _is_run_locked(lock, params, run, source.has_models):
            known = keys.lock_identity(lock, run, params)
            if known or source.has_models:
                makers[run] = run_maker(run, known)
    for name in params.ablations:
        outputs = (paths.ablation_metrics(name), paths.ablation_plots(name))
        has_data = paths.samples(params.ablations[name].study).exists()
        if has_data and build.has_ablation(name) and _is_locked(lock, params, [f"ablate@{name}"], outputs):
            makers[f"ablation {name}"] = ablation_maker(name)
    if build.has_page() and _is_locked(lock, params, ["report"], (paths.REPORT, paths.SUMMARY)):
        makers["page"] = lambda: build.page_record(params, source.where)
    return [_made(make, name) for name, make in makers.items()]


def _is_run_locked(lock: dict[str, Any], params: Params, run: str, has_models: bool) -> bool:
    models = (paths.model(run),) if has_models else ()
    return _is_locked(lock, params, keys.stages_of(params, run), (paths.run_metrics(run), *models))


def _is_locked(lock: dict[str, Any], params: Params, stages: list[str], files_of_last: tuple[Path, ...]) -> bool:
    """Return whether the parameters and files of the last stage agree with dvc.lock, if the stage is in it."""
    last = stages[-1]
    if last not in lock.get("stages", {}):
        return True
    md5s = {path: keys.directory_md5(path) if path.is_dir() else files.md5(path) for path in files_of_last}
    is_same = all(keys.locked(lock, last, path) == md5 for path, md5 in md5s.items())
    return is_same and not keys.changed(lock, params, stages)


def tidy_up() -> None:
    """Mark runs of killed trainings as ended, and retire runs of earlier versions."""
    try:
        store.configure()
        within(LIMIT, upsert.end_abandoned)
        names = within(LIMIT, upsert.retire_earlier)
    except Exception as error:  # as in `_stored`
        _warn("killed trainings", error, REMEDY)
        return
    if names:
        some = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        say(f"MLflow also has runs of an earlier version of cnnstudy, which the views leave out: {some}")


def _made(make: Callable[[], build.Record], name: str, remedy: str = REMEDY) -> build.Record | None:
    try:
        return make()
    except Exception as error:  # a damaged file is reported by the stage that reads it
        _warn(name, error, remedy)
        return None


def record_made(make: Callable[[], build.Record], name: str, remedy: str) -> bool:
    """Record the result of `make`, and return whether the store has it; `remedy` ends the warning if it has not."""
    record = _made(make, name, remedy)
    return record is not None and _stored(record, LIMIT, remedy)


def _stored(record: build.Record, limit: float, remedy: str = REMEDY) -> bool:
    try:
        store.configure()
        import mlflow  # noqa: F401  takes seconds, which don't count as the store's

        seconds = NEW_STORE * limit if store.is_new() else limit
        within(seconds, lambda: upsert.upsert(record, 0.8 * seconds))
    except Exception as error:  # whatever the store raises: the stage's own outputs are whole
        _warn(record.name, error, remedy)
        return False
    return True


def _warn(name: str, error: Exception, remedy: str) -> None:
    say(f"warning: {name}: not recorded in MLflow ({cause(error)}); {remedy}", sys.stderr)


def cause(error: Exception) -> str:
    """Return a store's error on one line, without the secrets of the store's address."""
    return " ".join(without_secrets(str(error), store.uri()).split())[:240]


@contextmanager
def user_errors(remedy: str) -> Iterator[None]:
    """Turn a store's errors, and those in its address, into a UserError that ends with `remedy`."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except UserError:
        raise
    except (MlflowException, SQLAlchemyError, ImportError, ValueError, TimeoutError) as error:
        raise UserError(f"{store.shown()}: {cause(error)}{remedy}") from error


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """Return the result of `work`, or raise TimeoutError after some seconds while the work goes on."""
    results: list[Result] = []
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            results.append(work())
        except Exception as error:
            errors.append(error)

    thread = Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    if errors:
        raise errors[0]
    return results[0]
