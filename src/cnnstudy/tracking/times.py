"""Times, user and machine of each phase's training, kept outside DVC's outputs, whose bytes must not depend on time."""

import getpass
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cnnstudy.tracking import keys
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.machine import Machine, this_machine


@dataclass(frozen=True)
class Times:
    """Start and end in seconds since 1970, seconds of training between them, the user, and the machine.

    `host` is the machine's name, `hardware` its GPUs or its CPU; both are '' if they are unknown.
    """

    start: float
    end: float
    seconds: float
    user: str
    host: str = ""
    hardware: str = ""


@contextmanager
def measured(run: str, phase: str) -> Iterator[float]:
    """Yield the start of a phase's training, and on success keep its times under the MD5 hash of its output.

    A resumed training keeps its first start. Times that can't be written stay unknown.
    """
    begun = _folder(Path()) / f"{run}-{phase}"
    start = _resumed(run, phase, begun) or time.time()
    with suppress(OSError):
        files.write_text(begun, repr(start))
    yield start
    end = time.time()
    with suppress(OSError):
        folder, own = paths.phase(run, phase), this_machine()
        keep(
            keys.directory_md5(folder),
            Times(start, end, end - start, user(), own.host, hardware(folder, own)),
        )
        files.remove(begun)


def hardware(phase: Path, machine: Machine) -> str:
    """Return what a phase was trained on: the machine's GPUs if it used any, or else the CPU."""
    facts = json.loads((phase / paths.FACTS).read_text(encoding="utf-8"))
    return machine.hardware if facts.get("gpus", "none") != "none" else machine.cpu


def keep(md5: str, its: Times) -> None:
    """Keep the times of the training that made a phase with this MD5 hash; those of the first one stay."""
    file = _file(md5)
    if not file.exists():
        files.write_text(file, json.dumps(asdict(its)) + "\n")


def _resumed(run: str, phase: str, begun: Path) -> float | None:
    """Return the start of the training that is resumed, or None."""
    if any(paths.checkpoints().glob(f"{run}-{phase}-*/")):
        with suppress(OSError, ValueError):
            return float(begun.read_text(encoding="utf-8"))
    return None


def read(md5s: Iterable[str]) -> Times | None:
    """Return the times of a run by the MD5 hashes of its phases, or None if a phase is unknown here."""
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
        together(each.host for each in found),
        together(each.hardware for each in found),
    )


def together(names: Iterable[str]) -> str:
    """Return the names of hosts or hardware, each once; names of several phases or seeds are joined by commas."""
    parts = dict.fromkeys(part for name in names if name for part in name.split(", "))
    return ", ".join(parts)


def user() -> str:
    """Return the user's name; '' if the system has none."""
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return ""


def _file(md5: str) -> Path:
    return _folder(paths.root()) / f"{md5.removesuffix('.dir')}.json"


def _folder(root: Path) -> Path:
    return root / paths.TIMES
