"""The folder of uploads: removed with the app, and limited in size by removing the oldest uploads."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "cnnstudy-app-"


@contextmanager
def upload_folder() -> Iterator[Path]:
    """Make a folder for uploads, remove it at the end, and first remove the folders of apps that were killed."""
    places = Path(tempfile.gettempdir())
    _remove_left(places)
    folder = places / f"{PREFIX}{secrets.token_hex(8)}"
    # The lock is held as long as the folder exists: it tells other apps that the folder is in use.
    with FileLock(_lock_of(folder), mode=0o600):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _remove_left(places: Path) -> None:
    for name in {path.name.removesuffix(".lock") for path in places.glob(f"{PREFIX}*")}:
        folder = places / name
        if not (_is_own(folder) or _is_own(_lock_of(folder))):
            continue
        with suppress(Timeout, OSError), FileLock(_lock_of(folder), timeout=0, mode=0o600):
            shutil.rmtree(folder, ignore_errors=True)
            _lock_of(folder).unlink(missing_ok=True)


def _is_own(path: Path) -> bool:
    """Return whether this user owns a file or folder that is not a link: others may write into the same place."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return not path.is_symlink() and (not hasattr(os, "getuid") or found.st_uid == os.getuid())


class Room:
    """A limit on the bytes of uploads in a folder; files that are there at the start are kept."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder = folder
        self.most = most
        self.kept = set(folder.rglob("*"))
        self.coming = 0

    @contextmanager
    def taken(self, size: int) -> Iterator[bool]:
        """Make room for an upload by removing the oldest; yield False where uploads under way take all the room."""
        if self.coming + size > self.most:
            yield False
            return
        self.coming += size
        try:
            self._remove_oldest()
            yield True
        finally:
            self.coming -= size

    def _remove_oldest(self) -> None:
        files = sorted(self._uploads())
        left = sum(size for _, size, _ in files) + self.coming - self.most
        for _, size, path in files:
            if left <= 0:
                return
            path.unlink(missing_ok=True)
            left -= size

    def _uploads(self) -> Iterator[tuple[int, int, Path]]:
        """Yield the time of change, size and path of each upload."""
        for path in self.folder.rglob("*"):
            if path not in self.kept and path.is_file():
                with suppress(FileNotFoundError):  # Gradio has moved the file meanwhile
                    found = path.stat()
                    yield found.st_mtime_ns, found.st_size, path
