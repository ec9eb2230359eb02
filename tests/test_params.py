"""params.yaml: its schema, its messages, and its agreement with conf/."""

import copy
import itertools
from pathlib import Path
from typing import Any

import built
import pytest
import yaml
from dvc.utils.hydra import compose_and_dump

from cnnstudy.config.compose import choices
from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.data.sources import check_sources, require_sources
from cnnstudy.errors import UserError
from cnnstudy.models import check_nets

ROOT = Path(__file__).parents[1]
SHIPPED: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
STUDIES = tuple(SHIPPED["studies"])
CHOICES = {
    group: sorted(file.stem for file in (ROOT / "conf" / group).glob("*.yaml")) for group in ("model", "profile")
}
CHOICES["recipe"] = sorted({name for study in SHIPPED["studies"].values() for name in study["choices"]["recipe"]})
CHOICES |= {f"{study}_data": sorted(SHIPPED["studies"][study]["choices"]["data"]) for study in STUDIES}
VALID = built.content()


def compose(target: Path, *overrides: str) -> Path:
    compose_and_dump(target, str(ROOT / "conf"), None, "config", "", list(overrides))
    return target


@pytest.fixture(autouse=True)
def _in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_committed_params_are_what_conf_composes(tmp_path: Path) -> None:
    assert compose(tmp_path / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


@pytest.mark.parametrize(("group", "choice"), [(group, choice) for group in CHOICES for choice in CHOICES[group]])
def test_every_choice_composes_to_valid_params(group: str, choice: str, tmp_path: Path) -> None:
    params = read_params(compose(tmp_path / "params.yaml", f"{group}={choice}"))
    assert choices(params)[group] == choice


@pytest.mark.parametrize("recipe", CHOICES["recipe"])
@pytest.mark.parametrize("profile", CHOICES["profile"])
@pytest.mark.parametrize("model", ["alexnet", "vggnet", "mobilenet", "xraynet"])
def test_a_model_selects_its_runs_alone(model: str, profile: str, recipe: str, tmp_path: Path) -> None:
    params = read_params(compose(tmp_path / "params.yaml", f"model={model}", f"profile={profile}", f"recipe={recipe}"))
    assert (params.models, params.profile, params.recipe) == ({model: model}, profile, recipe)
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
    faces, xray = params.studies["faces"], params.studies["xray"]
    assert (faces.image_size, faces.batch_size, faces.epochs, faces.split.val) == (128, 400, 50, 0.2)
    assert faces.finetune
    assert faces.finetune.epochs == 50
    assert faces.synthetic
    assert xray.synthetic
    assert (faces.synthetic.train, faces.synthetic.tune, faces.synthetic.test) == (1000, 200, 200)
    assert (xray.image_size, xray.batch_size, xray.epochs, xray.split.val) == (150, 32, 50, 0.15)
    assert (xray.synthetic.train, xray.synthetic.tune, xray.synthetic.test) == (74, 0, 100)
    assert (params.batchnorm, params.recipe, len(params.seeds), params.compute.threads) == ("moving", "report", 5, 4)
    assert {study.training.optimizer for study in params.studies.values()} == {"adam"}


@pytest.mark.parametrize("profile", CHOICES["profile"])
def test_the_paper_recipe_has_the_papers_settings_under_every_profile(profile: str, tmp_path: Path) -> None:
    target = tmp_path / "params.yaml"
    params = read_params(compose(target, "recipe=paper", f"profile={profile}"))
    batches = {
        run: params.run_sizes(run).batch_size for run in ("alexnet", "vggnet", "mobilenet", "xray-aug0", "xray-depth6")
    }
    assert batches == {"alexnet": 400, "vggnet": 400, "mobilenet": 250, "xray-aug0": 32, "xray-depth6": 32}
    dropouts = {name: params.run_recipe(name).head_dropout for name in params.runs}
    assert {name: rate for name, rate in dropouts.items() if rate} == {"mobilenet": 0.3}
    assert (params.studies["faces"].epochs, params.studies["xray"].epochs) == (24, 50)
    assert (params.studies["faces"].class_weight, params.studies["xray"].class_weight) == ("balanced", "none")
    assert {params.options_of(run)["widths"] for run in params.runs_of("xray")} == {"reshi"}
    for training in (params.studies["faces"].training, params.studies["xray"].training):
        adam = (training.learning_rate, training.beta_1, training.beta_2, training.epsilon)
        assert (*adam, training.schedule, training.dropout) == (0.001, 0.9, 0.999, 1e-8, "constant", 1.0)
    sizes = read_params(compose(target, f"profile={profile}"))
    assert params.studies["faces"].image_size == sizes.studies["faces"].image_size
    assert params.studies["faces"].synthetic == sizes.studies["faces"].synthetic


def test_a_value_given_stands_over_a_recipes(tmp_path: Path) -> None:
    own = ("studies.faces.epochs=3", "studies.faces.choices.recipe.paper.runs.mobilenet.batch_size=8")
    params = read_params(compose(tmp_path / "params.yaml", "recipe=paper", *own))
    assert params.studies["faces"].epochs == 3
    assert params.run_sizes("mobilenet").batch_size == 8
    assert params.run_recipe("mobilenet").head_dropout == 0.3
    alone = read_params(compose(tmp_path / "params.yaml", "recipe=paper", "runs.mobilenet.training={batch_size: 8}"))
    assert alone.runs["mobilenet"].training == {"batch_size": 8}


def test_an_option_of_a_study_reaches_all_its_runs(tmp_path: Path) -> None:
    params = read_params(compose(tmp_path / "params.yaml", "studies.xray.options.widths=reshi"))
    assert {params.options_of(run)["widths"] for run in params.runs_of("xray")} == {"reshi"}
    assert not any(params.options_of(run) for run in params.runs_of("faces"))
    assert params.options_of("xray-depth2") == {"depth": 2, "widths": "reshi"}


@pytest.mark.parametrize(("study", "data"), [(study, data) for study in STUDIES for data in CHOICES[f"{study}_data"]])
def test_a_data_set_has_its_format_path_and_classes(study: str, data: str, tmp_path: Path) -> None:
    params = read_params(compose(tmp_path / "params.yaml", f"{study}_data={data}"))
    chosen = SHIPPED["studies"][study]["choices"]["data"][data]
    found = params.studies[study]
    assert (found.data, found.source.format) == (data, data)
    assert found.source.path == chosen.get("path", f"data/raw/{data}")
    assert found.classes == chosen.get("classes", SHIPPED["studies"][study]["classes"])
    assert found.positive == chosen.get("positive", SHIPPED["studies"][study]["positive"])
    (other,) = set(STUDIES) - {study}
    assert params.studies[other].model_dump(exclude_unset=True) == SHIPPED["studies"][other]


def test_a_class_may_be_taken_away_and_a_path_be_any(tmp_path: Path) -> None:
    own = ("~studies.faces.classes.contempt", "studies.xray.source.path=/data/xray", "xray_data=ieee8023")
    params = read_params(compose(tmp_path / "params.yaml", *own))
    assert list(params.studies["faces"].classes) == [
        "anger", "disgust", "fear", "happy", "neutral", "sad", "surprise",
    ]  # fmt: skip
    xray = params.studies["xray"]
    assert (xray.source.format, xray.source.path) == ("ieee8023", "/data/xray")
    assert list(xray.classes) == ["normal", "covid"]


def test_the_positive_class_comes_last(tmp_path: Path) -> None:
    params = read_params(compose(tmp_path / "params.yaml", "studies.xray.positive=normal"))
    assert list(params.studies["xray"].classes) == ["covid", "normal"]


def leaves(value: Any, key: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """(path of keys, value) of everything that is not a mapping."""
    if not isinstance(value, dict) or not value:
        return [(key, value)]
    return list(itertools.chain.from_iterable(leaves(item, (*key, name)) for name, item in value.items()))


# Of the runs one with options is enough.
SETTINGS = [(key, value) for key, value in leaves(VALID) if key[0] != "runs" or key[1] == "xray-aug4"]
# Empty mappings may hold anything of their own.
WRONG = [(key, value) for key, value in SETTINGS if value != {}]


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


@pytest.mark.parametrize(("key", "value"), WRONG, ids=lambda item: str(item)[:60])
def test_a_wrong_type_names_key_value_and_what_is_allowed(key: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    wrong = {"nested": 1} if isinstance(value, (list, str)) or "options" in key else "wrong"
    message = refusal(changed(key, wrong), tmp_path)
    assert message.startswith(".".join(map(str, key)) + ": ")
    assert repr(wrong) in message
    assert "; allowed: " in message


# Mappings whose entries are free to leave out.
FREE = {"models", "classes", "options", "choices", "numbers", "max_bytes"}


@pytest.mark.parametrize(
    "key",
    [key for key, _ in SETTINGS if not FREE & set(key) and key[-2:-1] != ("runs",) and not key[0].endswith("_data")],
    ids=str,
)
def test_a_missing_and_a_misspelt_key_are_named(key: tuple[Any, ...], tmp_path: Path) -> None:
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
    ("studies.faces.epochs", 0),
    ("studies.faces.batch_size", 0),
    ("studies.faces.image_size", 7),
    ("studies.xray.paper_image_size", 1025),
    ("studies.faces.finetune.epochs", 0),
    ("studies.faces.promotion.minimum", 1.5),
    ("studies.faces.split.val", 1.0),
    ("studies.faces.split.tune", -0.1),
    ("studies.xray.synthetic.train", 0),
    ("studies.faces.training.learning_rate", 0.0),
    ("studies.faces.training.relative_update", 101.0),
    ("studies.xray.training.beta_1", 1.0),
    ("studies.xray.training.head_dropout", 1.0),
    ("studies.faces.training.label_smoothing", 1.0),
    ("studies.xray.training.patience", -1),
    ("studies.xray.policies.aug4.level", 5),
    ("studies.faces.policies.augmented.rotation", 181),
    ("studies.faces.policies.augmented.shift", 1.0),
    ("data_seed", -1),
    ("compute.threads", 0),
    ("seeds", []),
]


@pytest.mark.parametrize(("key", "value"), BOUNDS, ids=str)
def test_a_value_out_of_range_is_refused(key: str, value: Any, tmp_path: Path) -> None:
    assert refusal(changed(tuple(key.split(".")), value), tmp_path).startswith(f"{key}: ")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("profile", "huge", "quick, report, smoke"),
        ("models.alexnet", "lenet", "affect, affect-losses, alexnet, all, mobilenet, resnet18, smoke, vggnet, xraynet"),
        ("batchnorm", "frozen", "'moving' or 'recalibrated'"),
        ("studies.faces.training.selection", "first", "'last' or 'best'"),
        ("studies.faces.primary_split", "tune", "'val' or 'test'"),
        ("runs.alexnet.policy", "aug1", "a policy of faces: augmented"),
        ("runs.alexnet.study", "digits", "a key of studies: faces, xray"),
        ("finetuned.alexnet.policy", "aug1", "a policy of faces: augmented"),
        ("finetuned.vgg", {"study": "faces", "policy": "augmented"}, "a run, under its own study"),
        ("exported.alexnet.phase", "base", "tuned, the run's last phase"),
        ("exported.alexnet", {"study": "xray", "phase": "tuned"}, "a run, under its own study"),
        ("digits_data", "folders", "such a key only for one of the studies faces, xray"),
        ("seeds", [1, 1], "each seed once"),
        ("studies.faces.split.tune", 0.0, "the study needs a tune split, to fine-tune on"),
        ("studies.faces.split.test", 0.0, "the study needs a test split, the primary split"),
        ("studies.xray.synthetic.test", 0, "the study needs a test split, the primary split"),
        ("studies.faces.split", built.STUDY["split"] | {"test": 0.8}, "tune + test below 1"),
        ("studies.faces.finetune", None, "a section, since alexnet is fine-tuned"),
        ("studies.xray.positive", None, "normal or covid, the class that sensitivity is about"),
        ("studies.xray.positive", "pneumonia", "normal, covid"),
        ("studies.faces.positive", "fear", "null, since there are more than two classes"),
        ("ablations.depth.runs", {"alexnet": 1}, "runs of the study xray"),
        ("external.faces-elsewhere.study", "cats", "a key of studies: faces, xray"),
        ("external.faces-elsewhere.source.path", "models/x", "a folder apart from models, "),
        ("studies.xray.classes.covid", ["Normal"], "under one class"),
        ("studies.xray.classes.covid", ["covid", "sars", "SARS"], "under one class"),
        ("studies.faces.classes.disgust", ["contempt"], "under one class"),
        ("studies.faces.classes", {"normal": [], "macro": [], "other": []}, "any other name"),
    ],
)
def test_a_contradiction_says_what_is_allowed(key: str, value: Any, expected: str, tmp_path: Path) -> None:
    message = refusal(changed(tuple(key.split(".")), value), tmp_path)
    assert message.startswith(key), message
    assert expected in message


