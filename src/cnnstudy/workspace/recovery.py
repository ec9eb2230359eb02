"""Repair of files that a killed `dvc` left half-written: DVC writes in place, and refuses to start on a torn file."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

from cnnstudy.errors import UserError
from cnnstudy.workspace import files, paths

# Git's marker of a merge conflict.
MERGED = re.compile(r"^<{7} ", re.MULTILINE)
# In dvc.lock a stage begins with its name, indented by two spaces.
STAGE = re.compile(r"^(?=  \S)", re.MULTILINE)


def keep_lock() -> None:
    """Keep a copy of dvc.lock, which `mend` restores."""
    with suppress(FileNotFoundError), files.replacing(paths.KEPT_LOCK) as aside:
        shutil.copyfile(paths.LOCK, aside)


def order_at_start() -> list[str]:
    """Return the stages in dvc.lock, in order, at the start of this rebuild or of the unfinished one it continues."""
    if not is_unfinished():
        files.write_text(paths.KEPT_ORDER, "\n".join(entries(read_lock())))
    return paths.KEPT_ORDER.read_text(encoding="utf-8").splitlines()


def is_unfinished() -> bool:
    """Return whether the last rebuild here is unfinished: it was killed, was interrupted or failed."""
    return paths.KEPT_ORDER.exists()


def forget() -> None:
    """Remove the files that are kept until a rebuild is complete."""
    files.remove(paths.KEPT_LOCK)
    files.remove(paths.KEPT_ORDER)


def mend() -> Iterator[str]:
    """Repair DVC's files in this workspace, and yield a line for each repair; DVC's lock must be held.

    A torn dvc.lock is restored as it was after the last finished stage of `cnnstudy repro`, else as git has it, or
    removed: DVC then restores later results from its run cache. The list of the files in use is removed if it is torn,
    or if every process in it has ended: DVC would wait for a zombie process, as a container may leave.

    Raises:
        UserError: dvc.lock holds the two sides of a merge.
    """
    refuse_merge(read_lock())
    if not lock_is_whole():
        yield f"{paths.LOCK}: torn by a killed dvc; {_put_back()}, and later results come from DVC's cache"
    if not rwlock_is_whole():
        files.remove(paths.RWLOCK)
        yield f"{paths.RWLOCK}: torn by a killed dvc; removed"
    elif (users := _rwlock_users()) and not any(map(_runs, users)):
        files.remove(paths.RWLOCK)
        yield f"{paths.RWLOCK}: named only processes that have ended; removed"


def read_lock() -> str:
    """Return dvc.lock's text, even if it is torn; '' if there is no such file."""
    return paths.LOCK.read_text(encoding="utf-8", errors="replace") if paths.LOCK.exists() else ""


def refuse_merge(lock: str) -> None:
    """Refuse the text of a dvc.lock with both sides of a merge.

    Raises:
        UserError: it has both; the message says what to do.
    """
    if MERGED.search(lock):
        raise UserError(
            f"{paths.LOCK}: both sides of a merge found; allowed: one of them, "
            f"`git checkout --ours {paths.LOCK}` or `--theirs`, then `cnnstudy repro`"
        )


def lock_is_whole() -> bool:
    """Return whether dvc.lock is absent, or complete and readable for DVC."""
    return not paths.LOCK.exists() or whole(read_lock()) is not None


@lru_cache(maxsize=1)
def whole(lock: str) -> dict[str, Any] | None:
    """Return the parsed text of a dvc.lock, which is cached: don't modify it; None if DVC could not read it all."""
    if not lock.endswith("\n"):
        return None
    try:
        content = files.parse_settings(lock)
    except files.SettingsError:
        return None
    stages = content.get("stages") if isinstance(content, dict) else None
    return content if isinstance(stages, dict) and all(map(_is_entry, stages.values())) else None


def rwlock_is_whole() -> bool:
    """Return whether DVC's list of the files in use is absent or JSON."""
    try:
        json.loads(paths.RWLOCK.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return True
    except json.JSONDecodeError:
        return False
    return True


def _rwlock_users() -> set[int]:
    """Return the ids of the processes that DVC's list of the files in use names."""
    if not paths.RWLOCK.exists():
        return set()
    content = json.loads(paths.RWLOCK.read_text(encoding="utf-8"))
    readers = [user for users in content.get("read", {}).values() for user in users]
    return {user["pid"] for user in (*readers, *content.get("write", {}).values())}


def _runs(pid: int) -> bool:
    import psutil

    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def entries(lock: str) -> dict[str, str]:
    """Return the text of each stage's entry in a dvc.lock's text, in its order."""
    return {block.strip().partition("\n")[0].removesuffix(":"): block for block in STAGE.split(lock)[1:]}


def sort_lock(order: Iterable[str]) -> None:
    """Sort dvc.lock's stages by `order`, others last, since DVC just appends new ones. DVC's lock must be held."""
    if not lock_is_whole():
        return
    lock = read_lock()
    head, by_name = STAGE.split(lock)[0], entries(lock)
    names = dict.fromkeys([*(name for name in order if name in by_name), *by_name])
    if list(names) != list(by_name):
        files.write_text(paths.LOCK, "".join([head, *(by_name[name] for name in names)]))


def _put_back() -> str:
    kept = paths.KEPT_LOCK.read_text(encoding="utf-8", errors="replace") if paths.KEPT_LOCK.exists() else ""
    if whole(kept) is not None:
        files.write_text(paths.LOCK, kept)
        return "restored as it was after the last finished stage"
    files.remove(paths.LOCK)
    known = subprocess.run(["git", "checkout", "--quiet", "--", str(paths.LOCK)], capture_output=True, check=False)
    return "removed" if known.returncode else "restored from git"


def _is_entry(entry: Any) -> bool:
    """Return whether `entry` is a stage as DVC writes it: a command, parameters, and files with paths."""
    if not isinstance(entry, dict) or not isinstance(entry.get("cmd"), str | list):
        return False
    items = [entry.get(key, []) for key in ("deps", "outs")]
    return isinstance(entry.get("params", {}), dict) and all(
        isinstance(each, list) and all(isinstance(item, dict) and "path" in item for item in each) for each in items
    )
