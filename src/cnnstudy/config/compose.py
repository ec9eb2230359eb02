"""Composition of parameters from conf/, and the overrides by which params.yaml differs from it."""

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from cnnstudy.config.messages import nearest, new_name
from cnnstudy.config.params import parse_params
from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.workspace import dvc, files, paths

# Keys that change no result: settings of computation, audit, tracking, promotion and choices, and a source's path.
ASIDE = re.compile(r"(compute|audit|tracking|studies\.[^.]+\.(promotion|choices|source\.path))(\.|$)")
# Mappings overridden as a whole: in conf/ a run's `training` may be an interpolation, and the order of classes matters.
WHOLE = re.compile(r"studies\.[^.]+\.classes|(runs|pretrained)\.[^.]+\.training")
# Hydra's messages for an unknown key and an unknown choice.
NO_KEY = re.compile(r"Could not override '([^']+)'")
NO_CHOICE = re.compile(r"Could not find '([^'/]+)/([^'/]+)'")
# A value that the user has put in quotes.
QUOTED = re.compile(r"^(['\"])(.*)\1$")
# A string that needs no quotes in Hydra.
PLAIN = re.compile(r"(?!(null|true|false|inf|nan)$)[A-Za-z/][A-Za-z0-9_./-]*", re.IGNORECASE)


def choices(params: Params) -> dict[str, str]:
    """Return the chosen model, profile, recipe and data sets, from the command line or by default."""
    return {name: getattr(params, name) for name in ("model", "profile", "recipe")} | params.data_choices


def composed(overrides: list[str]) -> dict[str, Any]:
    """Return the parameters that `dvc exp run -S` composes from some overrides, as {dotted key: value}.

    Raises:
        UserError: as for `composition`.
    """
    return files.flat(composition(overrides).model_dump(exclude_unset=True))


def composition(overrides: list[str]) -> Params:
    """Return the parameters that `dvc exp run -S` composes from some overrides.

    Raises:
        UserError: conf/ has no such group, choice or key, is not YAML, or a value is not allowed.
    """
    with TemporaryDirectory() as folder:
        return compose(Path(folder, "params.yaml"), overrides, paths.CONF)


def compose(target: Path, overrides: list[str], called: Path) -> Params:
    """Compose conf/ into a file and read it; errors are those of `composition`, and call the file `called`."""
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if not paths.CONF.is_dir():
        raise UserError(f"{paths.CONF}: no such folder; run cnnstudy in the repository's root")
    try:
        dvc.compose(target, paths.CONF, overrides)
    except OverrideParseException as error:
        key, _, value = error.override.partition("=")
        bare = QUOTED.sub(r"\2", value)
        allowed = shlex.quote(f"{key}={_quoted(bare)}")
        raise UserError(f"{error.override}: not in Hydra's syntax; allowed: a value in quotes, {allowed}") from None
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        cause = str(error).partition("Config search path")[0]
        # For a group without a name Hydra raises a ValueError that does not name the group.
        given = f"{' '.join(overrides)}: " if type(error) is ValueError else ""
        for override in overrides:
            old = _key(override)
            if new := new_name(old):
                raise UserError(f"{override}: {old} found, an old name; allowed: {new}") from None
        raise UserError(f"{paths.CONF}: {given}{_explained(' '.join(cause.split()))}") from None
    return parse_params(target.read_text(encoding="utf-8"), called)


def _quoted(value: str) -> str:
    """Return a value in Hydra's syntax, with quotes around the text; of a list or mapping around each item."""
    try:
        content = yaml.safe_load(value) if value[:1] in ("[", "{") else value
    except yaml.YAMLError:
        content = value
    return _text(content)


