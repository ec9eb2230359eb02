"""What a killed `dvc` left half-written: it writes its own files in place, and refuses to start on a torn one."""

import json
import subprocess
from collections.abc import Iterator

from cnnstudy import files, paths


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
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import ParseError, parse_yaml
    from voluptuous import Invalid

    content = paths.LOCK.read_text(encoding="utf-8", errors="replace")
    if not content.endswith("\n"):
        return False
    try:
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(content, str(paths.LOCK)))
    except (ParseError, Invalid):
        return False
    return True


def rwlock_is_whole() -> bool:
    """Whether DVC's list of the files in use is absent or JSON."""
    if not paths.RWLOCK.exists():
        return True
    try:
        json.loads(paths.RWLOCK.read_text(encoding="utf-8", errors="replace"))
    except json.JSONDecodeError:
        return False
    return True
