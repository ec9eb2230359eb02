"""README and docs/: links lead somewhere, commands are ones that there are, and generated parts are current."""

import importlib.util
import itertools
import json
import re
import shlex
import shutil
import tomllib
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from dvc.cli.parser import get_main_parser
from dvc.utils.hydra import compose_and_dump, get_hydra_sweeps
from PIL import Image

from cnnstudy.cli import command_line
from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Words of an earlier version, and what is said instead.
AVOIDED = {
    r"drawn (chest |test |training )*(data|faces|films|images)": "synthetic",
    r"films?\b": "X-rays",
    r"nets? for phones": "LiteRT files",
    r"taken up": "resumed",
}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return [code for kind, code in BLOCK.findall(text(page)) if kind == language]


def loaded() -> ModuleType:
    """docs/generate.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shell_commands() -> list[tuple[str, list[str]]]:
    """Every command of a shell block with its page, as words; what follows a pipe or && is a command of its own."""
    found = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            lines = block.replace("\\\n", " ").replace("<this repository>", "REPOSITORY").splitlines()
            for line in lines:
                words = shlex.split(line, comments=True) if line.count('"') % 2 == 0 else []
                part: list[str] = []
                for word in [*words, "&&"]:
                    if word in ("&&", "|"):
                        found += [(name(page), part)] if part else []
                        part = []
                    elif part or not re.fullmatch(r"[A-Z]+=\S*", word):
                        part.append(word)
    return found


COMMANDS = shell_commands()


def of(program: str) -> list[Any]:
    return [
        pytest.param(words[1:], id=f"{page}: {' '.join(words)[:80]}") for page, words in COMMANDS if words[0] == program
    ]


def heading_ids(page: Path) -> set[str]:
    """Return the anchors that MkDocs and GitHub give to a page's headings."""
    prose = BLOCK.sub("", text(page))
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower())).strip("-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_internal_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", text(page))):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not anchor or anchor in heading_ids(target), link


def test_every_page_is_in_the_navigation_once() -> None:
    settings = text(ROOT / "mkdocs.yml")
    listed = re.findall(r"([\w/-]+\.md)$", settings, re.MULTILINE)
    assert len(listed) == len({*listed})
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]}
    assert pages == {each for each in listed if not (ROOT / each).is_file()}


def test_the_site_asks_nothing_of_the_network() -> None:
    settings = yaml.safe_load(text(ROOT / "mkdocs.yml"))
    assert settings["theme"]["font"] is False
    assert settings["plugins"] == ["search"]  # `offline` has every page load a script
    assert not re.search(r"https?://", re.sub(r"#.*", "", text(ROOT / "mkdocs.yml")))
    assert not any(blocks(page, "mermaid") for page in PAGES)  # the site would load what draws it


def test_the_readme_is_short() -> None:
    readme = text(ROOT / "README.md")
    assert len(readme.splitlines()) <= 120
    assert len(readme.encode()) <= 8_000


def test_generated_parts_are_current() -> None:
    generate = loaded()
    found = generate.pages()
    assert {match[1] for page in found for match in generate.MARKED.findall(text(page))} == {*generate.PARTS}
    assert [name(page) for page, current in found.items() if text(page) != current] == []


def test_the_readmes_picture_shows_the_current_numbers() -> None:
    generate = loaded()
    with Image.open(generate.PICTURE) as picture:
        assert json.loads(picture.info["Description"]) == generate.pictured()
    assert generate.PICTURE.stat().st_size < 60_000


def test_numbers_of_the_readme_are_those_of_the_summary() -> None:
    summary = json.loads(text(ROOT / "metrics/summary.json"))
    printed = re.findall(r"^(\S+) +(base|tuned) +test +(0\.\d{3}) ", text(ROOT / "README.md"), re.MULTILINE)
    assert printed
    for run, phase, number in printed:
        key = "test_accuracy" if phase == "base" else "tuned_test_accuracy"
        assert number == f"{summary[run][key]:.3f}", run


def test_findings_of_the_readme_are_those_of_the_ablations() -> None:
    readme = " ".join(text(ROOT / "README.md").split())
    files = [json.loads(text(ROOT / f"metrics/ablations/{each}.json")) for each in ("augmentation", "depth")]
    rows = {row["run"]: row for file in files for row in file["rows"]}
    constant = [row["test_accuracy_recalibrated"] for row in rows.values() if row["constant_moving"]]
    assert f"{len(constant)} of the {len(rows)} X-ray nets predict one class" in readme
    assert f"reach at least {min(constant):.3f}" in readme
    for row in (rows["xray-aug0"], rows["xray-aug4"]):
        accuracy, low, high = (f"{row[f'test_accuracy{each}']:.3f}" for each in ("", "_low", "_high"))
        assert re.search(rf"{accuracy} \([^)]*{low} to {high}\)", readme)


def test_there_are_commands_to_test() -> None:
    programs = [words[0] for _, words in COMMANDS]
    assert min(programs.count(each) for each in ("make", "cnnstudy", "dvc")) > 5


@pytest.mark.parametrize("words", of("make"))
def test_make_has_the_target(words: list[str]) -> None:
    targets = [word for word in words if "=" not in word]
    assert targets
    assert [target for target in targets if f"\n{target}:" not in text(ROOT / "Makefile")] == []


@pytest.mark.parametrize("words", of("cnnstudy"))
def test_cnnstudy_takes_the_arguments(words: list[str]) -> None:
    with redirect_stderr(StringIO()) as said:
        try:
            command_line().parse_args(words)
        except SystemExit:
            pytest.fail(said.getvalue())


