"""Files for contributors: licence, citation, contribution guide, continuous integration, containers."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

ROOT = Path(__file__).parents[1]
# What whoever knows the project from outside looks for.
TOP = ("dvc.yaml", "params.yaml", "src", "data", "metrics", "plots", "tests", "pyproject.toml")
CODE = re.compile(r"^```\w*\n(.*?)^```$|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
# Where a command begins: on a line, after another one, in an instruction of a Dockerfile, or as a value.
MAKE = re.compile(r"(?:^|&& |RUN |: \"?)(?:[A-Z_]+=\S+ )*make (?:--[a-z]+ )*([a-z-]+)", re.MULTILINE)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def settings(name: str) -> Any:
    return yaml.safe_load(text(name))


def git(*arguments: str, given: str = "", code: int = 0) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout.splitlines()


def tracked() -> list[str]:
    """List the files that a commit of everything would hold."""
    return [name for name in git("ls-files", "--cached", "--others", "--exclude-standard") if (ROOT / name).is_file()]


def recipe(target: str) -> list[str]:
    """The commands of a target in the Makefile."""
    found = re.search(rf"^{target}:.*\n\t(.+)$", text("Makefile"), re.MULTILINE)
    assert found, f"no target {target} in the Makefile"
    return found[1].split(" && ")


def in_code(name: str) -> list[str]:
    """Fenced blocks and code spans of a Markdown file."""
    return [block or span for block, span in CODE.findall(text(name))]


PROJECT = tomllib.loads(text("pyproject.toml"))["project"]


def test_yaml_and_json_files_parse() -> None:
    names = [name for name in tracked() if Path(name).suffix in {".yaml", ".yml", ".cff", ".json"}]
    assert {"CITATION.cff", ".github/workflows/ci.yml", ".devcontainer/devcontainer.json"} <= {*names}
    for name in names:
        assert json.loads(text(name)) if name.endswith(".json") else yaml.safe_load(text(name)) is not None, name


def test_version_and_licence_are_the_same_everywhere() -> None:
    citation = settings("CITATION.cff")
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == citation["version"] == PROJECT["version"]
    assert all(date for _, date in headings[1:])
    assert citation["license"] == PROJECT["license"] == text("LICENSE").split()[0]
    authors = {each["name"] for each in PROJECT["authors"]}
    assert authors == {each["name"] for each in citation["authors"]}
    assert all(f"(c) 2026 {name}" in text("LICENSE") for name in authors)


def test_both_papers_are_cited() -> None:
    papers = settings("CITATION.cff")["references"]
    assert [paper["authors"][0]["family-names"] for paper in papers] == ["Hewitt", "Reshi"]
    readme = text("README.md")
    assert all(paper.get("doi", paper.get("url")) in readme for paper in papers)


def test_continuous_integration_runs_what_there_is() -> None:
    jobs = settings(".github/workflows/ci.yml")["jobs"]
    ran = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert ran["linux"][-1] == ".ci/run"
    assert git("ls-files", "--stage", ".ci/run")[0].startswith("100755 ")
    assert ran["macos"] == ["make test"]


def commands(name: str) -> str:
    """Extract the commands that a file tells people or programs to run."""
    if name.endswith(".md"):
        return "\n".join(in_code(name))
    return "\n".join(line for line in text(name).splitlines() if not line.startswith("#"))


@pytest.mark.parametrize(
    "name",
    [
        ".ci/run",
        ".devcontainer/devcontainer.json",
        ".github/pull_request_template.md",
        ".github/workflows/ci.yml",
        "CONTRIBUTING.md",
        "Dockerfile",
        "data/README.md",
        "metrics/README.md",
        "plots/README.md",
    ],
)
def test_what_make_is_called_for_is_a_target(name: str) -> None:
    targets = MAKE.findall(commands(name))
    assert targets
    assert [target for target in targets if f"\n{target}:" not in text("Makefile")] == []


def test_hooks_are_local_and_run_what_make_lint_runs() -> None:
    (repository,) = settings(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == recipe("lint")
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}


def test_images_have_bare_names_and_a_python_that_is_supported() -> None:
    dockerfile = text("Dockerfile")
    images = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    stages = re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.MULTILINE)
    images.append(settings(".github/workflows/ci.yml")["jobs"]["linux"]["container"])
    names = [image for image in images if image not in stages]
    versions = [re.fullmatch(r"python:3\.(\d+)(?:-slim)?", name) for name in names]
    lowest, highest = map(int, re.findall(r"3\.(\d+)", PROJECT["requires-python"]))
    assert len(names) == 2
    assert all(version and lowest <= int(version[1]) < highest for version in versions)
    build = json.loads(text(".devcontainer/devcontainer.json"))["build"]
    assert build["target"] in stages
    assert (ROOT / ".devcontainer" / build["dockerfile"]).resolve() == ROOT / "Dockerfile"


def test_the_image_gets_files_that_are_there() -> None:
    copied = re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", text("Dockerfile"), re.MULTILINE)
    assert copied[-1] == "."
    assert all((ROOT / name).exists() for names in copied for name in names.split())


def patterns(name: str) -> list[str]:
    return [line for line in text(name).splitlines() if line and not line.startswith("#")]


def as_docker(pattern: str, folder: str = "") -> str:
    """A pattern of git's as .dockerignore has it: from the root, and of folders and files alike."""
    negation, body = re.fullmatch(r"(!?)(.+?)/?", pattern).groups()  # type: ignore[union-attr]
    return negation + (folder + body.removeprefix("/") if "/" in body else f"**/{body}")


