"""Composition of conf/ on the command line: stages of each model, old names, recipes, and undoing."""

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import built
import pytest
import yaml
from workspace import Workspace, clone

from cnnstudy import cli
from cnnstudy.config.compose import ASIDE, composition, overrides
from cnnstudy.config.schema import Params
from cnnstudy.workspace import files, paths

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with conf/."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["cnnstudy", *arguments])
    cli.main()


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command ends with."""
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, *arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return clone(tmp_path_factory.mktemp("clone"))


@pytest.mark.parametrize(
    ("model", "own", "other"),
    [
        ("xraynet", "xray", ("faces", "alexnet", "vggnet", "mobilenet", "nets")),
        ("mobilenet", "faces", ("xray", "alexnet")),
    ],
)
def test_a_model_has_the_stages_of_its_study_alone(
    workspace: Workspace, model: str, own: str, other: tuple[str, ...]
) -> None:
    content = workspace.compose(f"model={model}")
    stages = workspace.run("dvc", "stage", "list", "--name-only").split()
    expected = {f"{stage}@{own}" for stage in ("check", "ingest", "split", "audit", "augment", "occlude")}
    expected |= {f"{stage}@{run}" for stage in ("train", "evaluate") for run in content["runs"]} | {"report"}
    expected |= {f"finetune@{run}" for run in content["finetuned"]} | {f"export@{run}" for run in content["exported"]}
    expected |= {f"{stage}@{own}-elsewhere" for stage in ("ingest-external", "external")}
    assert set(stages) == expected | {f"ablate@{name}" for name in content["ablations"]}
    assert not [stage for stage in stages if re.search(rf"\b({'|'.join(other)})", stage)]


OLD = [
    ("faces.epochs", 3, "studies.faces.epochs"),
    ("xray.image_size", 64, "studies.xray.image_size"),
    ("faces.tuned_epochs", 3, "studies.faces.finetune.epochs"),
    ("faces.tuned_frozen", "none", "studies.faces.finetune.frozen"),
    ("faces.drawn.train", 8, "studies.faces.synthetic.train"),
    ("xray.classes.covid", ["covid"], "studies.xray.classes.covid"),
    ("xray.widths", "reshi", "studies.xray.options.widths"),
    ("training.faces.kernel_factor", 5.0, "studies.faces.training.relative_update"),
    ("training.xray.learning_rate", 0.01, "studies.xray.training.learning_rate"),
    ("sources.faces.path", "/data", "studies.faces.source.path"),
    ("plans.xray.aug0.level", 1, "studies.xray.policies.aug0.level"),
    ("promotion.minimum.faces", 0.5, "studies.faces.promotion.minimum"),
    ("runs.alexnet.plan", "augmented", "runs.alexnet.policy"),
    ("finetuned.alexnet.plan", "augmented", "finetuned.alexnet.policy"),
    ("runs.xray-aug0.depth", 3, "runs.xray-aug0.options.depth"),
    ("runs.xray-aug0.widths", "reshi", "runs.xray-aug0.options.widths"),
    ("runs.mobilenet.head_dropout", 0.3, "runs.mobilenet.training.head_dropout"),
]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("old", "value", "new"), OLD)
def test_an_old_name_on_the_command_line_is_answered_with_the_new_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], old: str, value: Any, new: str
) -> None:
    override = f"{old}={value}".replace("'", "")
    assert refusal(monkeypatch, capsys, "params", override) == (
        f"error: {override}: {old} found, an old name; allowed: {new}"
    )
    assert not paths.PARAMS.exists()


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("old", "value", "new"), OLD)
def test_an_old_name_in_the_file_is_answered_with_the_new_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], old: str, value: Any, new: str
) -> None:
    content = section = built.content()
    *sections, key = old.split(".")
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = value
    paths.PARAMS.write_text(yaml.safe_dump(content, sort_keys=False))
    line = refusal(monkeypatch, capsys, "check")
    assert line.startswith("error: params.yaml: ")
    found, _, allowed = line.removeprefix("error: params.yaml: ").partition(" found, an old name; allowed: ")
    place = found.partition(":")[0]
    assert f"{old}.".startswith(f"{place}.")
    assert f"{new}.".startswith(f"{allowed.replace('<study>', new.split('.')[1])}.")


RECIPE = {"optimizer": "adam", "learning_rate": 0.02}


@pytest.mark.parametrize("command", ["params", "check"])
def test_a_recipe_that_one_study_lacks_is_said_and_its_default_used(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    file = project / "conf/study/xray.yaml"
    content = yaml.safe_load(file.read_text())
    usual = composition([]).studies
    content["studies"]["xray"]["choices"]["recipe"]["own"] = RECIPE
    file.write_text("# @package _global_\n" + yaml.safe_dump(content, sort_keys=False))
    call(monkeypatch, "params", "recipe=own")
    if command == "check":
        capsys.readouterr()
        for study in composition([]).studies.values():
            Path(study.source.path).mkdir(parents=True, exist_ok=True)
        call(monkeypatch, "check")
    assert capsys.readouterr().out == "faces: no recipe own; its default settings are used\n"
    params = Params.model_validate(yaml.safe_load(paths.PARAMS.read_text()))
    assert params.studies["faces"].training == usual["faces"].training
    xray = params.studies["xray"].training
    assert (xray.optimizer, xray.learning_rate) == ("adam", 0.02)
    assert xray.beta_1 == usual["xray"].training.beta_1  # what a recipe leaves out is that of `best`


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "path", ["/data/Bilder ä", "/data/a [x]", "/data/a=b", "/data/o'neil", "/data/(1), b", 'say "x"']
)
def test_a_value_that_needs_quotes_is_shown_with_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    override = f"studies.faces.source.path={path}"
    line = refusal(monkeypatch, capsys, "params", "faces_data=folders", override)
    start, quoted = line.split("; allowed: a value in quotes, ")
    assert start == f"error: {override}: not in Hydra's syntax"
    assert composition(["faces_data=folders", *shlex.split(quoted)]).studies["faces"].source.path == path


@pytest.mark.usefixtures("project")
def test_in_a_list_each_item_is_shown_with_the_quotes_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(monkeypatch, capsys, "params", "studies.faces.classes.anger=[Ärger, anger]")
    (allowed,) = shlex.split(line.split("; allowed: a value in quotes, ")[1])
    assert composition([allowed]).studies["faces"].classes["anger"] == ["Ärger", "anger"]


@pytest.mark.usefixtures("project")
def test_an_item_of_a_section_that_is_set_as_a_whole_is_not_called_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(monkeypatch, capsys, "params", "studies.xray.classes.covid=[corona]")
    assert "studies.xray.classes is set as a whole in conf/; allowed: `studies.xray.classes={...}`" in line
    assert "no such key" not in line


@pytest.mark.usefixtures("project")
def test_a_recipe_that_no_study_has_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(monkeypatch, capsys, "params", "recipe=own")
    assert line == ("error: params.yaml: recipe: 'own' found; allowed: best, paper, report, the recipes of faces, xray")
    assert not paths.PARAMS.exists()


@pytest.mark.usefixtures("project")
def test_a_data_set_that_a_study_does_not_have_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(monkeypatch, capsys, "params", "faces_data=radiography")
    assert line.startswith("error: params.yaml: faces_data: 'radiography' found; allowed: synthetic, folders, ")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("runs.alexnet.net=lenet", "runs.alexnet.net: 'lenet' found; allowed: alexnet, "),
        ("studies.faces.source.format=tar", "studies.faces.source.format: 'tar' found; allowed: affectnet, "),
        ("+studies.xray.options.width=3", ".options.width: 3 found; allowed: an option of xraynet: depth, widths"),
    ],
)
def test_a_net_format_or_option_that_there_is_not_is_refused_before_the_file_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], override: str, words: str
) -> None:
    assert words in refusal(monkeypatch, capsys, "params", override)
    assert not paths.PARAMS.exists()


def deciding(params: Params) -> dict[str, Any]:
    """Return the parameters that a result depends on."""
    return {key: value for key, value in files.flat(params.model_dump()).items() if not ASIDE.match(key)}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "given",
    [
        [],
        ["model=xraynet", "profile=smoke"],
        ["profile=report", "seeds=[3,4]"],
        ["recipe=paper", "runs.mobilenet.training={batch_size: 8}"],
        ["+runs.alexnet.training={epochs: 3, learning_rate: 0.01}"],
        ["xray_data=chest_xray", "studies.xray.training.learning_rate=1e-5"],
        ["xray_data=folders", "studies.xray.classes={normal: [a b], covid: ['c, d']}", "studies.xray.synthetic=null"],
        ["~studies.faces.classes.contempt", "+studies.faces.classes.glad=[glad]", "faces_data=folders"],
        ["model=alexnet", "~finetuned.alexnet", "~exported.alexnet", "studies.faces.finetune=null"],
        ["~runs.xray-depth6", "~ablations.depth.runs.xray-depth6", "~studies.xray.options.widths"],
        ["+studies.faces.policies.own={level: 1, rotation: 3, shift: 0.1, flip: false}", "runs.vggnet.policy=own"],
        ["studies.faces.title='It\\'s: J\u00f6rg'", "studies.xray.paper=null", "studies.xray.positive=normal"],
        ["studies.faces.source.path=/elsewhere", "compute.threads=2", "studies.xray.promotion.minimum=0.1"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_overrides_returns_gives_the_same_parameters(given: list[str]) -> None:
    params = composition(given)
    again = composition(overrides(params))
    assert deciding(again) == deciding(params)
    for name, study in params.studies.items():
        assert list(again.studies[name].classes) == list(study.classes)  # of which the order counts


@pytest.mark.usefixtures("project")
def test_what_decides_nothing_and_where_a_source_lies_is_no_override() -> None:
    aside = ["studies.faces.source.path=/elsewhere", "compute.threads=2", "tracking.live_after=5.0"]
    assert overrides(composition(["model=alexnet", *aside])) == overrides(composition(["model=alexnet"]))


@pytest.mark.usefixtures("project")
def test_the_smallest_choice_goes_through_every_stage_that_all_nets_do() -> None:
    smoke, whole = (composition([f"model={model}", "profile=smoke"]) for model in ("smoke", "all"))
    for section in ("studies", "runs", "finetuned", "exported", "ablations"):
        assert getattr(smoke, section)
        assert len(getattr(smoke, section)) <= len(getattr(whole, section))
    assert {name: len(smoke.runs_of(name)) for name in smoke.studies} == {"faces": 1, "xray": 2}
    assert overrides(smoke)[:2] == ["model=smoke", "profile=smoke"]
