"""Survey of a folder or table before it becomes a study: classes, splits, persons, image sizes.

Names are listed as ingest lists them. Only some files are opened, and only their headers are read.
"""

import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from statistics import median

from cnnstudy.config.labels import folded, loosened
from cnnstudy.config.messages import shown
from cnnstudy.config.schema import RESERVED, Source
from cnnstudy.data import names as naming
from cnnstudy.data import sources
from cnnstudy.data.decode import UnreadableError, read_size
from cnnstudy.data.sources import Candidate, csv, folders
from cnnstudy.errors import UserError

# Files whose headers are read, spread over the source.
SAMPLE = 200
# The most suffixes, and files of each, that are examined to tell whether they are images.
MOST_SUFFIXES, FEW = 20, 5
# Splits that the study takes from the training images if the source lacks them.
CARVED = ("val", "test")
# First words in the names of the negative class of two.
NEGATIVE = frozenset(
    ("normal", "negative", "healthy", "no", "non", "not", "none", "without", "control", "benign", "false", "absent")
)
FOLDER = "a folder of class folders, one with a table (CSV or TSV), or the table"
# The beginning of the reason for a file in a folder that is named like a mask folder.
MASK = "a mask: in "


@dataclass(frozen=True)
class Sizes:
    """Sizes of the sampled images, the number of unreadable files, and an example with its reason ('' for none)."""

    read: list[tuple[int, int]]
    unreadable: int
    example: str

    @property
    def side(self) -> float:
        """Return the median of the shorter sides."""
        return median(min(each) for each in self.read)


@dataclass(frozen=True)
class Survey:
    """Contents of a source that a study can use.

    `classes` maps names to the spellings found, `counts` to the number of images in each split of the source ('' for
    none). `left_out` says why other labels are left out, `rejected` counts the other unusable files by reason.
    `remarks` are the messages logged while listing the source.
    """

    source: Source
    classes: dict[str, list[str]]
    counts: dict[str, Counter[str]]
    left_out: list[str]
    rejected: Counter[str]
    persons: int
    images_without_person: int
    sizes: Sizes
    remarks: list[str]

    @property
    def images(self) -> int:
        """Return the number of images of all classes."""
        return sum(each.total() for each in self.counts.values())

    @property
    def splits(self) -> Counter[str]:
        """Return the number of images in each split of the source."""
        return sum(self.counts.values(), Counter[str]())

    @property
    def carved(self) -> list[str]:
        """Return the splits that the source lacks."""
        return [name for name in CARVED if name not in self.splits]

    @property
    def positive(self) -> str | None:
        """Return the positive class of two: the only one not named like normal or negative, or else the last."""
        if len(self.classes) != 2:
            return None
        others = [name for name in self.classes if not _is_negative(name)]
        return others[0] if len(others) == 1 else list(self.classes)[-1]


def survey(place: Path, columns: tuple[str, str] = ("", "")) -> Survey:
    """Examine a folder or a table; `columns` are the table's columns of files and labels, if they have unusual names.

    Raises:
        UserError: `place` is neither, its format is not recognised, or it has images of fewer than two classes.
    """
    source, candidates, remarks = _listed(place, columns)
    root = Path(source.path)
    candidates = _without_others(root, candidates)
    taken = [each for each in candidates if not each.reason]
    _refuse_sources(root, taken)
    names, spellings = class_names(each.label for each in taken if each.label)
    by_class: dict[str, list[Candidate]] = defaultdict(list)
    for each in taken:
        by_class[names.get(folded(each.label), "")].append(each)
    splits = {each.source_split or "train" for each in taken}
    scarce = {name: why for name in spellings if (why := _scarcity(by_class[name], splits))}
    kept = {name: labels for name, labels in spellings.items() if name not in scarce}
    left_out = [f"{name} ({len(by_class[name])} images): {why}" for name, why in scarce.items()]
    if by_class[""]:
        left_out.append(f"{len(by_class[''])} images without a label")
    if len(kept) < 2:
        raise UserError(_too_few_classes(place, kept, left_out, candidates))
    images = [each for name in kept for each in by_class[name]]
    known = Counter(each.group for each in images if each.group)
    return Survey(
        source,
        kept,
        {name: Counter(each.source_split for each in by_class[name]) for name in kept},
        left_out,
        Counter(each.reason for each in candidates if each.reason),
        len(known),
        len(images) - known.total(),
        _sizes(root, images),
        remarks,
    )