@pytest.mark.parametrize("words", of("dvc"))
def test_dvc_takes_the_arguments(words: list[str]) -> None:
    with redirect_stderr(StringIO()) as said:
        try:
            get_main_parser().parse_args(words)
        except SystemExit:
            pytest.fail(said.getvalue())


def file_of(block: str) -> Path:
    """The file that a YAML block is to be saved as. Hydra reads the package from the first line only."""
    written = re.match(r"(?:# @package \S+\n)?# (\S+)\n", block)
    assert written, "a YAML block names its file at the beginning"
    return Path(written[1])


def models_in(page: Path) -> list[str]:
    """Return the YAML blocks of a page that belong into conf/."""
    return [block for block in blocks(page, "yaml") if file_of(block).parts[0] == "conf"]


@pytest.fixture(scope="session")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """conf/ with the files that the pages have one write."""
    folder = tmp_path_factory.mktemp("docs") / "conf"
    shutil.copytree(ROOT / "conf", folder)
    for page in PAGES:
        for block in models_in(page):
            (folder.parent / file_of(block)).write_text(block)
    return folder


def composed(conf: Path, target: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> Params:
    compose_and_dump(target, str(conf), None, "config", "", overrides)
    monkeypatch.chdir(conf.parent)
    return read_params(target)


def overrides_of(words: list[str]) -> list[str]:
    """Return the overrides in a command; of a sweep, those of its first experiment."""
    if words[0] == "params":
        return words[1:]
    given = [value for flag, value in itertools.pairwise(words) if flag == "-S"]
    return get_hydra_sweeps({"params.yaml": given})[0]["params.yaml"] if given else []


SETTING = [each for program in ("dvc", "cnnstudy") for each in of(program) if overrides_of(each.values[0])]


@pytest.mark.parametrize("words", SETTING)
def test_what_a_command_sets_is_allowed(
    words: list[str], conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert composed(conf, tmp_path / "params.yaml", overrides_of(words), monkeypatch).all_runs


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_in_yaml_blocks_are_models_that_compose(
    page: Path, conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in models_in(page):
        file = file_of(block)
        params = composed(conf, tmp_path / "params.yaml", [f"model={file.stem}"], monkeypatch)
        assert file.parent == Path("conf/model")
        assert {*params.models.values()} == {file.stem}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_parse(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, name(page), "exec")


def test_the_tutorials_net_is_built_for_its_study() -> None:
    _, net, *_ = blocks(ROOT / "docs/your-own-study.md", "python")
    space: dict[str, Any] = {}
    exec(compile(net, "lenet5.py", "exec"), space)
    model = space["build"]((32, 32, 3), 10)
    assert model.output_shape == (None, 10)


def test_the_new_format_lists_its_images(tmp_path: Path) -> None:
    (source,) = blocks(ROOT / "docs/real-data.md", "python")
    space: dict[str, Any] = {}
    exec(compile(source, "pairs.py", "exec"), space)
    (tmp_path / "pairs.txt").write_text("b.png cat\na.png dog\n")
    (tmp_path / "a.png").touch()
    found = space["find"](tmp_path, {"cat", "dog"})
    assert [(each.path, each.label, bool(each.reason)) for each in found] == [
        ("a.png", "dog", False),
        ("b.png", "cat", True),
    ]


def test_the_new_metric_is_computed() -> None:
    (source,) = blocks(ROOT / "docs/extend/metric.md", "python")
    space: dict[str, Any] = {"np": np}
    exec(compile(source, "scores.py", "exec"), space)
    probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    assert space["top2_accuracy"](np.array([1, 2]), probabilities) == 0.5
    assert space["top2_accuracy"](np.array([1, 0]), probabilities[:, :2]) is None


def test_every_package_has_a_reason() -> None:
    settings = tomllib.loads(text(ROOT / "pyproject.toml"))
    extras = settings["project"]["optional-dependencies"]
    wanted = [*settings["project"]["dependencies"], *settings["dependency-groups"]["docs"]]
    wanted += [each for packages in extras.values() for each in packages]
    names = {re.split(r"[>=<\[]", each)[0] for each in wanted if "[and-cuda]" not in each} - {"cnnstudy"}
    rows = [line.split("|")[1] for line in text(ROOT / "docs/reference/dependencies.md").splitlines() if "|" in line]
    named = {each.split("[")[0] for row in rows for each in re.findall(r"`(.+?)`", row)}
    assert named - {*extras, "docs"} == names


def said() -> dict[str, str]:
    """Return all text for readers: README, documentation, command-line help, and the templates of the page."""
    templates = [*(ROOT / "src/cnnstudy/report").glob("*.html"), *(ROOT / "src/cnnstudy/published").glob("*.html")]
    found = {name(page): text(page) for page in [*PAGES, ROOT / "LOG.md", ROOT / "CONTRIBUTING.md", *templates]}
    return found | {"cnnstudy --help": loaded().commands(), "make help": loaded().targets()}


@pytest.mark.parametrize("pattern", AVOIDED)
def test_the_words_are_those_of_the_field(pattern: str) -> None:
    found = {
        where: match[0]
        for where, content in said().items()
        if (match := re.search(rf"\b{pattern}", " ".join(content.split()), re.IGNORECASE))
    }
    assert found == {}, f"say {AVOIDED[pattern]}"


def test_the_tutorial_shows_the_files_that_its_test_runs() -> None:
    for page, folder in (("docs/your-own-study.md", "digits"), ("docs/extend/paper.md", "digits/paper")):
        files = [path for path in sorted((ROOT / "tests" / folder).iterdir()) if path.is_file()]
        assert files
        for path in files:
            assert path.read_text(encoding="utf-8") in text(ROOT / page), path.name