def test_the_image_has_nothing_that_git_ignores() -> None:
    ignored = [as_docker(pattern) for pattern in patterns(".gitignore")]
    ignored += [as_docker(pattern, ".dvc/") for pattern in patterns(".dvc/.gitignore")]
    assert patterns(".dockerignore") == ignored


def test_the_top_level_is_there_in_a_fresh_clone() -> None:
    names = {Path(name).parts[0] for name in tracked()}
    assert {*TOP} <= names


def outputs() -> list[Any]:
    return [out for out in Repo(str(ROOT)).index.outs if out.stage.path_in_repo == "dvc.yaml"]


def test_git_ignores_exactly_what_dvc_caches() -> None:
    found = {str(Path(out.fs_path).relative_to(ROOT)): out.use_cache for out in outputs()}
    assert found
    ignored = git("check-ignore", "--stdin", "--no-index", given="\n".join(found))
    assert {*ignored} == {name for name, is_cached in found.items() if is_cached}


@pytest.mark.parametrize("folder", ["data", "metrics", "plots"])
def test_a_folder_s_readme_names_what_stages_write_there(folder: str) -> None:
    written = {Path(out.fs_path).relative_to(ROOT).parts for out in outputs()}
    params = settings("params.yaml")
    expected = {parts[1] for parts in written if parts[0] == folder and len(parts) > 2}
    expected = {"<study>" if name in params["studies"] else name for name in expected}
    expected = {"<set>" if name in params["external"] else name for name in expected}
    named = {re.split(r"[/`]", line)[1] for line in text(f"{folder}/README.md").splitlines() if line.startswith("| `")}
    assert expected <= named
    kept = {Path(name).parts[1] for name in tracked() if name.startswith(f"{folder}/")}
    assert named <= expected | kept | {"raw"}


def test_dvc_takes_no_readme_for_data() -> None:
    """`report` depends on plots/ as a whole."""
    done = subprocess.run(
        ["dvc", "check-ignore", "plots/README.md"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["plots/README.md"]
    assert "plots/README.md" in tracked()


def test_the_guide_names_files_that_are_there() -> None:
    (layout,) = [code for code in in_code("CONTRIBUTING.md") if code.startswith("dvc.yaml  ")]
    folders = {name for line in layout.splitlines() for name in re.findall(r"[\w.]+/", line.split("  ")[0] or line)}
    for name in (code for code in in_code("CONTRIBUTING.md") if re.fullmatch(r"[\w./-]*(/|\.\w+)[\w/]*", code)):
        is_there = any((ROOT / root / name).exists() for root in ("", "src/cnnstudy"))
        assert is_there or name in {*folders, ".venv"}, name


def test_line_ends_are_the_same_in_every_clone() -> None:
    answers = git("check-attr", "--stdin", "eol", given="\n".join(tracked()))
    assert {answer.rpartition(": ")[2] for answer in answers} == {"lf"}
