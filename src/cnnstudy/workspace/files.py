"""Files that are written completely or not at all: under a temporary name first, which then replaces the file."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, ZipInfo

if TYPE_CHECKING:
    import numpy as np


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, for a file or a folder that replaces `path` when the block succeeds.

    If the block fails, `path` is unchanged and the temporary path is removed. A killed process leaves that path,
    `.partial.<name>`, which git and DVC ignore and the next write removes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".partial.{path.name}")
    remove(aside)
    try:
        yield aside
        if path.is_dir():
            remove(path)
        aside.replace(path)
    except OSError as error:
        if error.filename is None:  # as after a failed write, which doesn't name its file
            error.filename = str(path)
        raise
    finally:
        remove(aside)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`, which replaces `path` when the block succeeds."""
    with replacing(path) as aside:
        aside.mkdir()
        yield aside


def reserve(path: Path, size: int) -> None:
    """Raise OSError if the disk has no room for `size` bytes at `path`; no file is left there.

    On systems without posix_fallocate, such as macOS, nothing is checked: the write itself fails.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(size, 1))
        finally:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, completely or not at all."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


class SettingsError(Exception):
    """Text that is not YAML, or has a duplicate key."""


def parse_settings(text: str) -> Any:
    """Parse YAML 1.2, as DVC reads params.yaml: `on` is a string, 1e-3 a number, 010 is ten.

    Raises:
        SettingsError: the text is not YAML; the message says where, in several lines.
    """
    from ruamel.yaml import YAML, YAMLError

    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise SettingsError(str(error).partition("To suppress this check")[0]) from None


def overlap(one: PurePath, other: PurePath) -> bool:
    """Return whether one of two paths is, or lies in, the other."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """Return nested mappings as one flat mapping with dotted keys."""
    if not isinstance(value, dict):
        return {key: value}
    return {k: v for name, item in value.items() for k, v in flat(item, f"{key}.{name}" if key else name).items()}


def is_below(key: str, sections: Iterable[str]) -> bool:
    """Return whether a dotted key is one of `sections`, or lies below one."""
    return any(f"{key}.".startswith(f"{section}.") for section in sections)


def remove(path: Path) -> None:
    """Remove a file, or a folder with its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def md5(path: Path) -> str:
    """Return the MD5 of a file's content, as in dvc.lock."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def write_arrays(path: Path, arrays: dict[str, "np.ndarray"]) -> None:
    """Write an .npz file whose bytes depend on the arrays alone.

    The bytes of NumPy's savez depend on Python's version (on how it writes sizes that are not known yet), and those of
    savez_compressed on the zlib that Python was built with.
    """
    import numpy as np

    with ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            archive.writestr(ZipInfo(f"{name}.npy"), content.getvalue())
