"""What a killed `dvc` left half-written: it writes its own files in place, and refuses to start on a torn one.

The first stage that a `dvc` runs leaves a guardian, a process that waits for that `dvc` to end and then mends.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any

from cnnstudy import dvclock, files, paths
from cnnstudy.errors import UserError

# What git writes where two sides differ.
MERGED = re.compile(r"^<{7} ", re.MULTILINE)
# Seconds to wait for DVC's lock, which another `dvc` may hold.
PATIENCE = 10.0
# Set for processes whose `dvc` is started by one that has a guardian.
GUARDED = "CNNSTUDY_GUARDED"


def keep_lock() -> None:
    """Keep a copy of dvc.lock, while a stage of its `dvc` runs and so nobody writes it."""
    with suppress(TimeoutError), dvc_lock():
        if not paths.LOCK.exists():
            return
        lock = paths.LOCK.read_text(encoding="utf-8", errors="replace")
        kept = paths.KEPT_LOCK.read_text(encoding="utf-8") if paths.KEPT_LOCK.exists() else ""
        # The copy is written anew all the same: its time says that it is of this `dvc`.
        if lock == kept or whole(dvclock.without(lock, kept)) is not None:
            files.write_text(paths.KEPT_LOCK, lock)


def mend(started: float = inf) -> Iterator[str]:
    """Mend DVC's files in this workspace, and say of each what was done.

    dvc.lock is put back as it was when the last stage began, if that was after the time `started` (of the `dvc` that
    was killed), else as git has it, or removed: what has run since is restored from DVC's run cache. It is torn where
    DVC can't read it, or where it ends too early, between two lines: it is then a beginning of such a copy. The list of
    files in use is removed: an unreadable one names no process. From a readable one go the processes that have ended
    and that nobody has waited for, as happens in a container: DVC would wait for these for ever.

    Raises:
        UserError: dvc.lock holds the two sides of a merge.
    """
    if paths.LOCK.exists():
        refuse_merge(paths.LOCK.read_text(encoding="utf-8", errors="replace"))
    is_recent = paths.KEPT_LOCK.exists() and paths.KEPT_LOCK.stat().st_mtime >= started
    if not lock_is_whole() or (is_recent and _is_cut_off()):
        done = _put_back(is_recent)
        yield f"{paths.LOCK}: torn by a killed dvc; {done}, and what has run since comes from DVC's cache"
    if not rwlock_is_whole():
        files.remove(paths.RWLOCK)
        yield f"{paths.RWLOCK}: torn by a killed dvc; removed"
    elif ended := _ended():
        held = json.loads(paths.RWLOCK.read_text(encoding="utf-8"))
        kept = {
            "read": {
                path: [user for user in users if user["pid"] not in ended]
                for path, users in held.get("read", {}).items()
            },
            "write": {path: user for path, user in held.get("write", {}).items() if user["pid"] not in ended},
        }
        files.write_text(paths.RWLOCK, json.dumps(kept))
        yield f"{paths.RWLOCK}: named processes that have ended; removed"


def refuse_merge(lock: str) -> None:
    """Refuse a dvc.lock's content that holds the two sides of a merge.

    Raises:
        UserError: saying what to do.
    """
    if MERGED.search(lock):
        raise UserError(
            f"{paths.LOCK}: both sides of a merge found; allowed: one of them, "
            f"`git checkout --ours {paths.LOCK}` or `--theirs`, then `cnnstudy repro`"
        )


def _put_back(is_recent: bool) -> str:
    if is_recent:
        files.write_text(paths.LOCK, paths.KEPT_LOCK.read_text(encoding="utf-8"))
        return "put back as it was when the last stage began"
    files.remove(paths.LOCK)
    known = subprocess.run(["git", "checkout", "--quiet", "--", str(paths.LOCK)], capture_output=True, check=False)
    return "put back as git has it" if known.returncode == 0 else "removed"


def _is_cut_off() -> bool:
    """Whether dvc.lock is a beginning of the copy, and not what git has, which somebody may just have checked out."""
    if not paths.LOCK.exists():
        return False
    kept, found = stage_names(paths.KEPT_LOCK), stage_names(paths.LOCK)
    if len(found) >= len(kept) or found != kept[: len(found)]:
        return False
    known = subprocess.run(["git", "show", f"HEAD:./{paths.LOCK}"], capture_output=True, check=False)
    return known.stdout != paths.LOCK.read_bytes()


def stage_names(lock: Path) -> list[str]:
    """The stages in a whole dvc.lock, in its order."""
    return list(files.parse_yaml(lock.read_text(encoding="utf-8"))["stages"])


def lock_is_whole() -> bool:
    """Whether dvc.lock is absent, or what DVC can read to its end."""
    return not paths.LOCK.exists() or whole(paths.LOCK.read_text(encoding="utf-8", errors="replace")) is not None


def whole(lock: str) -> dict[str, Any] | None:
    """What a dvc.lock's text says; None where DVC could not read it to its end."""
    import yaml

    if not lock.endswith("\n"):
        return None
    try:
        found = files.parse_yaml(lock)
    except yaml.YAMLError:
        return None
    stages = found.get("stages") if isinstance(found, dict) else None
    return found if isinstance(stages, dict) and all(map(_is_entry, stages.values())) else None


