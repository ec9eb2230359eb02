"""What a stage is begun with: DVC hashes parameters and code when it has ended, whatever was edited meanwhile."""

import os
from pathlib import Path
from typing import Any

from cnnstudy import files, paths
from cnnstudy.errors import UserError

# What people edit: parameters, and code. Data is written by stages, of which each waits for those before it.
EDITED = (paths.PARAMS, Path("src"), paths.CONF)

_begun: dict[Path, bytes] | None = None


def begin() -> None:
    """Keep in mind what this process, which runs a stage, is begun with."""
    global _begun
    _begun = _content()


def check() -> None:
    """Refuse what this process's stage depends on and was edited since; DVC would take the result for that of the new.

    Raises:
        UserError: naming it.
    """
    if _begun is None or (now := _content()) == _begun:
        return
    from cnnstudy.composed import is_below

    stage = os.environ["DVC_STAGE"]
    before, after = (_values(content.get(paths.PARAMS, b"")) for content in (_begun, now))
    dependencies, keys = _of_stage(stage)
    again = f"which {stage} was begun with, or to do it again"
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key) and is_below(key, keys):
            raise UserError(f"{paths.PARAMS}: {key}: {after.get(key)} found; allowed: {before.get(key)}, {again}")
    for path in sorted({*_begun, *now}):
        if _begun.get(path) != now.get(path) and any(path.is_relative_to(each) for each in dependencies):
            raise UserError(f"{path}: edited meanwhile; allowed: the content {again}")


def _content() -> dict[Path, bytes]:
    named = [path for path in EDITED if path.is_file()]
    found = [path for root in EDITED for path in root.rglob("*") if path.suffix in (".py", ".yaml", ".html", ".css")]
    return {path: path.read_bytes() for path in [*named, *found] if path.is_file()}


def _of_stage(stage: str) -> tuple[list[Path], list[str]]:
    """The files and folders of this workspace that a stage depends on, and the keys of its parameters."""
    from dvc.dependency import ParamsDependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo() as repo:
        try:
            (its,) = repo.stage.collect(stage)
        except DvcException as error:
            cause = " ".join(str(error).split())
            raise UserError(f"dvc.yaml: edited meanwhile: {cause}; allowed: what DVC can read") from None
        root = Path(repo.root_dir)
        keys = [key for each in its.deps if isinstance(each, ParamsDependency) for key in each.params]
        found = [Path(each.fs_path) for each in its.deps if not isinstance(each, ParamsDependency)]
    return [path.relative_to(root) for path in found if path.is_relative_to(root)], keys


def _values(params: bytes) -> dict[str, Any]:
    from cnnstudy.composed import flat

    try:
        return flat(files.parse_settings(params.decode("utf-8", "replace")))
    except files.SettingsError as error:
        raise UserError(f"{paths.PARAMS}: not YAML: {' '.join(str(error).split())}") from None
