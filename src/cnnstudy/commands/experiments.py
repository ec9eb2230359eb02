"""`cnnstudy experiments`: changed parameters and results of each experiment, in a table that fits a terminal."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cnnstudy.commands.history import OTHER_VERSION, code_edits, parameters, results, settings
from cnnstudy.commands.progress import aligned
from cnnstudy.config.schema import Params
from cnnstudy.evaluation.results import Headline
from cnnstudy.workspace import dvc
from cnnstudy.workspace.git import git, require_repository
from cnnstudy.workspace.terminal import say

Order = Literal["accuracy", "when", "name"]
HEAD = ("experiment", "what differs", "best net", "accuracy", "95 % interval", "when")
WIDTH = 120
# Characters of an experiment's and of a net's name at most.
NAME, NET = 22, 24
NONE = "-"


@dataclass(frozen=True)
class ExperimentRow:
    """A state of the project, with the best evaluated net of a study, if any."""

    name: str
    differs: str
    when: str
    study: str = ""
    net: str = NONE
    result: Headline | None = None


def list_experiments(order: Order, of_all_commits: bool) -> None:
    """Print a row for HEAD, the workspace and each experiment on HEAD or on any commit, and for each study in it.

    Raises:
        UserError: there is no commit, or params.yaml can't be read.
    """
    require_repository()
    base = parameters("HEAD")
    fixed = [*_rows("last commit", "HEAD", base)]
    if parameters(None) != base:
        fixed += _rows("workspace", None, base)
    found = [row for commit, name in dvc.experiments(of_all_commits) for row in _rows(name, commit, base)]
    for line in table([*fixed, *ordered(found, order)]):
        say(line)
    if not found:
        where = "any commit" if of_all_commits else "the last commit; `--all` lists those on others"
        say(f"There is no experiment on {where}. `dvc exp run --temp -S KEY=VALUE` makes one.")


def ordered(rows: list[ExperimentRow], order: Order) -> list[ExperimentRow]:
    """Sort rows: the most accurate first, study by study; the newest first; or by name."""
    rows = sorted(rows, key=lambda row: row.name)
    if order == "accuracy":
        rows.sort(key=lambda row: (row.result is None, row.study, -row.result.value if row.result else 0.0))
    elif order == "when":
        rows.sort(key=lambda row: row.when, reverse=True)
    return rows


def table(rows: list[ExperimentRow]) -> Iterator[str]:
    """Yield the lines of a table of `WIDTH` characters at most; the column `what differs` is cut to fit."""
    cells = [[_cut(row.name, NAME), row.differs, _cut(row.net, NET), *_numbers(row.result), row.when] for row in rows]
    columns = zip(HEAD, *cells, strict=True)
    taken = sum(max(map(len, column)) for i, column in enumerate(columns) if i != 1) + 2 * (len(HEAD) - 1)
    for row in cells:
        row[1] = _cut(row[1], WIDTH - taken)
    yield from aligned([HEAD, *map(tuple, cells)])


def _rows(name: str, revision: str | None, base: Params | None) -> Iterator[ExperimentRow]:
    params = parameters(revision)
    when = git("show", "--no-patch", "--format=%cd", "--date=format:%Y-%m-%d %H:%M", revision) if revision else "now"
    changes = list(map(_shortened, settings(base, params))) if params else [OTHER_VERSION]
    if count := code_edits("HEAD", revision):
        changes.append(f"code ({count} file{'s' * (count > 1)})")
    state = name, ", ".join(changes) or NONE, when.strip()
    best: dict[str, tuple[str, Headline]] = {}
    for run, result in results(params, revision).items():
        assert params is not None
        study = params.all_runs[run].study
        # Of a study in which some runs learn values, the most accurate classifier if there is one.
        rank = result.metric == "accuracy", result.value
        if study not in best or rank > (best[study][1].metric == "accuracy", best[study][1].value):
            best[study] = run, result
    if not best:
        yield ExperimentRow(*state)
    for study, (run, result) in best.items():
        yield ExperimentRow(*state, study, f"{run}, {result.phase}" if result.phase != "base" else run, result)


def _shortened(change: str) -> str:
    """Return an override without the sections before the last part of its key: the value is what tells rows apart."""
    key, equals, value = change.partition("=")
    return f"{key.split('.')[-1]}{equals}{value}" if equals else change


def _numbers(result: Headline | None) -> tuple[str, str]:
    if result is None:
        return NONE, NONE
    return result.text, f"{result.low:.3f} to {result.high:.3f}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