def test_a_relative_path_that_leaves_the_repository_is_refused(tmp_path: Path) -> None:
    content = changed(("studies", "faces", "source", "path"), "../elsewhere")
    assert str(ROOT.parent / "elsewhere") in refusal(content, tmp_path)


@pytest.mark.parametrize("text", ["", "- a list", "{unclosed", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml"):
        read_params(path)


def test_a_file_is_read_as_dvc_reads_it(tmp_path: Path) -> None:
    text = yaml.safe_dump(changed(("data_seed",), 4))
    file = tmp_path / "params.yaml"
    file.write_text(text.replace("jit: 'off'", "jit: on").replace("data_seed: 4", "data_seed: 010"))
    params = read_params(file)
    assert (params.compute.jit, params.data_seed) == ("on", 10)
    file.write_text(text.replace("data_seed: 4", "data_seed: 4\ndata_seed: 8"))
    with pytest.raises(UserError, match=r"params.yaml: not YAML: .*found duplicate key") as caught:
        read_params(file)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_params(tmp_path / "params.yaml")


def test_a_source_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = changed(("studies", "xray", "source"), {"format": "folders", "path": "data/raw/xray"})
    del content["studies"]["faces"], content["external"]["faces-elsewhere"]
    params = Params.model_validate(content)
    line = r"params.yaml: studies.xray.source.path: 'data/raw/xray' is not a folder; allowed: "
    with pytest.raises(UserError, match=line):
        require_sources(params)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw.dvc").touch()
    with pytest.raises(UserError, match=r"; allowed: an existing folder; `dvc pull` brings this one"):
        require_sources(params)
    (tmp_path / "data/raw/xray").mkdir(parents=True)
    require_sources(params)


def test_params_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Params.model_validate(VALID).seeds = [1]


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("source.format", "tar", "studies.faces.source.format: 'tar' found; allowed: affectnet, "),
        ("synthetic", None, "studies.faces.synthetic: None found; allowed: a section, since "),
        ("synthetic.generator", "cats", "studies.faces.synthetic.generator: 'cats' found; allowed: faces, xrays"),
        (
            "synthetic.options.site",
            0.5,
            "studies.faces.synthetic.options.site: 0.5 found; allowed: only the options site_shift",
        ),
        (
            "classes.boredom",
            ["bored"],
            "studies.faces.classes.boredom: ['bored'] found; allowed: with synthetic data: anger, contempt, disgust",
        ),
    ],
)
def test_a_source_of_unknown_form_is_refused(key: str, value: Any, line: str) -> None:
    params = Params.model_validate(changed(("studies", "faces", *key.split(".")), value))
    for refuse in (check_sources, require_sources):
        with pytest.raises(UserError) as caught:
            refuse(params)
        assert str(caught.value).startswith(f"params.yaml: {line}")
    check_sources(Params.model_validate(VALID))


