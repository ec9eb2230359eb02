"""When a phase was trained, and by whom: kept outside of DVC's outputs, whose bytes are the same at any time."""

import getpass
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cnnstudy.tracking import keys
from cnnstudy.workspace import files, paths


@dataclass(frozen=True)
class Times:
    """Start and end in seconds since 1970, how many seconds of training lie between them, and who trained."""

    start: float
    end: float
    seconds: float
    user: str


@contextmanager
def measured(run: str, phase: str) -> Iterator[float]:
    """Give the start of a phase's training, and keep its times under the md5 of what it wrote, if it ends well.

    A training that resumes one that was killed keeps the first start. Times that can't be written are not known.
    """
    begun = _folder(Path()) / f"{run}-{phase}"
    start = _resumed(run, phase, begun) or time.time()
    with suppress(OSError):
        files.write_text(begun, repr(start))
    yield start
    end = time.time()
    with suppress(OSError):
        file = _file(keys.directory_md5(paths.phase(run, phase)))
        if not file.exists():  # the first to make these bytes
            files.write_text(file, json.dumps(asdict(Times(start, end, end - start, user()))) + "\n")
        files.remove(begun)


def _resumed(run: str, phase: str, begun: Path) -> float | None:
    """When the training began that this one resumes, or None where it resumes none."""
    if any(paths.checkpoints().glob(f"{run}-{phase}-*/")):
        with suppress(OSError, ValueError):
            return float(begun.read_text(encoding="utf-8"))
    return None


def read(md5s: Iterable[str]) -> Times | None:
    """The times of a run whose phases have these md5s, or None where those of a phase are not known here."""
    found = []
    for md5 in md5s:
        with suppress(OSError, ValueError, TypeError):
            found.append(Times(**json.loads(_file(md5).read_text(encoding="utf-8"))))
            continue
        return None
    return Times(
        min(each.start for each in found),
        max(each.end for each in found),
        sum(each.seconds for each in found),
        found[-1].user,
    )


def user() -> str:
    """Who works here; '' where the system has no name for that."""
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return ""


def _file(md5: str) -> Path:
    return _folder(paths.root()) / f"{md5.removesuffix('.dir')}.json"


def _folder(root: Path) -> Path:
    return root / paths.TIMES
