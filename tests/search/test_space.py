"""Search spaces: allowed parameters, and the message for a wrong file."""

from pathlib import Path
from typing import Any

import pytest
from built import params as built_params

from cnnstudy.config.params import read_params
from cnnstudy.errors import UserError
from cnnstudy.search import space
from cnnstudy.search.space import Alternatives, Range

ROOT = Path(__file__).parents[2]
PARAMS = built_params()


def read(tmp_path: Path, text: str, run: str = "alexnet", params: Any = PARAMS) -> space.Space:
    (tmp_path / "space.yaml").write_text(text)
    return space.read_space(tmp_path / "space.yaml", params, run)


@pytest.mark.parametrize("run", ["alexnet", "xray-aug0"])
def test_the_shipped_spaces_hold_what_params_yaml_has(run: str) -> None:
    params = read_params(ROOT / "params.yaml")
    found = space.read_space(ROOT / space.default_file(params.runs[run].study), params, run)
    values = space.current(params, found)
    assert len(values) == len(found) >= 5
    assert all(dimension.holds(values[dimension.key]) for dimension in found)
    assert space.with_values(params, values) == params


def test_keys_of_both_sections_are_ranges_or_choices(tmp_path: Path) -> None:
    text = "learning_rate: {low: 0.001, high: 0.1, log: true}\nepochs: {low: 2, high: 9}\nschedule: [cosine]\n"
    assert read(tmp_path, text) == (
        Range("studies.faces.training.learning_rate", 0.001, 0.1, True, False),
        Range("studies.faces.epochs", 2, 9, False, True),
        Alternatives("studies.faces.training.schedule", ("cosine",)),
    )


def test_values_go_where_their_keys_say() -> None:
    changed = space.with_values(PARAMS, {"studies.faces.training.beta_1": 0.8, "studies.faces.epochs": 3})
    assert (changed.studies["faces"].training.beta_1, changed.studies["faces"].epochs) == (0.8, 3)
    assert changed.studies["xray"] == PARAMS.studies["xray"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "None found; allowed: some of the keys optimizer, relative_update"),
        ("[1]", "[1] found; allowed: some of the keys"),
        ("a: [", "not YAML: "),
        ("image_size: [64]", "image_size: [64] found, an unknown key; allowed: optimizer, "),
        (
            "learning_rate: 0.1",
            "learning_rate: 0.1 found; allowed: {low: ..., high: ..., log: true or false} or a",
        ),
        ("learning_rate: []", "learning_rate: [] found; allowed: at least one value, and each once"),
        ("learning_rate: [0.1, 0.1]", "learning_rate: [0.1, 0.1] found; allowed: at least one value, and each once"),
        ("learning_rate: [0.1, 2.0]", "learning_rate: 2.0 found; allowed: less than or equal to 1"),
        ("learning_rate: [1e-3x]", "learning_rate: '1e-3x' found; allowed: a valid number"),
        ("learning_rate: [{}]", "learning_rate: {} found; allowed: a valid number"),
        ("dropout: {low: -1.0, high: 1.0}", "dropout.low: -1.0 found; allowed: greater than or equal to 0"),
        ("epochs: {low: 1, high: 2.5}", "epochs.high: 2.5 found; allowed: a valid integer"),
        ("epochs: {low: 3, high: 3}", "epochs.high: 3 found; allowed: more than low, 3"),
        ("dropout: {low: 0.0, high: 1.0, log: true}", "dropout.low: 0.0 found; allowed: more than 0, with log"),
        ("dropout: {low: 0.0, step: 1.0}", "dropout: {'low': 0.0, 'step': 1.0} found; allowed: {low: ..., high: ..."),
        ("dropout: {low: 0.1, high: 1.0, log: 2}", "dropout: {'low': 0.1, 'high': 1.0, 'log': 2} found; allowed: {low"),
        ("schedule: {low: 0, high: 1}", "schedule: {'low': 0, 'high': 1} found; allowed: a list of choices"),
        ("schedule: [linear]", "schedule: 'linear' found; allowed: 'constant', 'cosine' or 'warmup-stable-decay'"),
    ],
)
def test_a_wrong_space_is_one_line_with_file_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, text)
    line = str(error.value)
    assert line.startswith(f"{tmp_path / 'space.yaml'}: {words}")
    assert "\n" not in line


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"^none\.yaml: no such file$"):
        space.read_space(Path("none.yaml"), PARAMS, "alexnet")


def test_a_batch_that_the_run_sets_itself_can_not_be_searched(tmp_path: Path) -> None:
    run = PARAMS.runs["alexnet"].model_copy(update={"training": {"batch_size": 250}})
    params = PARAMS.model_copy(update={"runs": {"alexnet": run}})
    with pytest.raises(
        UserError, match=r"batch_size: \[8, 16\] found; .* runs\.alexnet\.training\.batch_size overrides it$"
    ):
        read(tmp_path, "batch_size: [8, 16]", params=params)
