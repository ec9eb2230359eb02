"""Parameters and results of a commit, an experiment or the workspace."""

import json
from collections.abc import Iterator

from cnnstudy.config.compose import overrides
from cnnstudy.config.params import parse_params, read_params
from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.evaluation.results import Headline, headline
from cnnstudy.workspace import dvc, files, paths
from cnnstudy.workspace.git import git

# Paths whose edits change results without showing in the settings.
CODE = ("src", "conf", "dvc.yaml")
OTHER_VERSION = "parameters of another version"


def parameters(revision: str | None) -> Params | None:
    """Return the parameters of a revision, or of the workspace; None if this version can't read them.

    Raises:
        UserError: the workspace's can't be read, or there is no such revision.
    """
    if revision is None:
        return read_params()
    text = git("show", f"{dvc.commit_of(revision)}:./{paths.PARAMS}")
    try:
        return parse_params(text, paths.PARAMS)
    except UserError:
        return None


def settings(before: Params | None, after: Params | None) -> list[str]:
    """Return the overrides that lead `dvc exp run -S` from `before` to `after`, if conf/ is the same.

    Where `after` has a default again, its value is given.
    """
    if before == after:
        return []
    try:
        then, now = overrides(before) if before else [], overrides(after) if after else [OTHER_VERSION]
    except UserError:
        return [OTHER_VERSION]
    named = {_key(change) for change in now}
    # A study that the new choice of models leaves out has no choice of data.
    values = files.flat(after.model_dump(exclude_unset=True)) if after else {}
    dropped = [
        f"{key}={values[key]}" if key in values else f"~{key}"
        for key in map(_key, then)
        if key not in named and not key.endswith("_data")
    ]
    return [*(each for each in now if each not in then), *dropped]


def code_edits(before: str, after: str | None) -> int:
    """Return how many files of code differ from one revision to another, or to the workspace."""
    return len(git("diff", "--name-only", before, *([after] if after else []), "--", *CODE).splitlines())


def results(params: Params | None, revision: str | None) -> dict[str, Headline]:
    """Return the result of each run whose metrics are in DVC's cache or a remote."""
    return dict(_results(params, revision)) if params else {}


def _results(params: Params, revision: str | None) -> Iterator[tuple[str, Headline]]:
    fs = dvc.file_system(revision)
    for run in params.all_runs:
        try:
            with fs.open(paths.run_metrics(run).as_posix(), encoding="utf-8") as file:
                metrics = json.load(file)
            yield run, headline(metrics, params.study_of(run).primary_split)
        except (OSError, ValueError, KeyError):  # not made, not fetched, or of another version
            continue


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
