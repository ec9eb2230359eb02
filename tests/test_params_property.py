"""Any mistake in params.yaml, generated from its schema, is one line: file, key, value and what is allowed."""

import copy
import shutil
import sys
from pathlib import Path
from typing import Any

import built
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workspace import Workspace, clone

from cnnstudy import cli
from cnnstudy.config.schema import Params

ROOT = Path(__file__).parents[1]
OWN = {"study": "faces", "policy": "augmented", "net": "alexnet", "weights": "data/own.keras", "frozen": 2}
VALID = built.content(pretrained={"own": OWN})
SCHEMA = Params.model_json_schema()
Key = tuple[str, ...]

# Something of each JSON type.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "integer": st.integers(-(10**6), 10**6),
    "number": st.floats(0.001, 0.999),
    "string": st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=8),
    "array": st.lists(st.integers(), min_size=1, max_size=2),
    "object": st.just({"a": 1}),
}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A section's own schema, also where it may be null."""
    for option in (schema, *schema.get("anyOf", ())):
        if "$ref" in option:
            section: dict[str, Any] = SCHEMA["$defs"][option["$ref"].rsplit("/", 1)[1]]
            return section
    return schema


def entries(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of what a mapping with free names holds."""
    of_entries: dict[str, Any] = schema.get("additionalProperties") or next(iter(schema["patternProperties"].values()))
    return of_entries


def places(schema: dict[str, Any], value: Any, key: Key = ()) -> list[tuple[Key, dict[str, Any], bool]]:
    """(key, schema, whether it must be there) of all that the valid parameters hold, sections and leaves."""
    schema, found = resolved(schema), []
    for name, item in value.items() if isinstance(value, dict) else ():
        named = schema.get("properties", {}).get(name)
        of_item = resolved(named or entries(schema))
        is_required = name in schema.get("required", ())
        found += [((*key, name), of_item, is_required), *places(of_item, item, (*key, name))]
    return found


PLACES = places(SCHEMA, VALID)
LEAVES = [(key, schema) for key, schema, _ in PLACES if "properties" not in schema and schema.get("type") != "object"]
REQUIRED = [(key, schema) for key, schema, is_required in PLACES if is_required]


def wrong_types(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    options = schema.get("anyOf", [schema])
    types = {option.get("type", "string") for option in options}
    if "number" in types:
        types.add("integer")
    return st.sampled_from(sorted(VALUES.keys() - types)).flatmap(VALUES.__getitem__)


def out_of_range(schema: dict[str, Any]) -> list[st.SearchStrategy[Any]]:
    """Values of the right type that the schema still excludes; none where it excludes none."""
    schema = next((option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"), schema)
    numbers = st.integers if schema.get("type") == "integer" else st.floats
    found: list[st.SearchStrategy[Any]] = []
    if (low := schema.get("minimum", schema.get("exclusiveMinimum"))) is not None:
        found.append(numbers(max_value=low - 1, min_value=low - 1000))
    if (high := schema.get("maximum", schema.get("exclusiveMaximum"))) is not None:
        found.append(numbers(min_value=high + 1, max_value=high + 1000))
    found += [st.just(schema["exclusiveMinimum"])] if "exclusiveMinimum" in schema else []
    found += [st.just(schema["exclusiveMaximum"])] if "exclusiveMaximum" in schema else []
    found += [st.just(float("nan"))] if schema.get("type") == "number" else []
    found += [st.sampled_from(["", "no-such-choice", "Report "])] if "enum" in schema else []
    found += [st.just("")] if schema.get("minLength") else []
    found += [st.just([])] if schema.get("minItems") else []
    if schema.get("type") == "array":
        items = resolved(schema["items"])
        found += [
            wrong_types(items).map(lambda item: [item]),
            *(one.map(lambda item: [item]) for one in out_of_range(items)),
        ]
    return found


RANGED = [(key, schema) for key, schema in LEAVES if out_of_range(schema)]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cnnstudy", "check"])


def refusal(content: Any, capsys: pytest.CaptureFixture[str]) -> str:
    """The line that `cnnstudy check` ends with, without the file's name."""
    Path("params.yaml").write_text(yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False))
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    start = "error: params.yaml: "
    assert line.startswith(start)
    return line.removeprefix(start)


def changed(key: Key, change: Any) -> dict[str, Any]:
    """The valid parameters after `change(section, name)`."""
    content = copy.deepcopy(VALID)
    section = content
    for name in key[:-1]:
        section = section[name]
    change(section, key[-1])
    return content


