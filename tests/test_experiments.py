"""The table of experiments: changed parameters, accuracy and age, at most 120 columns wide."""

from pathlib import Path

import pytest
from workspace import Workspace, clone

from cnnstudy.commands.compare import _most, results
from cnnstudy.commands.experiments import HEAD, WIDTH, ExperimentRow, _shortened, ordered, table
from cnnstudy.evaluation.results import Headline


def result(accuracy: float) -> Headline:
    return Headline("tuned", "test", accuracy, accuracy - 0.05, accuracy + 0.05, {})


ROWS = [
    ExperimentRow("b", "seeds=[1]", "2026-01-02 10:00", "faces", "alexnet", result(0.5)),
    ExperimentRow("a", "seeds=[2]", "2026-01-03 10:00", "faces", "alexnet", result(0.7)),
    ExperimentRow("c", "seeds=[3]", "2026-01-01 10:00"),
]


def test_the_most_accurate_comes_first_and_the_newest() -> None:
    rows = [*ROWS, ExperimentRow("d", "", "2026-01-04 10:00", "faces", "alexnet", result(0.6))]
    assert [row.name for row in ordered(rows, "accuracy")] == ["a", "d", "b", "c"]
    assert [row.name for row in ordered(rows, "when")] == ["d", "a", "b", "c"]
    other_study = ExperimentRow("e", "", "2026-01-04 10:00", "xray", "xraynet", result(0.9))
    assert [row.name for row in ordered([*rows, other_study], "accuracy")] == ["a", "d", "b", "e", "c"]
    assert [row.name for row in ordered(rows, "name")] == ["a", "b", "c", "d"]


def test_a_table_fits_whatever_is_in_it() -> None:
    long = ExperimentRow(
        "x" * 60, "studies.faces.training.learning_rate=0.1, " * 9, "2026-01-04 10:00", "faces", "y" * 60, result(0.6)
    )
    lines = list(table([*ROWS, long]))
    assert max(map(len, lines)) == WIDTH
    assert lines[0].split()[:2] == ["experiment", "what"]
    assert lines[2].split() == ["a", "seeds=[2]", "alexnet", "0.700", "0.650", "to", "0.750", "2026-01-03", "10:00"]
    assert lines[-1].count("…") == 3
    assert len(lines[1].split()) == len(HEAD) + 3


def test_a_row_shows_the_value_that_differs_whatever_the_key_s_length() -> None:
    assert _shortened("studies.plates.training.optimizer=adam") == "optimizer=adam"
    assert _shortened("seeds=[2]") == "seeds=[2]"
    assert _shortened("~external.xray-elsewhere") == "~external.xray-elsewhere"


def test_two_states_are_set_side_by_side_by_what_differs_most() -> None:
    before = {"same": result(0.5), "less": result(0.5), "gone": result(0.5), "more": result(0.5)}
    after = {"same": result(0.5), "less": result(0.4), "new": result(0.9), "more": result(0.8)}
    head, *lines = results(before, after)
    assert head.split() == ["net", "split", "before", "after", "difference"]
    assert [line.split() for line in lines] == [
        ["more", "test", "0.500", "0.800", "+0.300"],
        ["less", "test", "0.500", "0.400", "-0.100"],
        ["gone", "test", "0.500", "none"],
        ["new", "test", "none", "0.900"],
    ]
    assert results(before, before) == []


def test_a_section_has_no_more_lines_than_it_may() -> None:
    assert _most("Files", []) == ["the same"]
    assert _most("Files", list("abcde")) == list("abcde")
    assert _most("Files", list("abcdef")) == [*"abcd", "and 2 more, see `--all`"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A clone with two experiments, of which a stage has run, and no net is trained."""
    workspace = clone(tmp_path_factory.mktemp("clone"))
    for name, change in (("other-seed", "seeds=[7]"), ("other-net", "model=mobilenet")):
        settings = ("--temp", "--quiet", "--name", name, "--set-param", change)
        workspace.run("dvc", "exp", "run", *settings, "check@faces")
    return workspace


@pytest.mark.slow
def test_each_says_what_differs_and_when(workspace: Workspace) -> None:
    head, last, *rows = workspace.run("cnnstudy", "experiments", "--sort", "name").splitlines()
    assert [head.split()[0], last.split()[:2]] == ["experiment", ["last", "commit"]]
    assert [row.split()[:2] for row in rows] == [["other-net", "model=mobilenet"], ["other-seed", "seeds=[7]"]]
    assert all(len(row) <= WIDTH for row in rows)


@pytest.mark.slow
def test_an_experiment_is_compared_with_a_commit_by_its_name(workspace: Workspace) -> None:
    said = workspace.run("cnnstudy", "compare", "HEAD", "other-seed").splitlines()
    assert "  seeds=[7]" in said[said.index("Parameters") :]


@pytest.mark.slow
def test_those_of_other_commits_are_listed_on_demand(workspace: Workspace) -> None:
    (workspace.path / "README.md").write_text("other")
    workspace.run("git", "commit", "--quiet", "--all", "--message=other")
    assert "There is no experiment on the last commit" in workspace.run("cnnstudy", "experiments")
    assert "other-net" in workspace.run("cnnstudy", "experiments", "--all")


def test_without_parameters_it_is_one_line(tmp_path: Path) -> None:
    workspace = clone(tmp_path)
    (workspace.path / "params.yaml").write_text("seeds: []\n")
    (line,) = workspace.run("cnnstudy", "experiments", code=2).splitlines()
    assert line.startswith("error: params.yaml: ")
