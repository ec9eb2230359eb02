"""Completeness of a paper's file: all files, tables and parts of the page that it names exist."""

from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from built import params

from cnnstudy.config.params import read_params
from cnnstudy.published import reference
from cnnstudy.published.paper import Paper, paper_of
from cnnstudy.published.verdicts import Findings

ROOT = Path(__file__).parents[2]
PUBLISHED, FOLDER = ROOT / "src/cnnstudy/published", ROOT / "data/reference"
PAPERS: dict[str, Paper] = {
    name: import_module(f"cnnstudy.published.{name}").PAPER for name in ("hewitt_gunes", "reshi")
}


@pytest.fixture(params=PAPERS)
def paper(request: pytest.FixtureRequest) -> Paper:
    return PAPERS[request.param]


@pytest.fixture
def numbers(paper: Paper) -> pd.DataFrame:
    return reference.read(FOLDER, paper.files)


def test_every_paper_has_its_module_and_its_contradictions() -> None:
    modules = {path.stem for path in PUBLISHED.glob("*.py") if "PAPER = Paper(" in path.read_text(encoding="utf-8")}
    assert modules == {path.stem for path in PUBLISHED.glob("*.html")} == set(PAPERS)


def test_a_study_names_its_paper_or_none() -> None:
    studies = params(studies__faces__paper=None).studies
    assert paper_of(studies["xray"]) is PAPERS["reshi"]
    assert paper_of(studies["faces"]) is None


def test_its_numbers_and_the_reports_are_in_its_files(paper: Paper, numbers: pd.DataFrame) -> None:
    assert set(numbers["source"]) == {"report", paper.source}
    assert len(set(paper.files)) == len(paper.files)
    for name in paper.files:
        assert not reference.read(FOLDER, [name]).empty
    assert numbers["study"].nunique() == 1


def test_every_table_that_it_names_is_in_its_files(paper: Paper, numbers: pd.DataFrame) -> None:
    report = set(numbers[numbers["source"] == "report"]["table"])
    assert paper.doubtful
    assert set(paper.doubtful) <= report
    assert {table for tables in paper.ablations.values() for table in tables.values()} <= report


def test_every_metric_that_it_prints_is_in_its_files(paper: Paper, numbers: pd.DataFrame) -> None:
    printed = numbers[(numbers["source"] == paper.source) & (numbers["split"] == paper.split)]
    assert {theirs for _, theirs in paper.metrics.values()} <= set(printed["metric"])


def test_claims_name_only_tables_that_are_in_its_files(paper: Paper, numbers: pd.DataFrame) -> None:
    claims = paper.claims(Findings(params(), {}, numbers, reference.read_layers(FOLDER), {}))
    assert len({claim.says for claim in claims}) == len(claims) >= 5
    assert all(claim.where and claim.published for claim in claims)
    assert {claim.verdict for claim in claims} == {"cannot tell"}


def test_its_ablations_are_those_of_the_shipped_parameters(paper: Paper, numbers: pd.DataFrame) -> None:
    """A position that the report prints is one on the axis, and its table has the accuracy of the run there."""
    shipped = read_params(ROOT / "params.yaml")
    for name, tables in paper.ablations.items():
        runs = {position: run for run, position in shipped.ablations[name].runs.items()}
        for position, table in tables.items():
            cells = {"source": "report", "run": runs[position], "split": paper.split}
            assert reference.find(numbers, **cells, table=table)
    for name in paper.beside_ablations:
        for run in shipped.ablations[name].runs:
            assert reference.find(numbers, source=paper.source, run=run, split=paper.split)


def test_the_studies_that_name_it_ship_with_its_classes(paper: Paper) -> None:
    shipped = read_params(ROOT / "params.yaml").studies.values()
    assert [set(study.classes) for study in shipped if paper_of(study) is paper] == [set(paper.classes)]


def test_its_parts_of_the_page_are_there(paper: Paper) -> None:
    page = (ROOT / "src/cnnstudy/report/page.html").read_text(encoding="utf-8")
    kinds = set(reference.read_contents(FOLDER)["kind"])
    assert set(paper.contents) <= kinds
    for part in paper.contents.values():
        assert f'id="{part}-{{{{ study.name }}}}"' in page
