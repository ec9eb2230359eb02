"""Ingest of a source into samples.csv, images.npy and rejects.csv."""

import math
import multiprocessing
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from cnnstudy.config.labels import folded, loosened
from cnnstudy.config.schema import Params
from cnnstudy.data import crop, sources
from cnnstudy.data.decode import LARGEST_FILE, Decoded, Finder, UnreadableError, read_grey, read_image
from cnnstudy.data.samples import COLUMNS, VALUE
from cnnstudy.data.sources import Candidate, require_source, synthetic
from cnnstudy.errors import UserError
from cnnstudy.workspace import files
from cnnstudy.workspace.stage import end_with_parent

# Images handed to a process at once: few enough for a smooth progress bar, enough to keep the overhead small.
CHUNK = 16
# The most reasons in an error message, and the most characters of a path in it.
REASONS, SHOWN = 3, 200
# The most reasons, and labels, in the summary of an ingest.
MOST_REASONS, SEVERAL = 5, 10
# AffectNet's number for a value that was not annotated.
MISSING = -2.0
# The beginning of the reason for an image whose label belongs to no class.
UNKNOWN = "label "
# The name under which images of no class are counted.
UNCLASSED = "no class"

Reader = Callable[[Candidate], Decoded | UnreadableError]


@dataclass(frozen=True)
class Found:
    """The candidates of a source, and the function that reads one; the function must be picklable.

    `labels` counts the labels of each class as the source writes them, and `unknown` counts labels of no class.
    """

    candidates: list[Candidate]
    read: Reader
    labels: dict[str, Counter[str]]
    unknown: Counter[str]


@dataclass(frozen=True)
class Ingested:
    """The tables beside images.npy: samples (COLUMNS, and the columns kept from a table) and rejects (path, reason).

    `notes` counts the notes on images that are used.
    """

    samples: pd.DataFrame
    rejects: pd.DataFrame
    notes: Counter[str]


def find(params: Params, study: str) -> Found:
    """Return the images of a study's source.

    Raises:
        UserError: the folder is missing, or not in the source's format.
    """
    settings = params.studies[study]
    source = settings.source
    if source.format == "synthetic":
        images = synthetic.find(params, study)
        labels = {name: Counter(each.label for each in images if each.label == name) for name in settings.classes}
        if settings.unclassed:
            labels[UNCLASSED] = Counter(each.path.split("/")[1] for each in images if not each.label)
        return Found(images, synthetic.reader(params, study), labels, Counter())
    section, owner = params.section(study), params.owner(study)
    require_source(section, settings)
    root = Path(source.path)
    names = class_names(settings.classes)
    try:
        found = sources.find(source.format, root, set(names), source)
    except UserError as error:  # a format module does not know the study's name
        text = str(error).replace("studies.<study>.source", f"{section}.source")
        raise UserError(text.replace("<study>", owner)) from None
    if settings.values:
        found = [
            valued(each, settings.values) for each in sources.with_values(source.format, root, found, settings.values)
        ]
    keep = _kept(found, source.columns.keep, section)
    unclassed = {folded(name) for name in settings.unclassed}
    named = [_named(candidate, names, owner, keep, unclassed) for candidate in found]
    if all(candidate.reason for candidate in named):
        where = f"params.yaml: {section}.source.path: {source.path!r}"
        if found and all(candidate.reason for candidate in found):
            raise UserError(f"{where} has no image that can be used ({_reasons(found)}); allowed: at least one")
        seen = ", ".join(sorted({candidate.label for candidate in found if candidate.label})) or "none"
        raise UserError(
            f"{where} has no image of a known class (labels found: {seen}); "
            f"allowed: labels named in studies.{owner}.classes: {', '.join(sorted(names))}"
        )
    labels = {name: Counter[str]() for name in (*settings.classes, *([UNCLASSED] if settings.unclassed else []))}
    unknown: Counter[str] = Counter()
    for written, renamed in zip(found, named, strict=True):
        if not renamed.reason:
            labels[renamed.label or UNCLASSED][written.label] += 1
        elif not written.reason:
            unknown[written.label] += 1
    read = partial(_decode, root=root, size=settings.image_size, most=source.max_bytes, find=crop.finder(params, study))
    return Found(named, read, labels, unknown)


