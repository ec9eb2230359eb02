"""What conf/ composes to, and how params.yaml differs from it."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cnnstudy import paths
from cnnstudy.params import Params, read_params

GROUPS = ("model", "profile", "recipe", "faces_data", "xray_data")
# Sections that say how a result is come by or what becomes of it.
ASIDE = ("compute.", "audit.", "tracking.", "promotion.")


def composed(overrides: list[str]) -> dict[str, Any]:
    """What `dvc exp run -S` with some overrides would train with: {dotted key: value}; errors as `composition`."""
    return flat(composition(overrides).model_dump())


def composition(overrides: list[str]) -> Params:
    """The same as parameters.

    Raises:
        UserError: a value is not allowed.
    """
    from dvc.utils.hydra import compose_and_dump

    with TemporaryDirectory() as folder:
        target = Path(folder, "params.yaml")
        compose_and_dump(str(target), str(paths.CONF.resolve()), None, "config", "", overrides)
        return read_params(target)


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    if not isinstance(value, dict):
        return {key: value}
    return {k: v for name, item in value.items() for k, v in flat(item, f"{key}.{name}" if key else name).items()}


def overrides(params: Params) -> list[str]:
    """What `dvc exp run -S` takes, one each, for the results that `params` gives: groups first, then single keys.

    Where a source lies on this machine, and what changes no result, is left out.
    """
    chosen = [(name, getattr(params, name)) for name in GROUPS]
    groups = [f"{name}={choice}" for name, choice in chosen if (paths.CONF / name / f"{choice}.yaml").exists()]
    wanted, found = (
        {key: value for key, value in its.items() if not key.startswith(ASIDE) and not key.endswith(".path")}
        for its in (composed(groups), flat(params.model_dump()))
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
    usual = composed([])
    groups = [f"{name}={getattr(params, name)}" for name in GROUPS[1:] if getattr(params, name) != usual[name]]
    wanted, found = composed([f"model={model}", *groups]), flat(params.model_dump())
    common = ("seeds", "data_seed", "split_seed", "batchnorm")
    sections = (f"training.{study}.", f"{study}.", f"sources.{study}.", "compute.")
    keys = [key for key in found if key in wanted and (key in common or key.startswith(sections))]
    differing = [key for key in keys if found[key] != wanted[key]]
    return [f"model={model}", *groups, *(f"{key}={_text(found[key])}" for key in differing)]


def _text(value: Any) -> str:
    """A value in Hydra's words: a text as it is, a list without spaces."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
