"""Versions pinned by the lock files."""

from pathlib import Path


def versions(lock: Path) -> dict[str, str]:
    """Return the version of each package that a lock file requires on this system."""
    from packaging.requirements import Requirement

    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if line[:1].isalnum()]
    wanted = [Requirement(line.removesuffix("\\").strip()) for line in lines]
    here = [each for each in wanted if each.marker is None or each.marker.evaluate()]
    return {each.name: next(iter(each.specifier)).version for each in here}