def _explained(cause: str) -> str:
    """Return Hydra's message on an override, with the existing key or choice that is most like an unknown one."""
    if unknown := NO_KEY.search(cause):
        with suppress(UserError):  # raised if conf/ itself is wrong
            if unknown[1] in (known := _keys()):  # the section above the key is an interpolation in conf/
                section = unknown[1].rpartition(".")[0]
                return (
                    f"{unknown[1]}: {section} is set as a whole in conf/; allowed: `{section}={{...}}` with all of it"
                )
            return f"{unknown[1]}: no such key{nearest(unknown[1], known)}; `+{unknown[1]}=...` would add one"
    if absent := NO_CHOICE.search(cause):
        group, name = absent.groups()
        return cause + nearest(name, [file.stem for file in (paths.CONF / group).glob("*.yaml")])
    return cause


def _keys() -> set[str]:
    """Return the keys that may be set on the command line: groups, sections and single values."""
    keys = [key for key in composed([]) if ".choices." not in key]
    parts = (key.split(".") for key in keys)
    sections = {".".join(part[:count]) for part in parts for count in range(1, len(part) + 1)}
    return sections | {folder.name for folder in paths.CONF.iterdir() if folder.name in ("model", "profile")}


def overrides(params: Params) -> list[str]:
    """Return the overrides for `dvc exp run -S` that give the results of `params`: choices first, then single keys.

    The paths of sources on this machine, and parameters that change no result, are left out.
    """
    chosen = _composable(choices(params))
    changes = _changes(composition(chosen).model_dump(exclude_unset=True), params.model_dump(exclude_unset=True))
    return [*chosen, *(change for change in changes if not ASIDE.match(_key(change)))]


def overrides_of(params: Params, run: str) -> list[str]:
    """Return the overrides for `dvc exp run -S` that train a run as `params` says: choices first, then single keys.

    Sections that the choice of a model defines (policies, runs, ablations) keep their composed values.
    """
    study, net = params.all_runs[run].study, params.all_runs[run].net
    model = net if (paths.CONF / "model" / f"{net}.yaml").exists() else params.model
    usual = files.flat(composition([f"model={model}", f"profile={params.profile}"]).model_dump(exclude_unset=True))
    usual |= {"profile": composed([])["profile"]}
    own = {key: value for key, value in choices(params).items() if key in ("profile", "recipe", f"{study}_data")}
    groups = [f"{key}={value}" for key, value in own.items() if usual.get(key) != value]
    changes = _changes(
        composition([f"model={model}", *groups]).model_dump(exclude_unset=True), params.model_dump(exclude_unset=True)
    )
    kept = re.compile(rf"(seeds|data_seed|split_seed|batchnorm|compute\..*|studies\.{study}\.(?!choices|policies).*)$")
    return [f"model={model}", *groups, *(change for change in changes if kept.match(_key(change)))]


def _composable(chosen: dict[str, str]) -> list[str]:
    """Return choices as overrides, without models and profiles that conf/ does not have."""
    options = {"model": chosen["model"].strip("[]").split(","), "profile": [chosen["profile"]]}
    missing = {
        group for group, names in options.items() if not all((paths.CONF / group / f"{n}.yaml").exists() for n in names)
    }
    return [f"{name}={value}" for name, value in chosen.items() if name not in missing]


def _changes(before: Any, after: Any, key: str = "") -> Iterator[str]:
    """Yield the overrides that turn `before` into `after`, both below a dotted key."""
    if isinstance(before, dict) and isinstance(after, dict) and not WHOLE.fullmatch(key):
        for name in {**after, **before}:
            below = f"{key}.{name}" if key else name
            if name not in after:
                yield f"~{below}"
            elif name not in before:
                yield f"+{below}={_text(after[name])}"
            else:
                yield from _changes(before[name], after[name], below)
    elif _text(before) != _text(after):
        if isinstance(before, dict) and isinstance(after, dict):
            yield from (f"~{key}", f"+{key}={_text(after)}")
        else:
            yield f"{'++' if isinstance(after, dict) else ''}{key}={_text(after)}"


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _text(value: Any) -> str:
    """Return a value in Hydra's syntax: plain strings unquoted, others in quotes, lists and mappings without spaces."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    return value if PLAIN.fullmatch(value) else "'" + re.sub(r"(\\*)'", r"\1\1\\'", value) + "'"
