"""What conf/ composes to, and how params.yaml differs from it."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from cnnstudy.config.params import parse_params
from cnnstudy.config.schema import Params
from cnnstudy.errors import UserError
from cnnstudy.workspace import dvc, files, paths

GROUPS = ("model", "profile", "recipe", "faces_data", "xray_data")
# Sections that say how a result is come by or what becomes of it.
ASIDE = ("compute.", "audit.", "tracking.", "promotion.")
# A text that Hydra takes as it is.
PLAIN = re.compile(r"(?!(null|true|false|inf|nan)$)[A-Za-z/][A-Za-z0-9_./-]*", re.IGNORECASE)


def composed(overrides: list[str]) -> dict[str, Any]:
    """What `dvc exp run -S` with some overrides would train with: {dotted key: value}; errors as `composition`."""
    return files.flat(composition(overrides).model_dump())


def composition(overrides: list[str]) -> Params:
    """The same as parameters.

    Raises:
        UserError: conf/ has no such group, choice or key, is no YAML, or a value is not allowed.
    """
    with TemporaryDirectory() as folder:
        return compose(Path(folder, "params.yaml"), overrides, paths.CONF)


def compose(target: Path, overrides: list[str], called: Path) -> Params:
    """Write what conf/ composes into a file, and read it; errors are those of `composition`, on a file `called` so."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if not paths.CONF.is_dir():
        raise UserError(f"{paths.CONF}: no such folder; run cnnstudy in the repository's root")
    try:
        dvc.compose(target, paths.CONF, overrides)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        cause = str(error).partition("Config search path")[0]
        # Of a group that is set to no name Hydra says a ValueError, and not which.
        given = f"{' '.join(overrides)}: " if type(error) is ValueError else ""
        raise UserError(f"{paths.CONF}: {given}{' '.join(cause.split())}") from None
    return parse_params(target.read_text(encoding="utf-8"), called)


def overrides(params: Params) -> list[str]:
    """What `dvc exp run -S` takes, one each, for the results that `params` gives: groups first, then single keys.

    Where a source lies on this machine, and what changes no result, is left out.
    """
    chosen = [(name, getattr(params, name)) for name in GROUPS]
    groups = [f"{name}={choice}" for name, choice in chosen if (paths.CONF / name / f"{choice}.yaml").exists()]
    wanted, found = (
        {key: value for key, value in its.items() if not key.startswith(ASIDE) and not key.endswith(".path")}
        for its in (composed(groups), files.flat(params.model_dump()))
    )
    added = [f"+{key}={_text(value)}" for key, value in found.items() if key not in wanted]
    changed = [f"{key}={_text(value)}" for key, value in found.items() if key in wanted and wanted[key] != value]
    return [*groups, *changed, *added, *(f"~{key}" for key in wanted if key not in found)]


def overrides_of(params: Params, run: str) -> list[str]:
    """What `dvc exp run -S` takes, one each, to train a run as `params` says: groups first, then single keys.

    Sections that the choice of a model makes (plans, runs, ablations) are left as it makes them.
    """
    study, net = params.runs[run].study, params.runs[run].net
    model = net if (paths.CONF / "model" / f"{net}.yaml").exists() else params.model
    usual = composed([f"profile={params.profile}"]) | {"profile": composed([])["profile"]}
    groups = [f"{name}={getattr(params, name)}" for name in GROUPS[1:] if getattr(params, name) != usual[name]]
    wanted, found = composed([f"model={model}", *groups]), files.flat(params.model_dump())
    common = ("seeds", "data_seed", "split_seed", "batchnorm")
    sections = (f"training.{study}.", f"{study}.", f"sources.{study}.", "compute.")
    keys = [key for key in found if key in wanted and (key in common or key.startswith(sections))]
    differing = [key for key in keys if found[key] != wanted[key]]
    return [f"model={model}", *groups, *(f"{key}={_text(found[key])}" for key in differing)]


def _text(value: Any) -> str:
    """A value in Hydra's words: a plain text as it is, any other in quotes, a list without spaces."""
    if not isinstance(value, str):
        return json.dumps(value, separators=(",", ":"))
    return value if PLAIN.fullmatch(value) else "'" + re.sub(r"(\\*)'", r"\1\1\\'", value) + "'"