def _is_entry(entry: Any) -> bool:
    """Whether it is what DVC writes of a stage: its command, its parameters, and files with paths."""
    if not isinstance(entry, dict) or not isinstance(entry.get("cmd"), str | list):
        return False
    items = [entry.get(key, []) for key in ("deps", "outs")]
    return isinstance(entry.get("params", {}), dict) and all(
        isinstance(each, list) and all(isinstance(item, dict) and "path" in item for item in each) for each in items
    )


def rwlock_is_whole() -> bool:
    """Whether DVC's list of the files in use is absent or JSON."""
    if not paths.RWLOCK.exists():
        return True
    try:
        json.loads(paths.RWLOCK.read_text(encoding="utf-8", errors="replace"))
    except json.JSONDecodeError:
        return False
    return True


def _ended() -> set[int]:
    """The processes in DVC's list of the files in use that have ended, but are there until somebody waits for them."""
    if not paths.RWLOCK.exists():
        return set()
    import psutil

    held = json.loads(paths.RWLOCK.read_text(encoding="utf-8"))
    users = [user for users in held.get("read", {}).values() for user in users] + [*held.get("write", {}).values()]
    ended = set()
    for pid in {user["pid"] for user in users}:
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                ended.add(pid)
    return ended


def leave_guardian(dvc: int) -> None:
    """Start the guardian of a process, of `dvc` or of one that runs several, unless it has one.

    It is in no process group that a kill could mean.
    """
    if paths.root() != Path.cwd().resolve():
        return  # a temporary workspace, which nobody takes up again
    if GUARDED in os.environ:
        return
    import psutil

    name = f"{dvc} {psutil.Process(dvc).create_time()}"
    if paths.GUARDED.exists() and paths.GUARDED.read_text(encoding="utf-8") == name:
        return
    files.write_text(paths.GUARDED, name)
    # Without the variables that would make it look like a stage; the library is the one beside this file.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    subprocess.Popen(
        [sys.executable, "-m", "cnnstudy.recovery", str(dvc)],
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


@contextmanager
def dvc_lock() -> Iterator[None]:
    """Hold the lock that DVC holds while it reads and writes its files.

    Raises:
        TimeoutError: another process holds it for longer than `PATIENCE`.
    """
    import time

    from zc.lockfile import LockError, LockFile

    paths.DVC_LOCK.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            lock = LockFile(str(paths.DVC_LOCK))
            break
        except LockError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{paths.DVC_LOCK}: held by another process") from None
            time.sleep(0.05)
    try:
        yield
    finally:
        lock.close()


def mend_after(dvc: int) -> None:
    """Mend when the process `dvc` has ended; not where another one is at work by then."""
    import time

    import psutil

    started = time.time()
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(dvc).create_time()
        psutil.Process(dvc).wait()
    with suppress(TimeoutError, UserError), dvc_lock():
        list(mend(started))


if __name__ == "__main__":
    mend_after(int(sys.argv[1]))