@pytest.mark.parametrize("value", [1.1, -1.1, True, "much"])
def test_an_option_of_a_generator_has_a_range(value: Any) -> None:
    key = "studies.xray.synthetic.options.site_label_correlation"
    params = Params.model_validate(changed(tuple(key.split(".")), value))
    with pytest.raises(UserError) as caught:
        check_sources(params)
    assert str(caught.value) == f"params.yaml: {key}: {value!r} found; allowed: -1 to 1"


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("runs.alexnet.net", "lenet", "runs.alexnet.net: 'lenet' found; allowed: alexnet, "),
        ("runs.alexnet.options", {"depth": 3}, "runs.alexnet.options.depth: 3 found; allowed: an option of alexnet: "),
        ("studies.xray.options.width", 3, "runs.xray-aug0.options.width: 3 found; allowed: an option of xraynet: "),
    ],
)
def test_an_unknown_net_or_option_is_refused(key: str, value: Any, line: str) -> None:
    with pytest.raises(UserError) as caught:
        check_nets(Params.model_validate(changed(tuple(key.split(".")), value)))
    assert str(caught.value).startswith(f"params.yaml: {line}")
    check_nets(Params.model_validate(VALID))


def test_a_run_s_own_training_stands_over_its_study_s() -> None:
    own = {"optimizer": "adam", "learning_rate": 0.25, "dropout": 1, "augmentation": 0.5, "batch_size": 7, "epochs": 3}
    params = Params.model_validate(changed(("runs", "alexnet", "training"), own | {"class_weight": "balanced"}))
    recipe, sizes = params.run_recipe("alexnet"), params.run_sizes("alexnet")
    assert (recipe.optimizer, recipe.learning_rate, recipe.dropout, recipe.augmentation) == ("adam", 0.25, 1.0, 0.5)
    assert (sizes.batch_size, sizes.epochs, sizes.class_weight) == (7, 3, "balanced")
    assert params.run_recipe("vggnet") == params.studies["faces"].training
    assert params.run_sizes("vggnet") == params.studies["faces"]


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
