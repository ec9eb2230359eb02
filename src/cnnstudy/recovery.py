"""What a killed `dvc` left half-written: it writes its own files in place, and refuses to start on a torn one.

The first stage that a `dvc` runs leaves a guardian, a process that waits for that `dvc` to end and then mends.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnstudy import files, paths

if TYPE_CHECKING:
    import psutil

# Seconds that a guardian tries to take DVC's lock, which another `dvc` may hold.
PATIENCE = 10.0


def mend() -> Iterator[str]:
    """Mend DVC's files in this workspace, and say of each what was done.

    dvc.lock is put back as git has it, or removed: what has run since is restored from DVC's run cache. The list of
    files in use is removed: an unreadable one names no process.
    """
    if not lock_is_whole():
        files.remove(paths.LOCK)
        known = subprocess.run(["git", "checkout", "--quiet", "--", str(paths.LOCK)], capture_output=True, check=False)
        done = "put back as git has it" if known.returncode == 0 else "removed"
        yield f"{paths.LOCK}: torn by a killed dvc; {done}, and what has run since comes from DVC's cache"
    if not rwlock_is_whole():
        files.remove(paths.RWLOCK)
        yield f"{paths.RWLOCK}: torn by a killed dvc; removed"


def lock_is_whole() -> bool:
    """Whether dvc.lock is absent, or what DVC can read to its end."""
    if not paths.LOCK.exists():
        return True
    import yaml

    content = paths.LOCK.read_text(encoding="utf-8", errors="replace")
    if not content.endswith("\n"):
        return False
    try:
        found = yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return False
    stages = found.get("stages") if isinstance(found, dict) else None
    return isinstance(stages, dict) and all(map(_is_entry, stages.values()))


def _is_entry(entry: Any) -> bool:
    """Whether it is what DVC writes of a stage: its command, its parameters, and files with paths."""
    if not isinstance(entry, dict) or not isinstance(entry.get("cmd"), str):
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


def leave_guardian(dvc: "psutil.Process") -> None:
    """Start the guardian of a `dvc`, unless it has one; it is in no process group that a kill of `dvc` could mean."""
    if paths.root() != Path.cwd().resolve():
        return  # a temporary workspace, which nobody takes up again
    name = f"{dvc.pid} {dvc.create_time()}"
    if paths.GUARDED.exists() and paths.GUARDED.read_text(encoding="utf-8") == name:
        return
    files.write_text(paths.GUARDED, name)
    # Without the variables that would make it look like a stage; the library is the one beside this file.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    subprocess.Popen(
        [sys.executable, "-m", "cnnstudy.recovery", str(dvc.pid)],
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def mend_after(dvc: int) -> None:
    """Mend when the process `dvc` has ended and no other one works here."""
    import time

    import psutil
    from zc.lockfile import LockError, LockFile

    with suppress(psutil.NoSuchProcess):
        psutil.Process(dvc).wait()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(LockError):
            lock = LockFile(str(paths.DVC_LOCK))
            list(mend())
            lock.close()
            return
        time.sleep(0.05)


if __name__ == "__main__":
    mend_after(int(sys.argv[1]))
