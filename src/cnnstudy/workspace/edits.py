"""Edits of a stage's code and parameters while it runs: DVC hashes the files only at the end, and misses the edits."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnstudy.errors import UserError
from cnnstudy.workspace import dvc, files, paths

# What people edit: code and parameters. Data is written by stages, and each stage waits for those it needs.
EDITED = (Path("src"), paths.CONF)
SUFFIXES = (".py", ".yaml", ".html", ".css")


@dataclass(frozen=True)
class Inputs:
    """The MD5 of every file that people edit, and the text of params.yaml."""

    md5s: dict[Path, str]
    params: str


_begun: Inputs | None = None


def begin() -> None:
    """Record the inputs at the start of this process's stage."""
    global _begun
    _begun = _inputs()


def check() -> None:
    """Refuse edits of the inputs of this process's stage: DVC would record the result as made from the new content.

    Raises:
        UserError: an input was edited; the message names the file, or the parameter with both values.
    """
    if _begun is None or (after := _inputs()) == _begun:
        return
    before = _begun
    stage = os.environ["DVC_STAGE"]
    then, now = _values(before.params), _values(after.params)
    dependencies, sections = dvc.dependencies(stage)
    again = f"with which {stage} started, or running it again"
    for key in sorted({*then, *now}):
        if then.get(key) != now.get(key) and files.is_below(key, sections):
            raise UserError(f"{paths.PARAMS}: {key}: {now.get(key)} found; allowed: {then.get(key)}, {again}")
    for path in sorted({*before.md5s, *after.md5s}):
        is_edited = before.md5s.get(path) != after.md5s.get(path)
        if is_edited and any(path.is_relative_to(each) for each in dependencies):
            raise UserError(f"{path}: edited meanwhile; allowed: the content {again}")
    if before.params != after.params and paths.PARAMS in dependencies:
        raise UserError(f"{paths.PARAMS}: edited meanwhile; allowed: the content {again}")


def _inputs() -> Inputs:
    found = [path for root in EDITED for path in root.rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    params = paths.PARAMS.read_text(encoding="utf-8", errors="replace") if paths.PARAMS.is_file() else ""
    return Inputs({path: files.md5(path) for path in found}, params)


def _values(params: str) -> dict[str, Any]:
    try:
        return files.flat(files.parse_settings(params))
    except files.SettingsError as error:
        raise UserError(f"{paths.PARAMS}: not YAML: {' '.join(str(error).split())}") from None