def valued(candidate: Candidate, ranges: Mapping[str, Sequence[float]]) -> Candidate:
    """Return a candidate with the numbers of its row, and with a reason if one is not a number within its range.

    A number that is empty, or that is `MISSING` outside of its range, is missing.
    """
    values: dict[str, float] = {}
    for name, (low, high) in ranges.items():
        text = candidate.row.get(name, "")
        if not text or candidate.reason:
            continue
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            if number == MISSING:
                continue
            return replace(candidate, reason=f"{name} {text[:SHOWN]!r} is not a number from {low:g} to {high:g}")
        values[name] = number
    return replace(candidate, values=values)


def class_names(classes: dict[str, list[str]]) -> dict[str, str]:
    """Return the class of each folded name, and of each loosened name that is unambiguous."""
    exact = {folded(alias): name for name, aliases in classes.items() for alias in (name, *aliases)}
    loose: dict[str, set[str]] = defaultdict(set)
    for alias, name in exact.items():
        loose[loosened(alias)].add(name)
    return {alias: min(owners) for alias, owners in loose.items() if len(owners) == 1} | exact


def describe(found: Found, rejects: pd.DataFrame, study: str) -> Iterator[str]:
    """Yield lines on the classes and their spellings, and on the most frequent reasons and labels of rejects."""
    classes = [name for name in found.labels if name != UNCLASSED]
    for number, (name, labels) in enumerate(found.labels.items()):
        positive = ", the positive class" if len(classes) == 2 and number == 1 else ""
        told = ", ".join(f"{label} ({count})" for label, count in labels.most_common(SEVERAL))
        if name == UNCLASSED:
            yield f"of no class: {labels.total()} images, labels {told or 'none'}"
            continue
        yield f"class {number} is {name}{positive}: {labels.total()} images, labels {told or 'none'}"
    if found.unknown:
        told = ", ".join(f"{label!r} ({count})" for label, count in found.unknown.most_common(SEVERAL))
        more = f" and {len(found.unknown) - SEVERAL} more" if len(found.unknown) > SEVERAL else ""
        example = min(classes, key=lambda name: found.labels[name].total() > 0)  # the first class without images
        yield (
            f"labels of no class: {told}{more}; "
            f"`-S 'studies.{study}.classes.{example}=[{example},<label>]'` adds one to a class"
        )
    counts = Counter(name for each in found.candidates if not each.reason for name in each.values)
    for name, count in counts.items():
        yield f"{name}: {count} images have it"
    others = rejects["reason"][~rejects["reason"].str.startswith(UNKNOWN)]
    for reason, count in others.value_counts().head(MOST_REASONS).items():
        yield f"{count} rejected: {reason}"


def write(found: Found, source: str, size: int, images: Path) -> Ingested:
    """Read every candidate on all cores, in order, into `images`, uint8 [N, size, size, 3].

    Pixels are streamed, not held in memory.

    Raises:
        UserError: no image could be read.
    """
    usable = [candidate for candidate in found.candidates if not candidate.reason]
    rejects = [(candidate.path, candidate.reason) for candidate in found.candidates if candidate.reason]
    rows: list[tuple[object, ...]] = []
    kept: list[Mapping[str, str]] = []
    values: list[Mapping[str, float]] = []
    patients: dict[str, str] = {}
    notes: Counter[str] = Counter()
    with files.replacing(images) as path, path.open("wb") as file:
        _write_header(file, size, len(usable))
        for candidate, decoded in zip(usable, _read_all(found.read, usable), strict=True):
            if isinstance(decoded, UnreadableError):
                rejects.append((candidate.path, str(decoded)))
                continue
            file.write(np.ascontiguousarray(decoded.pixels).tobytes())
            # A patient named by a file gets a number unrelated to the one in the clinic.
            own = patients.setdefault(decoded.group, f"patient {len(patients) + 1}") if decoded.group else ""
            if own and not candidate.group:
                candidate = replace(candidate, group=own)
            rows.append(_row(len(rows), candidate.source or source, candidate, decoded))
            kept.append(candidate.row)
            values.append(candidate.values)
            notes.update([candidate.note] if candidate.note else [])
        file.seek(0)
        _write_header(file, size, len(rows))
        if not rows:
            labels = ", ".join(sorted({candidate.label for candidate in usable}))
            raise UserError(
                f"{source}: none of {len(found.candidates)} files is a usable image (labels found: {labels}; "
                f"the last file: {rejects[-1][0]}: {rejects[-1][1]}); allowed: at least one that can be read"
            )
    samples = pd.DataFrame(rows, columns=list(COLUMNS))
    for column in kept[0]:
        samples[f"kept_{column}"] = [row[column] for row in kept]
    for name in dict.fromkeys(name for each in values for name in each):
        samples[f"{VALUE}{name}"] = [each.get(name, math.nan) for each in values]
    return Ingested(samples, pd.DataFrame(sorted(rejects), columns=["path", "reason"]), notes)