def class_names(labels: Iterable[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the class of every label, folded, and the labels of every class, in the order of the classes.

    Labels that differ only in case and separators are of one class. Numbers are ordered as numbers.
    """
    alike: dict[str, set[str]] = defaultdict(set)
    for label in sorted(set(labels)):
        alike[loosened(label)].add(folded(label))
    every = set().union(*alike.values())
    spellings: dict[str, list[str]] = {}
    # Labels that are already valid names come first, so that no other label takes their name.
    for loose in sorted(alike, key=lambda each: (_name(each) not in alike[each], _order(each))):
        name, number = _name(loose), 2
        while name in spellings or name in every - alike[loose]:
            name, number = f"{_name(loose)}-{number}", number + 1
        spellings[name] = sorted(alike[loose])
    ordered = dict(sorted(spellings.items(), key=lambda item: _order(item[1][0])))
    return {label: name for name, its in ordered.items() for label in its}, ordered


def _name(label: str) -> str:
    """Return a name for a class: small letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return f"class-{name}".rstrip("-") if not name or name in RESERVED or name.isdigit() else name


def _order(label: str) -> tuple[int, str]:
    number = sources.NUMBER.fullmatch(label)
    return (int(number[1]) if number else 10**6, label)


def _is_negative(name: str) -> bool:
    return name.split("-")[0] in NEGATIVE


def _listed(place: Path, columns: tuple[str, str]) -> tuple[Source, list[Candidate], list[str]]:
    """Return the format of a source, its candidates, and the messages about them.

    If a folder has both a table and class folders, the listing with two classes or else more images is used.
    """
    root, formats = _formats(place)
    if any(columns):
        formats = ["csv"]
    if found := next(sources.special_files(root), None):
        raise UserError(f"--data: {str(root)!r} holds {found[1]}, {found[0]}; allowed: files and folders")
    problems: list[UserError] = []
    listings: list[tuple[Source, list[Candidate], list[str]]] = []
    for name in formats:
        source = Source(format=name, path=str(root))
        if name == "csv":
            chosen = source.columns.model_copy(update=dict(zip(("file", "label"), columns, strict=True)))
            source = source.model_copy(update={"columns": chosen})
        try:
            listings.append(_candidates(root, source))
        except UserError as error:
            problems.append(_of_the_command(error))
    if not listings:
        raise problems[0]

    def worth(listing: tuple[Source, list[Candidate], list[str]]) -> tuple[bool, int]:
        labels = [loosened(each.label) for each in listing[1] if not each.reason and each.label]
        return len(set(labels)) > 1, len(labels)

    best = max(listings, key=worth)
    if problems and not worth(best)[0]:
        raise problems[0]
    return best


def _formats(place: Path) -> tuple[Path, list[str]]:
    """Return the folder of a source, and the formats that it may have."""
    if place.is_file():
        if place.suffix.lower() not in (".csv", ".tsv"):
            raise UserError(f"--data: {str(place)!r} is a file; allowed: {FOLDER}")
        return place.parent, ["csv"]
    if not place.is_dir():
        raise UserError(f"--data: {str(place)!r} is neither a folder nor a file; allowed: {FOLDER}")
    has_table = any(any(place.glob(pattern)) for pattern in csv.TABLES)
    return place, ["csv", "folders"] if has_table else ["folders"]


def _candidates(root: Path, source: Source) -> tuple[Source, list[Candidate], list[str]]:
    """List a source twice: first to find its labels, then with them, as ingest will."""
    if source.format == "csv":
        labels = {each.label for each in csv.find(root, frozenset(), source) if not each.reason}
    else:
        labels = _folder_labels(folders.find(root, frozenset(), source))
    with _remarks() as remarks:
        found = sources.find(source.format, root, labels, source)
    return source, found, remarks


def _folder_labels(found: Sequence[Candidate]) -> set[str]:
    """Return the names of the class folders.

    Folders named like mask folders (`with_mask`, `without_mask`) count as classes if there is at most one other class.
    """
    labels = {each.label for each in found if not each.reason}
    if len(set(map(loosened, labels))) > 1 or labels & naming.CONTAINERS:
        return labels
    return labels | {each.label for each in found if each.reason == f"{MASK}{each.label}"}


@contextmanager
def _remarks() -> Iterator[list[str]]:
    """Collect the messages that the library logs."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("cnnstudy")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _of_the_command(error: UserError) -> UserError:
    """Return a format's error with the command's options in place of the parameters that the command writes."""
    text = str(error)
    for what in ("file", "label"):
        text = text.replace(f"studies.<study>.source.columns.{what}", f"--{what}-column")
    return UserError(text)


def _refuse_sources(root: Path, taken: Sequence[Candidate]) -> None:
    """Refuse folders that are named after formats, or hold tables: sources side by side, not classes."""
    tops = sorted({each.path.split("/")[0] for each in taken if "/" in each.path and not each.row})
    tables = {top: sorted(path.name for path in (root / top).glob("*.csv")) for top in tops}
    for top in tops:
        if tables[top] or top in sources.formats():
            holds = f" holds the table {tables[top][0]}" if tables[top] else " is named after a format"
            raise UserError(
                f"{root}: the folder {top!r}{holds}: a source of its own, not a class; allowed: one source, such as "
                f"--data {root / top}"
            )


def _without_others(root: Path, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates, rejecting those with a suffix, such as `.txt`, whose sampled files are not images."""
    by_suffix: dict[str, list[Candidate]] = defaultdict(list)
    for each in candidates:
        if not each.reason:
            by_suffix[PurePosixPath(each.path).suffix].append(each)
    usual = Counter({suffix: len(its) for suffix, its in by_suffix.items()}).most_common(MOST_SUFFIXES)
    others = {suffix for suffix, _ in usual if not any(_is_image(root, each) for each in _some(by_suffix[suffix], FEW))}
    if len(others) == len(by_suffix):
        return list(candidates)
    return [
        replace(each, reason="not an image") if not each.reason and PurePosixPath(each.path).suffix in others else each
        for each in candidates
    ]


def _is_image(root: Path, candidate: Candidate) -> bool:
    try:
        read_size(root / candidate.path)
    except UnreadableError:
        return False
    return True


def _some(images: Sequence[Candidate], most: int) -> Sequence[Candidate]:
    """Return at most `most` of the images, evenly spaced."""
    return images[:: -(-len(images) // most)]


def _scarcity(images: Sequence[Candidate], splits: set[str]) -> str:
    """Return why a class can't be in every split, or ''. All images of a person are in one split."""
    carved = [name for name in CARVED if name not in splits]
    own = {each.source_split or "train" for each in images}
    if missing := sorted(splits - own):
        return f"none in {', '.join(missing)}"
    free = len({each.group or each.path for each in images if (each.source_split or "train") == "train"})
    needed = 1 + len(carved)
    return "" if free >= needed else f"at least {needed} are needed, one each for {', '.join(['train', *carved])}"


def _too_few_classes(place: Path, kept: Iterable[str], left_out: list[str], candidates: Sequence[Candidate]) -> str:
    found = ", ".join(kept) or "none"
    reasons = Counter(each.reason for each in candidates if each.reason)
    said = [*left_out[:3], *(f"{count} files: {reason}" for reason, count in reasons.most_common(3))]
    more = f" ({'; '.join(said)})" if said else ""
    return f"--data: {shown(str(place))}: classes found: {found}{more}; allowed: {FOLDER}, with two classes or more"


def _sizes(root: Path, images: Sequence[Candidate]) -> Sizes:
    """Return the sizes of some images, read from their headers.

    Raises:
        UserError: none of them is an image.
    """
    some = _some(images, SAMPLE)
    read, problems = [], []
    for each in some:
        try:
            read.append(read_size(root / each.path))
        except UnreadableError as error:
            problems.append(f"{each.path}: {error}")
    if not read:
        raise UserError(
            f"{root}: none of {len(some)} files looked at can be read, such as {problems[0]}; allowed: images"
        )
    return Sizes(read, len(problems), problems[0] if problems else "")
