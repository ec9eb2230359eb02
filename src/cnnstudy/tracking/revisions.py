"""Records of HEAD and of the experiments on it, from git and DVC."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.tracking import build
from cnnstudy.tracking.write import RecordSource, Tally, cause, record_all, records, tidy_up
from cnnstudy.workspace import dvc, paths
from cnnstudy.workspace.terminal import say

# The files needed of a run's models: each training's history and machine settings.
OF_MODELS = ("history.csv", paths.FACTS.name)
# The files needed of a study's data.
OF_DATA = ("samples.csv", "splits.csv")


@dataclass(frozen=True)
class Revision:
    """A commit, and the name of its DVC experiment, '' if it has none."""

    commit: str
    experiment: str


def record_everything() -> tuple[int, int]:
    """Record HEAD, every experiment on it (`dvc exp list`), and what the workspace has beyond them.

    If several have a run, its place is the first in this order: HEAD, experiments from the oldest, workspace. Its
    numbers are the workspace's if that has the run: they may have been recomputed since.

    Returns:
        How many runs, ablations and pages are in the store now, and how many there are.

    Raises:
        UserError: the workspace's params.yaml can't be read.
    """
    params = read_params()
    with _named_root():
        return _record_in_order(params)


@contextmanager
def _named_root() -> Iterator[None]:
    """Set DVC_ROOT, by which the store finds the repository's root, while experiments are read in other folders."""
    before = os.environ.get("DVC_ROOT")
    os.environ["DVC_ROOT"] = str(paths.root())
    try:
        yield
    finally:
        del os.environ["DVC_ROOT"]
        if before is not None:
            os.environ["DVC_ROOT"] = before


def _record_in_order(params: Params) -> tuple[int, int]:
    tally = Tally()
    own = records(params, RecordSource(build.environment_tags(), has_models=True))
    is_whole = len(own) == len(params.all_runs) + len(params.ablations) + 1
    head = _head()
    # An unchanged workspace that has everything is HEAD, and quicker to read.
    is_head = is_whole and head is not None and not _changed()
    places = {record.identity: record.where if is_head else {} for record in own if record}
    for revision in ([head] if head and not is_head else []) + _experiments():
        if not tally.has_failed:
            _record_revision(revision, tally, places)
    record_all((record and replace(record, where=places[record.identity] or record.where) for record in own), tally)
    if not tally.has_failed:
        tidy_up()
    return tally.stored, tally.total


def _head() -> Revision | None:
    commit = build.git("rev-parse", "HEAD")
    return Revision(commit, "") if commit else None


def _changed() -> bool:
    """Return whether the workspace's parameters or outputs differ from HEAD's."""
    return bool(build.git("status", "--porcelain", "--", str(paths.PARAMS), str(paths.LOCK)))


def _experiments() -> list[Revision]:
    """Return the experiments on HEAD, the oldest first."""
    if not build.git("for-each-ref", "refs/exps"):
        return []
    found = [Revision(commit, name) for commit, name in dvc.experiments()]
    return sorted(
        found, key=lambda each: (build.git("show", "--no-patch", "--format=%ct", each.commit), each.experiment)
    )


def _record_revision(revision: Revision, tally: Tally, places: dict[tuple[str, str], dict[str, str]]) -> None:
    """Record what a revision has beyond the workspace, whose identities are in `places`; fill in the place of the rest.

    A revision that can't be read or fetched is skipped with a warning.
    """
    branch = "" if revision.experiment else build.git("branch", "--show-current")
    try:
        with (
            dvc.user_errors("DVC", "a revision whose files are in the cache or in a remote"),
            _checked_out(revision) as folder,
            chdir(folder),
        ):
            where = build.place_tags(revision.commit, branch, revision.experiment)
            found = records(read_params(), RecordSource(where, has_models=False))
            for record in found:
                if record and record.identity in places:
                    places[record.identity] = places[record.identity] or where
            record_all((each for each in found if each is None or each.identity not in places), tally)
    # It is from another version of this program, or its files are in a remote that doesn't answer.
    except (UserError, OSError) as error:
        say(f"warning: {revision.experiment or 'HEAD'}: not recorded in MLflow ({cause(error)})", sys.stderr)


@contextmanager
def _checked_out(revision: Revision) -> Iterator[Path]:
    """Yield a folder with a commit's recorded files, as far as git, DVC's cache or its remote has them."""
    with tempfile.TemporaryDirectory(prefix="cnnstudy-") as name:
        fs = dvc.file_system(revision.commit)
        for path in _wanted(fs):
            target = Path(name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # a run without its files is not recorded
                fs.get_file(path, str(target))
        yield Path(name)


def _wanted(fs: "dvc.AbstractFileSystem") -> list[str]:
    alone = [paths.PARAMS, paths.LOCK, paths.ENVIRONMENT, paths.REPORT]
    found = [path for folder in ("metrics", "plots/runs", "plots/ablations") for path in dvc.files_below(fs, folder)]
    found += [path for path in dvc.files_below(fs, "data") if PurePath(path).name in OF_DATA]
    found += dvc.files_below(fs, str(paths.REFERENCE))
    found += [path for path in dvc.files_below(fs, "models") if path.endswith(OF_MODELS)]
    return [path.as_posix() for path in alone if fs.exists(path.as_posix())] + found
