"""From a source to samples.csv, images.npy and rejects.csv."""

import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from cnnstudy.config.schema import Params, StudyName
from cnnstudy.data import sources
from cnnstudy.data.decode import Decoded, UnreadableError, read_grey, read_image
from cnnstudy.data.samples import COLUMNS
from cnnstudy.data.sources import Candidate, drawn, require_source
from cnnstudy.errors import UserError
from cnnstudy.workspace import files
from cnnstudy.workspace.stage import end_with_parent

# Images handed to a process at once: few enough for a smooth bar, enough to keep the hand-over cheap.
CHUNK = 16
# Reasons that an error lists, and characters of a path there.
REASONS, SHOWN = 3, 200

Reader = Callable[[Candidate], Decoded | UnreadableError]


@dataclass(frozen=True)
class Found:
    """What a source holds, and how one of its images becomes pixels; the reader must go to another process."""

    candidates: list[Candidate]
    read: Reader


@dataclass(frozen=True)
class Ingested:
    """The tables that go with images.npy: samples (COLUMNS), rejects (path, reason), and notes with their counts."""

    samples: pd.DataFrame
    rejects: pd.DataFrame
    notes: Counter[str]


def find(params: Params, study: StudyName) -> Found:
    """List a study's source.

    Raises:
        UserError: there is no such folder, or it is not of the source's format.
    """
    source, settings = params.source(study), params.study(study)
    if source.format == "drawn":
        return Found(drawn.find(params, study), drawn.reader(params, study))
    require_source(params, study)
    root = Path(source.path)
    names = {alias.casefold(): name for name, aliases in settings.classes.items() for alias in (name, *aliases)}
    found = sources.find(source.format, root, set(names))
    named = [_named(candidate, names, study) for candidate in found]
    if all(candidate.reason for candidate in named):
        where = f"params.yaml: sources.{study}.path: {source.path!r}"
        if found and all(candidate.reason for candidate in found):
            raise UserError(f"{where} has no image that can be taken ({_reasons(found)}); allowed: at least one")
        labels = ", ".join(sorted({candidate.label for candidate in found if candidate.label})) or "none"
        raise UserError(
            f"{where} has no image of a known class (labels found: {labels}); "
            f"allowed: labels named in {study}.classes: {', '.join(sorted(names))}"
        )
    return Found(named, partial(_decode, root=root, size=settings.image_size))


def write(found: Found, source: str, size: int, images: Path) -> Ingested:
    """Read every candidate on all cores, in order, into `images`, uint8 [N, size, size, 3].

    Pixels are streamed, not held in memory.

    Raises:
        UserError: no image could be read.
    """
    usable = [candidate for candidate in found.candidates if not candidate.reason]
    rejects = [(candidate.path, candidate.reason) for candidate in found.candidates if candidate.reason]
    rows: list[tuple[object, ...]] = []
    notes: Counter[str] = Counter()
    with files.replacing(images) as path, path.open("wb") as file:
        _write_header(file, size, len(usable))
        for candidate, decoded in zip(usable, _read_all(found.read, usable), strict=True):
            if isinstance(decoded, UnreadableError):
                rejects.append((candidate.path, str(decoded)))
                continue
            file.write(np.ascontiguousarray(decoded.pixels).tobytes())
            rows.append(_row(len(rows), candidate.source or source, candidate, decoded))
            notes.update([candidate.note] if candidate.note else [])
        file.seek(0)
        _write_header(file, size, len(rows))
        if not rows:
            labels = ", ".join(sorted({candidate.label for candidate in usable}))
            raise UserError(
                f"{source}: none of {len(found.candidates)} files is a usable image (labels found: {labels}; "
                f"the last file: {rejects[-1][0]}: {rejects[-1][1]}); allowed: at least one that can be read"
            )
    return Ingested(
        pd.DataFrame(rows, columns=list(COLUMNS)), pd.DataFrame(sorted(rejects), columns=["path", "reason"]), notes
    )


def _decode(candidate: Candidate, root: Path, size: int) -> Decoded | UnreadableError:
    try:
        if candidate.grey:
            return read_grey(candidate.grey, size)
        return read_image(root / candidate.path, size, candidate.box)
    except UnreadableError as reason:
        return reason


def _reasons(candidates: list[Candidate]) -> str:
    """The most frequent reasons, each with how many files it concerns and one of them."""
    counts = Counter(candidate.reason for candidate in candidates)
    examples = {candidate.reason: candidate.path for candidate in reversed(candidates)}
    return "; ".join(f"{reason}: {n}, such as {examples[reason][:SHOWN]}" for reason, n in counts.most_common(REASONS))


def _named(candidate: Candidate, names: dict[str, str], study: str) -> Candidate:
    """The candidate under its class's own name."""
    if candidate.reason:
        return candidate
    name = names.get(candidate.label.casefold())
    if name is None:
        return replace(candidate, reason=f"label {candidate.label!r} is not in {study}.classes")
    return replace(candidate, label=name)


def _read_all(read: Reader, candidates: list[Candidate]) -> Iterator[Decoded | UnreadableError]:
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(mp_context=context, initializer=_start_worker) as pool:
            results: Iterable[Decoded | UnreadableError] = _bounded_map(pool, read, candidates)
            yield from tqdm(results, total=len(candidates), unit="image", disable=not sys.stderr.isatty())
    except BrokenProcessPool:  # what a system does to a process that takes the last memory
        raise MemoryError("a process that reads images was killed") from None


def _start_worker() -> None:
    """One thread a process; and it ends when the one that started it is killed, where it would wait for ever."""
    cv2.setNumThreads(1)
    end_with_parent()


def _bounded_map(
    pool: ProcessPoolExecutor, read: Reader, candidates: list[Candidate]
) -> Iterator[Decoded | UnreadableError]:
    """`pool.map` that keeps only a few chunks in memory, however many images there are."""
    ahead = CHUNK * 4 * (os.cpu_count() or 1)
    for start in range(0, len(candidates), ahead):
        yield from pool.map(read, candidates[start : start + ahead], chunksize=CHUNK)


def _write_header(file: object, size: int, count: int) -> None:
    """An .npy header (version 1.0) whose length does not depend on the count."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]


def _row(number: int, source: str, candidate: Candidate, decoded: Decoded) -> tuple[object, ...]:
    facts = (decoded.sha256, decoded.width, decoded.height, decoded.mode, decoded.bytes)
    return (number, candidate.label, candidate.group, candidate.hint, source, candidate.path, *facts)