def check_value(key: Key, value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(changed(key, lambda section, name: section.update({name: value})), capsys)
    found, _, allowed = said.partition(" found")
    assert found.startswith(".".join(key))
    shown = value[0] if isinstance(value, list) and value and found.startswith(".".join(key) + ".0") else value
    assert found.partition(": ")[2] == (repr(shown) if len(repr(shown)) <= 80 else repr(shown)[:77] + "...")
    assert "; allowed: " in allowed or "an unknown key; allowed: " in allowed
    assert not allowed.endswith("allowed: ")


SETTINGS = settings(
    max_examples=150,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@SETTINGS
@given(st.sampled_from(LEAVES).flatmap(lambda leaf: st.tuples(st.just(leaf[0]), wrong_types(leaf[1]))))
def test_a_wrong_type(capsys: pytest.CaptureFixture[str], wrong: tuple[Key, Any]) -> None:
    check_value(*wrong, capsys)


@SETTINGS
@given(st.sampled_from(RANGED).flatmap(lambda leaf: st.tuples(st.just(leaf[0]), st.one_of(out_of_range(leaf[1])))))
def test_a_value_out_of_range_or_unknown(capsys: pytest.CaptureFixture[str], wrong: tuple[Key, Any]) -> None:
    check_value(*wrong, capsys)


@pytest.mark.parametrize("key", [key for key, _ in REQUIRED], ids=".".join)
def test_a_missing_key(capsys: pytest.CaptureFixture[str], key: Key) -> None:
    said = refusal(changed(key, lambda section, name: section.pop(name)), capsys)
    start = f"{'.'.join(key)}: missing; allowed: "
    assert said.startswith(start)
    assert len(said) > len(start)


@SETTINGS
@given(st.sampled_from(REQUIRED), st.sampled_from(["_", "s", "2"]))
def test_a_misspelt_key(capsys: pytest.CaptureFixture[str], place: tuple[Key, Any], end: str) -> None:
    key = place[0]
    misspelt = changed(key, lambda section, name: section.update({f"{name}{end}": section[name]}))
    said = refusal(misspelt, capsys)
    assert said.startswith(f"{'.'.join(key)}{end}: ")
    assert " found, an unknown key; allowed: " in said
    assert key[-1] in said.partition("allowed: ")[2]


def test_every_kind_of_mistake_is_tried() -> None:
    assert {len(key) for key, _ in LEAVES} == {1, 2, 3, 4, 5}
    assert len(RANGED) > 80
    assert {section for (section, *_), _ in LEAVES} == set(VALID)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return clone(tmp_path_factory.mktemp("clone"))


@pytest.mark.parametrize(
    "key", [("runs", "alexnet", "study"), ("finetuned", "alexnet", "policy"), ("studies", "faces", "source", "path")]
)
def test_make_names_what_dvc_would_stumble_over(workspace: Workspace, key: Key) -> None:
    """DVC reads these keys itself, before its stage `check` can run."""
    content = yaml.safe_dump(changed(key, lambda section, name: section.pop(name)), sort_keys=False)
    (workspace.path / "params.yaml").write_text(content)
    ready = Path(sys.prefix, "ready")
    said = workspace.run("make", f"--old-file={ready}", f"READY={ready}", f"VENV={sys.prefix}", "repro", code=2)
    assert f"error: params.yaml: {'.'.join(key)}: missing; allowed: " in said
    assert "Running stage" not in said


@pytest.mark.parametrize("key", ["models.alexnet", "profile", "recipe", "faces_data"])
def test_an_unknown_choice(capsys: pytest.CaptureFixture[str], key: str) -> None:
    choices: dict[str, Any] = {
        "profile": {},
        "recipe": {"best": {}, "own": {}},
        "data": {"synthetic": {}, "folders": {}},
    }
    wrong = {key.replace(".", "__"): "no-such-choice"}
    content = built.content(studies__faces__choices=choices, **wrong)
    allowed = {
        "models.alexnet": "affect, affect-losses, alexnet, all, mobilenet, resnet18, smoke, vggnet, xraynet",
        "profile": "quick, report, smoke",
        "recipe": "best, own, the recipes of faces, xray",
        "faces_data": "synthetic, folders",
    }
    assert refusal(content, capsys) == f"{key}: 'no-such-choice' found; allowed: {allowed[key]}"


@pytest.mark.parametrize("study", ["faces", "xray"])
def test_an_unknown_format(capsys: pytest.CaptureFixture[str], study: str) -> None:
    check_value(("studies", study, "source", "format"), "no-such-format", capsys)
