"""Search spaces: a range or choices for keys of params.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cnnstudy.config.schema import SIZES, Params, Section, Training
from cnnstudy.errors import UserError
from cnnstudy.workspace import files, paths

if TYPE_CHECKING:
    from optuna import Trial

FORM = "{low: ..., high: ..., log: true or false} or a list of choices"

Value = float | str


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; on a logarithmic scale where `log`."""

    key: str
    low: float
    high: float
    log: bool
    is_integer: bool

    def suggest(self, trial: "Trial") -> Value:
        """Return the value that a trial suggests."""
        if self.is_integer:
            return trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, log=self.log)

    def holds(self, value: Value) -> bool:
        """Return whether a trial may take `value`."""
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Alternatives:
    """A choice between given values."""

    key: str
    values: tuple[Value, ...]

    def suggest(self, trial: "Trial") -> Value:
        """Return the value that a trial suggests."""
        value: Value = trial.suggest_categorical(self.key, self.values)  # type: ignore[assignment]
        return value

    def holds(self, value: Value) -> bool:
        """Return whether a trial may take `value`."""
        return value in self.values

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


# Each with its key in params.yaml, such as studies.<study>.training.learning_rate.
Space = tuple[Range | Alternatives, ...]


def default_file(study: str) -> Path:
    """Return the search space of a study's runs, or the default one where the study has none of its own."""
    own = paths.CONF / "search" / f"{study}.yaml"
    return own if own.exists() else own.with_name("default.yaml")


def read_space(path: Path, params: Params, run: str) -> Space:
    """Read and check the space of a run's search.

    Raises:
        UserError: naming the file, the key, its value and what is allowed.
    """
    try:
        content = files.parse_settings(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or 'unreadable').lower()}; allowed: a YAML file") from None
    except (files.SettingsError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    study = params.all_runs[run].study
    keys = (*Training.model_fields, *SIZES)
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: {content!r} found; allowed: some of the keys {', '.join(keys)}")
    try:
        return tuple(_dimension(params, study, run, key, entry) for key, entry in content.items())
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def current(params: Params, space: Space) -> dict[str, Value]:
    """Return the values in params.yaml for the keys of a space."""
    content = files.flat(params.model_dump())
    values: dict[str, Value] = {}
    for dimension in space:
        values[dimension.key] = content[dimension.key]
    return values


def with_values(params: Params, values: Mapping[str, Value]) -> Params:
    """Return parameters with other values for some keys, such as studies.<study>.training.learning_rate."""
    content = params.model_dump()
    for key, value in values.items():
        *sections, name = key.split(".")
        section = content
        for each in sections:
            section = section[each]
        section[name] = value
    return Params.model_validate(content)


def _dimension(params: Params, study: str, run: str, key: str, entry: object) -> Range | Alternatives:
    is_recipe = key in Training.model_fields
    section: Section = params.studies[study].training if is_recipe else params.studies[study]
    name = f"studies.{study}.training.{key}" if is_recipe else f"studies.{study}.{key}"
    if not is_recipe and key not in SIZES:
        allowed = ", ".join((*Training.model_fields, *SIZES))
        raise UserError(f"{key}: {entry!r} found, an unknown key; allowed: {allowed}")
    if key in (params.all_runs[run].training or {}):
        raise UserError(f"{key}: {entry!r} found; allowed: nothing, since runs.{run}.training.{key} overrides it")
    if isinstance(entry, list):
        return _choices(section, key, name, entry)
    if isinstance(entry, dict):
        return _range(section, key, name, entry)
    raise UserError(f"{key}: {entry!r} found; allowed: {FORM}")


def _choices(section: Section, key: str, name: str, values: list[Any]) -> Alternatives:
    for value in values:
        _check(section, key, value, key)
    if not values or len(set(values)) < len(values):
        raise UserError(f"{key}: {values!r} found; allowed: at least one value, and each once")
    return Alternatives(name, tuple(values))


def _range(section: Section, key: str, name: str, entry: dict[Any, Any]) -> Range:
    kind = type(section).model_fields[key].annotation
    log = entry.get("log", False)
    if kind not in (int, float):
        raise UserError(f"{key}: {entry!r} found; allowed: a list of choices")
    if not {"low", "high"} <= set(entry) <= {"low", "high", "log"} or not isinstance(log, bool):
        raise UserError(f"{key}: {entry!r} found; allowed: {FORM}")
    low, high = entry["low"], entry["high"]
    for end in ("low", "high"):
        _check(section, key, entry[end], f"{key}.{end}")
    if not low < high:
        raise UserError(f"{key}.high: {high!r} found; allowed: more than low, {low!r}")
    if log and not low > 0:
        raise UserError(f"{key}.low: {low!r} found; allowed: more than 0, with log")
    return Range(name, low, high, log, kind is int)


def _check(section: Section, key: str, value: object, where: str) -> None:
    """Check a value by the schema of params.yaml."""
    try:
        type(section).model_validate(section.model_dump() | {key: value})
    except ValidationError as error:
        allowed = error.errors()[0]["msg"].removeprefix("Input should be ")
        raise UserError(f"{where}: {value!r} found; allowed: {allowed}") from None