def _kept(found: list[Candidate], columns: list[str], section: str) -> list[str]:
    """Return the columns to keep, as spelled in the tables.

    Raises:
        UserError: an image's table has no such column.
    """
    for name in columns:
        for candidate in found:
            if not candidate.reason and folded(name) not in candidate.row:
                key = f"{section}.source.columns.keep"
                present = ", ".join(candidate.row) or "none: this format has no table"
                raise UserError(f"params.yaml: {key}: {name!r} found; allowed: columns of the table: {present}")
    return [folded(name) for name in columns]


def _decode(
    candidate: Candidate, root: Path, size: int, most: int = LARGEST_FILE, find: Finder | None = None
) -> Decoded | UnreadableError:
    try:
        if candidate.grey:
            return read_grey(candidate.grey, size)
        return read_image(root / candidate.path, size, candidate.box or find, most)
    except UnreadableError as reason:
        return reason


def _reasons(candidates: list[Candidate]) -> str:
    """Return the most frequent reasons, each with the number of files and one example."""
    counts = Counter(candidate.reason for candidate in candidates)
    examples = {candidate.reason: candidate.path for candidate in reversed(candidates)}
    return "; ".join(f"{reason}: {n}, such as {examples[reason][:SHOWN]}" for reason, n in counts.most_common(REASONS))


def _named(
    candidate: Candidate, names: dict[str, str], study: str, keep: list[str], unclassed: Collection[str] = ()
) -> Candidate:
    """Return the candidate with its class's own name, and with the kept columns of its table row.

    An image of no class, by a name in `unclassed`, has the label '' if it has a value, else a reason.
    """
    row = {column: candidate.row.get(column, "") for column in keep}
    name, reason = candidate.label, candidate.reason
    if not reason and folded(name) in unclassed:
        name, reason = ("", "") if candidate.values else (name, f"{name!r} is no class, and the image has no values")
    elif not reason:
        name = names.get(folded(name)) or names.get(loosened(name)) or ""
        if not name:
            name, reason = candidate.label, f"{UNKNOWN}{candidate.label!r} is not in studies.{study}.classes"
    if (name, reason, row) == (candidate.label, candidate.reason, candidate.row):
        return candidate
    return replace(candidate, label=name, reason=reason, row=row)


def _read_all(read: Reader, candidates: list[Candidate]) -> Iterator[Decoded | UnreadableError]:
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(mp_context=context, initializer=_start_worker) as pool:
            results: Iterable[Decoded | UnreadableError] = _bounded_map(pool, read, candidates)
            yield from tqdm(results, total=len(candidates), unit="image", disable=not sys.stderr.isatty())
    except BrokenProcessPool:  # the system has killed a process that took too much memory
        raise MemoryError("a process that reads images was killed") from None


def _start_worker() -> None:
    """Limit a worker process to one thread, and end it with its parent process instead of letting it wait for ever."""
    cv2.setNumThreads(1)
    # For a detector that needs TensorFlow: one thread, and no messages, which repeat for every process.
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    end_with_parent()


def _bounded_map(
    pool: ProcessPoolExecutor, read: Reader, candidates: list[Candidate]
) -> Iterator[Decoded | UnreadableError]:
    """Read candidates as `pool.map` does, but with only a few chunks in memory, however many images there are."""
    ahead = CHUNK * 4 * (os.cpu_count() or 1)
    for start in range(0, len(candidates), ahead):
        yield from pool.map(read, candidates[start : start + ahead], chunksize=CHUNK)


def _write_header(file: object, size: int, count: int) -> None:
    """Write an .npy header (version 1.0) whose length does not depend on the count."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]


def _row(number: int, source: str, candidate: Candidate, decoded: Decoded) -> tuple[object, ...]:
    facts = (decoded.sha256, decoded.width, decoded.height, decoded.mode, decoded.bytes)
    return (number, candidate.label, candidate.group, candidate.source_split, source, candidate.path, *facts)
