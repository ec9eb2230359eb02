"""params.yaml: its schema, its messages, and its agreement with conf/."""

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import compose_and_dump

from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.data.sources import check_formats, require_sources
from cnnstudy.errors import UserError

ROOT = Path(__file__).parents[1]
GROUPS = ("model", "profile", "recipe", "faces_data", "xray_data")
CHOICES = {group: sorted(file.stem for file in (ROOT / "conf" / group).glob("*.yaml")) for group in GROUPS}
VALID: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


def compose(target: Path, *overrides: str) -> Path:
    compose_and_dump(target, str(ROOT / "conf"), None, "config", "", list(overrides))
    return target


@pytest.fixture(autouse=True)
def _in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_committed_params_are_what_conf_composes(tmp_path: Path) -> None:
    assert compose(tmp_path / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


@pytest.mark.parametrize(("group", "choice"), [(group, choice) for group in GROUPS for choice in CHOICES[group]])
def test_every_choice_composes_to_valid_params(group: str, choice: str, tmp_path: Path) -> None:
    params = read_params(compose(tmp_path / "params.yaml", f"{group}={choice}"))
    assert getattr(params, group) == choice


@pytest.mark.parametrize("recipe", CHOICES["recipe"])
@pytest.mark.parametrize("profile", CHOICES["profile"])
@pytest.mark.parametrize("model", ["alexnet", "vggnet", "mobilenet", "xraynet"])
def test_a_model_selects_its_runs_alone(model: str, profile: str, recipe: str, tmp_path: Path) -> None:
    params = read_params(compose(tmp_path / "params.yaml", f"model={model}", f"profile={profile}", f"recipe={recipe}"))
    assert (params.model, params.profile, params.recipe) == (model, profile, recipe)
    assert {run.net for run in params.runs.values()} == {model}
    assert set(params.finetuned) == (set() if model == "xraynet" else {model})
    assert set(params.studies) == {"xray" if model == "xraynet" else "faces"}
    assert set(params.ablations) == ({"augmentation", "depth"} if model == "xraynet" else {"nets"})


@pytest.mark.parametrize("recipe", CHOICES["recipe"])
def test_all_models_have_the_runs_of_both_studies(recipe: str, tmp_path: Path) -> None:
    params = read_params(compose(tmp_path / "params.yaml", f"recipe={recipe}"))
    faces = {"alexnet", "vggnet", "mobilenet"}
    xray = {*(f"xray-aug{level}" for level in range(5)), *(f"xray-depth{depth}" for depth in (1, 2, 3, 4, 6))}
    assert set(params.runs) == faces | xray
    assert set(params.finetuned) == faces
    assert params.ablations["depth"].runs["xray-aug4"] == 5
    assert params.ablations["nets"].runs == {name: name for name in ("alexnet", "vggnet", "mobilenet")}
    assert params.ablations["augmentation"].runs == {f"xray-aug{level}": level for level in range(5)}


def test_the_report_profile_has_the_reports_sizes(tmp_path: Path) -> None:
    params = read_params(compose(tmp_path / "params.yaml", "profile=report"))
    faces, xray = params.faces, params.xray
    assert (faces.image_size, faces.batch_size, faces.epochs, faces.tuned_epochs) == (128, 400, 50, 50)
    assert (faces.drawn.train, faces.drawn.tune, faces.split.val) == (1000, 200, 0.2)
    assert (xray.image_size, xray.batch_size, xray.epochs, xray.drawn.train, xray.split.val) == (150, 32, 50, 74, 0.15)
    assert params.batchnorm == "moving"


@pytest.mark.parametrize("profile", CHOICES["profile"])
def test_the_paper_recipe_has_the_papers_settings_under_every_profile(profile: str, tmp_path: Path) -> None:
    target = tmp_path / "params.yaml"
    params = read_params(compose(target, "recipe=paper", f"profile={profile}"))
    batches = {
        run: params.run_sizes(run).batch_size for run in ("alexnet", "vggnet", "mobilenet", "xray-aug0", "xray-depth6")
    }
    assert batches == {"alexnet": 400, "vggnet": 400, "mobilenet": 250, "xray-aug0": 32, "xray-depth6": 32}
    assert {name: run.head_dropout for name, run in params.runs.items() if run.head_dropout} == {"mobilenet": 0.3}
    assert (params.faces.epochs, params.xray.epochs) == (24, 50)
    assert (params.faces.class_weight, params.xray.class_weight) == ("balanced", "none")
    assert {run.widths for run in params.runs.values() if run.study == "xray"} == {"reshi"}
    for training in (params.training.faces, params.training.xray):
        adam = (training.learning_rate, training.beta_1, training.beta_2, training.epsilon)
        assert (*adam, training.schedule, training.dropout) == (0.001, 0.9, 0.999, 1e-8, "constant", 1.0)
    sizes = read_params(compose(target, f"profile={profile}"))
    assert params.faces.image_size == sizes.faces.image_size
    assert params.faces.drawn == sizes.faces.drawn


def test_a_value_given_stands_over_a_recipes(tmp_path: Path) -> None:
    params = read_params(
        compose(tmp_path / "params.yaml", "recipe=paper", "faces.epochs=3", "runs.mobilenet.training.batch_size=8")
    )
    assert params.faces.epochs == 3
    assert params.run_sizes("mobilenet").batch_size == 8


def test_widths_reach_every_xray_run(tmp_path: Path) -> None:
    params = read_params(compose(tmp_path / "params.yaml", "xray.widths=reshi"))
    assert {run.widths for run in params.runs.values() if run.study == "xray"} == {"reshi"}


def leaves(value: Any, key: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """(path of keys, value) of everything that is not a mapping."""
    if not isinstance(value, dict):
        return [(key, value)]
    return list(itertools.chain.from_iterable(leaves(item, (*key, name)) for name, item in value.items()))


def changed(key: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The valid parameters with one value replaced."""
    content = copy.deepcopy(VALID)
    section = content
    for name in key[:-1]:
        section = section[name]
    section[key[-1]] = value
    return content


def refusal(content: Any, tmp_path: Path) -> str:
    """The one line that `read_params` refuses the content with."""
    path = tmp_path / "params.yaml"
    path.write_text(yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False))
    with pytest.raises(UserError) as caught:
        read_params(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(("key", "value"), leaves(VALID), ids=lambda item: str(item)[:60])
def test_a_wrong_type_names_key_value_and_what_is_allowed(key: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    wrong = {"nested": 1} if isinstance(value, (list, str)) else "wrong"
    message = refusal(changed(key, wrong), tmp_path)
    assert message.startswith(".".join(map(str, key)) + ": ")
    assert repr(wrong) in message
    assert "; allowed: " in message


@pytest.mark.parametrize(
    "key", [key for key, _ in leaves(VALID) if "classes" not in key and key[-1] not in ("depth", "widths")], ids=str
)
def test_a_missing_and_a_misspelt_key_are_named(key: tuple[Any, ...], tmp_path: Path) -> None:
    if key[-2:-1] == ("runs",) and key[0] == "ablations":
        return  # an entry, not a setting: free to leave out
    content = copy.deepcopy(VALID)
    section = content
    for name in key[:-1]:
        section = section[name]
    value = section.pop(key[-1])
    assert refusal(content, tmp_path).startswith(".".join(map(str, key)) + ": missing; allowed: ")
    section[key[-1]] = value
    section[f"{key[-1]}_"] = value
    message = refusal(content, tmp_path)
    assert f"{key[-1]}_: " in message
    assert "an unknown key; allowed: " in message


BOUNDS = [
    (field, bound)
    for field, bound in {
        ("faces", "epochs"): 0,
        ("faces", "batch_size"): 0,
        ("faces", "image_size"): 16,
        ("xray", "image_size"): 48,
        ("faces", "split", "val"): 1.0,
        ("faces", "split", "tune"): -0.1,
        ("xray", "drawn", "train"): 0,
        ("xray", "drawn", "site_label_correlation"): 1.1,
        ("training", "faces", "learning_rate"): 0.0,
        ("training", "xray", "beta_1"): 1.0,
        ("training", "faces", "label_smoothing"): 1.0,
        ("training", "xray", "patience"): -1,
        ("data_seed",): -1,
        ("compute", "threads"): 0,
        ("seeds",): [],
        ("runs", "xray-depth6", "depth"): 7,
        ("runs", "mobilenet", "head_dropout"): 1.0,
        ("plans", "xray", "aug4", "level"): 5,
        ("plans", "faces", "moved", "rotation"): 181,
        ("plans", "faces", "moved", "shift"): 1.0,
    }.items()
]


@pytest.mark.parametrize(("key", "value"), BOUNDS, ids=str)
def test_a_value_out_of_range_is_refused(key: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    assert refusal(changed(key, value), tmp_path).startswith(".".join(key) + ": ")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (("profile",), "huge", "quick, report, smoke"),
        (("batchnorm",), "frozen", "'moving' or 'recalibrated'"),
        (("training", "faces", "selection"), "first", "'last' or 'best'"),
        (("faces", "tuned_frozen"), "all", "'none' or 'features'"),
        (("runs", "alexnet", "net"), "resnet", "'alexnet', 'vggnet', 'mobilenet' or 'xraynet'"),
        (("runs", "alexnet", "plan"), "aug1", "a plan of faces: moved"),
        (("plans",), {"faces": {"moved": {"level": 0, "rotation": 0, "shift": 0.0, "flip": True}}}, "keys of studies"),
        (("runs", "alexnet", "depth"), 3, "none for other nets"),
        (("runs", "xray-aug0", "depth"), None, "a value for xraynet"),
        (("seeds",), [1, 1], "each seed once"),
        (("faces", "split", "tune"), 0.0, "needs a tune split"),
        (("xray", "drawn", "test"), 0, "needs a test split"),
        (("studies", "faces", "path"), "elsewhere", "sources.faces.path"),
        (("ablations", "depth", "runs"), {"alexnet": 1}, "runs of the study xray"),
        (("finetuned", "xray-aug0"), {"study": "xray", "plan": "aug0"}, "a run of the study faces"),
        (("xray", "classes", "covid"), ["Normal"], "under one class"),
        (("xray", "classes", "covid"), ["covid", "sars", "SARS"], "under one class"),
        (("faces", "classes", "disgust"), ["contempt"], "under one class"),
        (("xray", "classes"), {"normal": [], "macro": []}, "any other name"),
    ],
)
def test_a_contradiction_says_what_is_allowed(key: tuple[Any, ...], value: Any, expected: str, tmp_path: Path) -> None:
    message = refusal(changed(key, value), tmp_path)
    assert message.startswith(".".join(key)), message
    assert expected in message


def test_a_relative_path_that_leaves_the_repository_is_refused(tmp_path: Path) -> None:
    content = changed(("sources", "faces", "path"), "../elsewhere")
    content["studies"]["faces"]["path"] = "../elsewhere"
    assert str(ROOT.parent / "elsewhere") in refusal(content, tmp_path)


@pytest.mark.parametrize("text", ["", "- a list", "{unclosed", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml"):
        read_params(path)


def test_a_file_is_read_as_dvc_reads_it(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    file = tmp_path / "params.yaml"
    file.write_text(text.replace("jit: auto", "jit: on").replace("tuned_epochs: 4", "tuned_epochs: 010"))
    params = read_params(file)
    assert (params.compute.jit, params.faces.tuned_epochs) == ("on", 10)
    file.write_text(text.replace("tuned_epochs: 4", "tuned_epochs: 4\n  tuned_epochs: 8"))
    with pytest.raises(UserError, match=r"params.yaml: not YAML: .*found duplicate key") as caught:
        read_params(file)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_params(tmp_path / "params.yaml")


def test_a_source_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = changed(("sources", "xray", "path"), "data/raw/films")
    content["studies"] = {"xray": {"path": "data/raw/films"}}
    params = Params.model_validate(content)
    with pytest.raises(UserError, match=r"params.yaml: sources.xray.path: 'data/raw/films' is no folder; allowed: "):
        require_sources(params)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw.dvc").touch()
    with pytest.raises(UserError, match=r"; allowed: an existing folder; `dvc pull` brings this one"):
        require_sources(params)
    (tmp_path / "data/raw/films").mkdir(parents=True)
    require_sources(params)


def test_params_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Params.model_validate(VALID).seeds = [1]


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        (("sources", "faces", "format"), "tar", "sources.faces.format: 'tar' found; allowed: affectnet, "),
        (
            ("faces", "classes", "boredom"),
            ["bored"],
            "faces.classes.boredom: ['bored'] found; allowed: with drawn data: anger, contempt, disgust",
        ),
    ],
)
def test_a_source_of_unknown_form_is_refused(key: tuple[Any, ...], value: Any, line: str) -> None:
    params = Params.model_validate(changed(key, value))
    for refuse in (check_formats, require_sources):
        with pytest.raises(UserError) as caught:
            refuse(params)
        assert str(caught.value).startswith(f"params.yaml: {line}")
    check_formats(Params.model_validate(VALID))


def test_a_run_s_own_training_stands_over_its_study_s() -> None:
    own = {"optimizer": "adam", "learning_rate": 0.25, "dropout": 1, "augmentation": 0.5, "batch_size": 7, "epochs": 3}
    params = Params.model_validate(changed(("runs", "alexnet", "training"), own | {"class_weight": "balanced"}))
    recipe, sizes = params.run_recipe("alexnet"), params.run_sizes("alexnet")
    assert (recipe.optimizer, recipe.learning_rate, recipe.dropout, recipe.augmentation) == ("adam", 0.25, 1.0, 0.5)
    assert (sizes.batch_size, sizes.epochs, sizes.class_weight) == (7, 3, "balanced")
    assert params.run_recipe("vggnet") == params.study_recipe("faces")
    assert params.run_sizes("vggnet") == params.faces


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("learning_rate", 2.0, "less than or equal to 1"),
        ("learning_rate", "fast", "a valid number"),
        ("optimizer", "sgd", "'adam' or 'muon'"),
        ("epochs", 0, "greater than or equal to 1"),
        ("batch_size", 8.5, "a valid integer"),
        ("rate", 0.1, "one of the keys optimizer, "),
        ("image_size", 64, "one of the keys optimizer, "),
    ],
)
def test_a_wrong_value_of_a_run_is_named(key: str, value: Any, allowed: str, tmp_path: Path) -> None:
    message = refusal(changed(("runs", "xray-aug0", "training"), {"epochs": 2, key: value}), tmp_path)
    assert message.startswith(f"runs.xray-aug0.training.{key}: {value!r} found; allowed: {allowed}")


def test_positions_are_numbers_or_words() -> None:
    for runs, has_words in (({"alexnet": 0.5, "vggnet": 1}, False), ({"alexnet": "adam", "vggnet": "muon"}, True)):
        params = Params.model_validate(changed(("ablations", "nets", "runs"), runs))
        assert params.ablations["nets"].has_words is has_words


def test_numbers_and_words_are_not_mixed(tmp_path: Path) -> None:
    message = refusal(changed(("ablations", "nets", "runs"), {"alexnet": 0.5, "vggnet": "more"}), tmp_path)
    assert message == "ablations.nets.runs.vggnet: 'more' found; allowed: a number, or a word for every run"
