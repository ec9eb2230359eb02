"""The tutorial: handwritten digits become a study, and LeNet-5 a net, by one YAML file and one Python file."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import stored
import yaml
from workspace import Workspace, clone

pytestmark = pytest.mark.slow

# What the documentation shows.
TUTORIAL = Path(__file__).parent / "digits"
RUNS = ("digits-plain", "digits-moved")
STAGES = {
    *(f"{stage}@digits" for stage in ("check", "ingest", "split", "audit", "augment", "occlude")),
    *(f"{stage}@{run}" for stage in ("train", "evaluate") for run in RUNS),
    *("export@digits-moved", "ablate@digits-augmentation", "report"),
}
IMAGE = "data/raw/digits/3/0003.png"


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = clone(tmp_path_factory.mktemp("digits"))
    workspace.environment["PYTHONPATH"] = str(workspace.path / "src")  # where the net's file is
    workspace.run(sys.executable, str(TUTORIAL / "write_digits.py"))
    shutil.copy(TUTORIAL / "lenet5.py", workspace.path / "src/cnnstudy/models")
    shutil.copy(TUTORIAL / "digits.yaml", workspace.path / "conf/model")
    workspace.run("dvc", "add", "--quiet", "data/raw/digits")
    workspace.run("cnnstudy", "params", "model=digits", "profile=quick")
    workspace.run("cnnstudy", "repro")
    workspace.run("git", "add", "--all")
    workspace.run("git", "commit", "--quiet", "--message=digits")
    return workspace


def stages(workspace: Workspace) -> set[str]:
    names = {line.split()[0] for line in workspace.run("dvc", "stage", "list", "--all").splitlines()}
    return {name for name in names if not name.endswith(".dvc")}  # data that `dvc add` follows


def test_every_stage_ran_for_the_digits_and_for_no_other_study(rebuilt: Workspace) -> None:
    assert stages(rebuilt) == STAGES
    assert "up to date" in rebuilt.run("dvc", "repro")


def test_nothing_was_edited_that_ships(rebuilt: Workspace) -> None:
    changed = [line.split("\t") for line in rebuilt.run("git", "diff", "--name-status", "HEAD~1").splitlines()]
    written = ("params.yaml", "models/dvc.yaml", "dvc.lock", "environment.json", "metrics/")
    assert not [name for kind, name in changed if kind != "A" and not name.startswith(written)]
    added = {name for kind, name in changed if kind == "A" and not name.startswith(written)}
    assert added == {
        "conf/model/digits.yaml", "src/cnnstudy/models/lenet5.py", "data/raw/digits.dvc", "data/raw/.gitignore",
    }  # fmt: skip
    assert not rebuilt.run("git", "status", "--porcelain")


def test_lenet_reads_the_digits(rebuilt: Workspace) -> None:
    summary = json.loads((rebuilt.path / "metrics/summary.json").read_text())
    assert set(summary) == set(RUNS)
    assert summary["digits-moved"]["test_accuracy"] >= 0.97


def test_the_page_is_of_the_digits(rebuilt: Workspace) -> None:
    page = (rebuilt.path / "report/index.html").read_text()
    for present in ("Handwritten digits", "digits-moved", "lenet5", "43 persons"):
        assert present in page
    for absent in ("Hewitt", "Reshi", "COVID", "contradicts itself"):
        assert absent not in page


def test_mlflow_has_an_experiment_of_the_digits(rebuilt: Workspace) -> None:
    said = {run["name"] for run in stored.record(rebuilt.path) if run["tags"].get("study") == "digits"}
    assert all(name in said for name in (*RUNS, "ablation: digits-augmentation"))


def test_a_net_is_asked_promoted_and_asked_again(rebuilt: Workspace) -> None:
    assert "digit-3" in rebuilt.run("cnnstudy", "predict", "--run", "digits-moved", "--top", "1", IMAGE)
    assert "digit-3" in rebuilt.run("cnnstudy", "predict", "--run", "digits-moved", "--litert", "int8", IMAGE)
    assert "digits version 1 is the champion" in rebuilt.run("cnnstudy", "promote", "digits-moved")
    assert "digit-3" in rebuilt.run("cnnstudy", "predict", "--champion", "digits", "--top", "1", IMAGE)


def test_two_commits_are_compared(rebuilt: Workspace) -> None:
    said = rebuilt.run("cnnstudy", "compare", "HEAD~1", "HEAD")
    assert "model=digits" in said
    assert "digits-moved" in said


def test_a_search_uses_the_default_space(rebuilt: Workspace) -> None:
    assert "accuracy on val" in rebuilt.run("cnnstudy", "search", "digits-plain", "--trials", "1")


def test_the_study_stands_beside_those_that_ship(rebuilt: Workspace) -> None:
    """Composed with the shipped studies, digits are not trained again, and resnet18 joins the faces."""
    alone = {stage for stage in STAGES if stage != "report"}
    try:
        rebuilt.run("cnnstudy", "params", "model=[all,digits,resnet18]", "profile=quick")
        params = yaml.safe_load((rebuilt.path / "params.yaml").read_text())
        assert params["runs"]["resnet18"]["study"] == "faces"
        assert set(params["ablations"]["nets"]["runs"]) == {"alexnet", "vggnet", "mobilenet", "resnet18"}
        rebuilt.run("cnnstudy", "params", "model=[all,digits]", "profile=quick")
        without = stages(rebuilt)
        rebuilt.run("cnnstudy", "params", "model=[all,digits,resnet18]", "profile=quick")
        listed = stages(rebuilt)
        assert listed - without == {f"{stage}@resnet18" for stage in ("train", "finetune", "evaluate", "export")}
        assert alone < listed
        lasting = {stage for stage in alone if not stage.startswith(("check@", "evaluate@", "ablate@", "occlude@"))}
        assert json.loads(rebuilt.run("dvc", "status", "--json", *sorted(lasting))) == {}
    finally:
        rebuilt.run("git", "checkout", "--quiet", "params.yaml", "models/dvc.yaml")


def test_a_paper_joins_the_study_without_a_training(rebuilt: Workspace) -> None:
    shutil.copy(TUTORIAL / "paper/lecun.py", rebuilt.path / "src/cnnstudy/published")
    shutil.copy(TUTORIAL / "paper/lecun_1998.csv", rebuilt.path / "data/reference")
    model = rebuilt.path / "conf/model/digits.yaml"
    title = "    title: Handwritten digits\n"
    model.write_text(model.read_text().replace(title, f"{title}    paper: lecun\n"))
    rebuilt.run("cnnstudy", "params", "model=digits", "profile=quick")
    said = rebuilt.run("cnnstudy", "repro")
    assert "src/train.py" not in said
    page = (rebuilt.path / "report/index.html").read_text()
    for present in (
        "LeCun et al.",
        "0.9905, 0.9920 on MNIST",
        "Distorted training images raise accuracy.",
        "The one claim of the paper",
    ):
        assert present in page
    assert "course report" not in page
