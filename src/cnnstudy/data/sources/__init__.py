"""Source formats, one module each: a module lists the images of a source, sorted, with their labels, splits and groups.

A module is named after its format and has `find(root, names)`, which returns every image that the source in the folder
`root` names or holds, as candidates; `names` are the folded labels in the parameters. Where a format needs the source's
other parameters, `find` has a third argument, `source`. Modules log messages on the source, and ingest prints them.
"""

import codecs
import importlib
import inspect
import logging
import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

# A module of this package is called csv, so the standard one is not imported by that name.
from csv import Error as TableError
from csv import field_size_limit, reader
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NoReturn, TextIO

from cnnstudy.config.labels import folded, loosened
from cnnstudy.config.messages import shown
from cnnstudy.config.schema import Group, Params, Source, Study
from cnnstudy.data import names as naming
from cnnstudy.data import synth
from cnnstudy.data.sources._persons import scheme_of
from cnnstudy.errors import UserError
from cnnstudy.workspace import dvc, paths

# Alternative labels of a format, with blanks for `_` and `-`, and the names that replace them if the parameters have
# only those. Radiography: the copies of March to June 2020, and COVID-QU-Ex of the same authors, have folders COVID-19
# and NORMAL, later copies COVID and Normal. ieee8023: Actualmed's `No finding`, and COVIDx's `normal`.
ALIASES: dict[str, dict[str, tuple[str, ...]]] = {
    "radiography": {"covid 19": ("covid",), "covid": ("covid-19",)},
    "ieee8023": {"no finding": ("no findings", "normal"), "normal": ("no finding",), "covid 19": ("covid",)},
}

log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]

# The most characters of a table's cell, which may hold the pixels of an image: enough for 1000 x 1000.
LARGEST_CELL = 1 << 23
# The most characters of a line of a table; csv reads a whole line at once.
LARGEST_LINE = 1 << 25
# The number of bytes from which a table's encoding is detected.
HEAD = 1 << 16
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# Types that are neither file nor folder; reading one may never end.
SPECIAL = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
# A label that is a number.
NUMBER = re.compile(r"([0-9]{1,6})(\.0*)?")
# The path of an entry in the folder of DVC's cache.
IN_CACHE = re.compile(r"(files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}")


@dataclass(frozen=True)
class Candidate:
    """An image of a source: its path there, its label as written, its group, and its split in the source.

    `reason` says why an image is rejected before it is read, and `note` is a remark on an image that is used. `box`
    (left, top, right, bottom, in pixels) is the part to crop; None stands for the whole image. `grey` holds the pixels,
    row by row, of a square grey image without a file of its own. `source` is the source's folder in a mixed source.
    `row` is the image's row in a table. `values` are the numbers that the image has, by name.
    """

    path: str
    label: str = ""
    group: str = ""
    source_split: str = ""
    reason: str = ""
    note: str = ""
    box: Box | None = None
    grey: bytes = b""
    source: str = ""
    row: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Masks:
    """Masks that a source brings: the region of the images that they show, and a function from an image to its mask."""

    region: str
    file: Callable[[Path], Path]


def masks(name: str) -> Masks | None:
    """Return the masks that a format brings, or None. Its module then has `REGION` and `mask_file`."""
    module = importlib.import_module(f"{__name__}.{name}")
    return Masks(module.REGION, module.mask_file) if hasattr(module, "mask_file") else None


def with_values(name: str, root: Path, candidates: list[Candidate], names: Collection[str]) -> list[Candidate]:
    """Return candidates whose rows have the named numbers, if the format keeps these apart from its table.

    Its module then has `with_values(root, candidates, names)`.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    found: list[Candidate] = (
        module.with_values(root, candidates, names) if hasattr(module, "with_values") else candidates
    )
    return found


def written(name: str) -> str:
    """Return a file name as a table can hold it: bytes that are not UTF-8, and carriage returns, as escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8").replace("\r", "\\r")


def files(root: Path) -> list[Path]:
    """Return the files below `root`, sorted, and the folders that are links or can't be read, which are not entered."""
    found: list[str] = []
    unreadable: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=unreadable.append):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        found += [os.path.join(folder, name) for name in (*names, *links)]
    found += [error.filename for error in unreadable if Path(error.filename) != root]
    return [Path(path) for path in sorted(found, key=lambda path: path.split(os.sep))]


def file_problem(root: Path, path: Path) -> str:
    """Return why `path` is not a usable file below `root`; '' if it is one. Only its last part may be a link."""
    place = os.fspath(path)
    name = place[len(os.fspath(root)) :]
    if (not name.isascii() or "\r" in name) and written(name) != name:
        return "a name that is not UTF-8 or holds a carriage return"
    try:
        mode = os.lstat(place).st_mode
        if stat.S_ISLNK(mode):
            if _leads_out(root, path):
                return "a link out of the folder"
            mode = os.stat(place).st_mode
    except FileNotFoundError:
        return "no such file"
    # A circular link raises RuntimeError before Python 3.13, and a NUL in a name ValueError.
    except (OSError, RuntimeError, ValueError):
        return "a name or link that can't be followed"
    return "" if stat.S_ISREG(mode) else "not a regular file"


def named_problem(root: Path, name: str) -> str:
    """Return why `name`, a path below `root` in a table, can't be used; '' where it can."""
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or {"..", "."} & {*parts, *name.split("/")}:
        return "not a file name"
    folders = [root.joinpath(*parts[:count]) for count in range(1, len(parts))]
    try:
        if any(folder.is_symlink() for folder in folders) and _leads_out(root, root / name):
            return "a link out of the folder"
    except (OSError, RuntimeError, ValueError):
        return "a name or link that can't be followed"
    return file_problem(root, root / name)


def _leads_out(root: Path, path: Path) -> bool:
    """Return whether a link leads out of `root`, but not into DVC's cache, where `cache.type symlink` keeps files."""
    target = path.resolve()
    if target.is_relative_to(root.resolve()):
        return False
    return not any(
        target.is_relative_to(cache) and IN_CACHE.fullmatch(target.relative_to(cache).as_posix())
        for cache in dvc.caches(root)
    )


def special_files(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and kind of everything from `root` down that is neither file nor folder, without opening it."""
    if kind := _special(os.fspath(root)):
        yield os.fspath(root), kind
    folders = [os.fspath(root)] if root.is_dir() else []
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in sorted(entries, key=lambda each: each.name):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif not entry.is_file(follow_symlinks=False) and (kind := _special(entry.path)):
                        yield entry.path, kind
        except OSError:  # DVC and ingest report a folder that can't be read
            continue


def _special(path: str) -> str:
    """Return the kind of a path that is, or links to, neither file nor folder; '' for any other or missing path."""
    try:
        status = os.lstat(path)
        is_link = stat.S_ISLNK(status.st_mode)
        kind = SPECIAL.get(stat.S_IFMT(os.stat(path).st_mode if is_link else status.st_mode), "")
    except (OSError, ValueError):
        return ""
    return f"a link to {kind}" if kind and is_link else kind


class Listing:
    """The files below a folder, which can be looked up by names that are spelled differently.

    Names may differ in Unicode form or case, have backslashes, no extension, or `.jpeg` for `.jpg`. `names` are
    relative to the folder, with slashes, in the order given; `known` is the set of them.
    """

    def __init__(self, paths_below: Iterable[str]) -> None:
        self.names = list(paths_below)
        self.known = set(self.names)
        self._folded: dict[str, list[str]] | None = None

    def named(self, name: str) -> tuple[str, str]:
        """Return the file that a table calls `name`, or `name` if there is none, and why it is ambiguous, or ''."""
        if name in self.known:
            return name, ""
        if self._folded is None:
            self._folded = defaultdict(list)
            for each in self.names:
                key = _key(each)
                self._folded[key].append(each)
                if key != (stem := _without_suffix(key)):
                    self._folded[f"{stem}\0"].append(each)
        key = _key(name.replace("\\", "/"))
        found = self._folded.get(key) or (key and self._folded.get(f"{key}\0")) or []
        if len(found) > 1:
            return name, f"several files have this name: {', '.join(sorted(found))}"
        return (found[0], "") if found else (name, "")


def _key(name: str) -> str:
    key = folded(name).removeprefix("./")
    return f"{key[:-5]}.jpg" if key.endswith(".jpeg") else key


def _without_suffix(key: str) -> str:
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def below(root: Path, folder: Path) -> list[str]:
    """Return the files below `folder`, as paths relative to `root`."""
    return [relative(root, path) for path in files(folder)]


def relative(root: Path, path: Path) -> str:
    """Return a path relative to `root`, with slashes: like `Path.relative_to`, which is slow for many paths."""
    above, place = os.path.join(root, ""), os.fspath(path)
    return place[len(above) :].replace(os.sep, "/") if place.startswith(above) else path.relative_to(root).as_posix()


def encoding_of(path: Path) -> str:
    """Return the encoding of a text file: UTF-8, UTF-16 (Excel's 'Unicode text'), or else Windows's code page 1252.

    Raises:
        UserError: the file is not text.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
            if head.startswith(mark):
                return encoding
        zeros = [head[start::2].count(0) for start in (0, 1)]
        if sum(zeros) > len(head) / 5:
            if min(zeros) > len(head) / 20:
                raise UserError(f"{path}: not a text file; allowed: a table, as UTF-8 or UTF-16")
            return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
        file.seek(0)
        return "utf-8-sig" if _is_utf8(file) else "cp1252"


def _is_utf8(file: BinaryIO) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while content := file.read(1 << 20):
            decoder.decode(content)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    """Yield the lines of a table; a line that is too long is an error."""
    while line := file.readline(LARGEST_LINE):
        if len(line) == LARGEST_LINE:
            raise UserError(f"{path}: a line of more than {LARGEST_LINE} characters; allowed: a table")
        yield line


def rows(path: Path, needed: tuple[str, ...], header: tuple[str, ...] = ()) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file with a header; column names are in lower case, and cells are stripped.

    Cells are separated by commas, semicolons, tabs or vertical bars. Where `header` is given and the first line has
    none of the columns `needed`, the file has no header line.

    Raises:
        UserError: the file is missing, not a CSV file, or lacks one of the columns `needed`.
    """
    allowed = f"a table with the columns {', '.join(needed)}" if needed else "a table"
    field_size_limit(LARGEST_CELL)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path}: not a regular file; allowed: {allowed}")
        encoding = encoding_of(path)
        if encoding not in ("utf-8-sig", "utf-8"):
            log.info("%s is read as %s, since it is not UTF-8", path.name, encoding.upper())
        with path.open(encoding=encoding, newline="", errors="replace") as file:
            lines = _lines(file, path)
            first = next(lines, "")
            delimiter = _delimiter(path, first, needed)
            cells = next(reader([first], delimiter=delimiter, skipinitialspace=True), [])
            columns = [folded(column) for column in cells]
            if header and not set(needed) & set(columns):
                columns, lines = list(header), chain([first], lines)
            if not set(needed) <= set(columns):
                raise UserError(
                    f"{path}: columns {', '.join(cells)} found; allowed: at least {', '.join(needed)}; "
                    "the format csv reads tables with other columns"
                )
            for cells in reader(lines, delimiter=delimiter, skipinitialspace=True):
                if cells:
                    stripped = (cell.strip() for cell in cells)
                    yield {**dict.fromkeys(columns, ""), **dict(zip(columns, stripped, strict=False))}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; allowed: {allowed}") from None
    except (OSError, TableError) as error:
        raise UserError(f"{path}: {error}; allowed: {allowed}") from None


def _delimiter(path: Path, line: str, needed: tuple[str, ...]) -> str:
    """Return the delimiter of a header line: the one that gives the most of the columns `needed`, or the most cells."""

    def fit(delimiter: str) -> tuple[int, int]:
        cells = next(reader([line], delimiter=delimiter, skipinitialspace=True), [])
        return len({folded(cell) for cell in cells} & set(needed)), 0 if needed else len(cells)

    best = max(DELIMITERS, key=fit)  # max prefers the first of equals: a comma
    if best != ",":
        log.info("%s is read with %s between its cells", path.name, DELIMITERS[best])
    return best


def formats() -> list[str]:
    """Return all formats: the names of the modules."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def about(name: str) -> str:
    """Return the origin of a format's images and their terms of use."""
    text: str = importlib.import_module(f"{__name__}.{name}").ABOUT
    return text


def find(name: str, root: Path, names: Collection[str], source: Source | None = None) -> list[Candidate]:
    """Return the candidates of a source in the format `name`, with groups; `names` are the labels of all classes.

    Raises:
        UserError: the source is not in the format, or the parameters do not fit the source.
    """
    source = source or Source(format=name, path=str(root))
    return _grouped(listed(name, root, frozenset(map(folded, names)), source), source)


def listed(name: str, root: Path, names: frozenset[str], source: Source) -> list[Candidate]:
    """Return the candidates of a source in the format `name`, with only the groups that the format itself gives."""
    module = importlib.import_module(f"{__name__}.{name}")
    takes_source = "source" in inspect.signature(module.find).parameters
    candidates: list[Candidate] = module.find(root, names, source) if takes_source else module.find(root, names)
    aliases = ALIASES.get(name, {})
    found = [_renamed(candidate, names, aliases) for candidate in candidates] if aliases else candidates
    if getattr(module, "KNOWS_NUMBERS", False) and not source.numbers:
        return found
    return _numbered(found, root, names, source.numbers)


def _renamed(candidate: Candidate, names: frozenset[str], aliases: Mapping[str, tuple[str, ...]]) -> Candidate:
    """Return the candidate with its format's other name for the label, where the parameters have only that name."""
    label = loosened(candidate.label)
    if candidate.reason or label not in aliases or folded(candidate.label) in names:
        return candidate
    other = next((alias for alias in aliases[label] if alias in names), candidate.label)
    return replace(candidate, label=other)


def _numbered(found: list[Candidate], root: Path, names: frozenset[str], meanings: list[str]) -> list[Candidate]:
    """Return the candidates with words for labels that are numbers.

    Raises:
        UserError: labels are numbers, whose order differs between data sets, and no parameter gives their meanings.
    """
    labels = {each.label for each in found} - names
    numbers = {label: int(number[1]) for label in labels if (number := NUMBER.fullmatch(label))}
    if not numbers:
        return found
    if not meanings:
        seen = ", ".join(sorted(numbers, key=lambda label: numbers[label])[:20])
        what = "labels" if any(each.row or each.grey for each in found) else "class folders"
        raise UserError(
            f"{root}: {what} {seen} are numbers, whose order differs between data sets; allowed: "
            "studies.<study>.source.numbers=[anger,disgust,...], the meanings of 0, 1, ... in order, or the numbers "
            "among the labels of studies.<study>.classes"
        )
    told = {label: meanings[number] for label, number in numbers.items() if number < len(meanings)}
    log.info("labels: %s", ", ".join(f"{label} is {meaning}" for label, meaning in sorted(told.items())))
    return [replace(each, label=told[each.label]) if each.label in told else each for each in found]


def _grouped(found: list[Candidate], source: Source) -> list[Candidate]:
    """Return the candidates with persons identified by the parameter `group`, or by a known scheme of file names."""
    group = source.group
    chosen = [name for name in ("pattern", "folder", "column") if getattr(group, name)]
    if len(chosen) > 1:
        raise UserError(
            f"{paths.PARAMS}: studies.<study>.source.group: {' and '.join(chosen)} found; allowed: one of them"
        )
    usable = [each for each in found if not each.reason]
    if not chosen:
        return _recognised(found) if group.recognise else found
    told = {id(each): _told(each, group) for each in usable}
    (how,) = chosen
    if usable and not any(told.values()):
        allowed = {
            "pattern": "a regular expression that finds something in their paths",
            "folder": "images in folders below the class",
            "column": f"a column of the table: {', '.join(usable[0].row) or 'this format has none'}",
        }
        raise UserError(
            f"{paths.PARAMS}: studies.<study>.source.group.{how}: {getattr(group, how)!r} gives no person for "
            f"any image, such as {usable[0].path}; allowed: {allowed[how]}"
        )
    grouped = [replace(each, group=_within(each, told.get(id(each), ""))) for each in found]
    _say_groups(grouped, f"source.group.{how}")
    return grouped


def _told(candidate: Candidate, group: Group) -> str:
    if group.column:
        return candidate.row.get(folded(group.column), "")
    if group.folder:
        return below_class(candidate.path, candidate.label)
    found = re.search(group.pattern, candidate.path)
    if not found:
        return ""
    return found["group"] if "group" in found.re.groupindex else found[1] if found.re.groups else found[0]


def _within(candidate: Candidate, group: str) -> str:
    """Return a group qualified by its source: patient 7 of one source is not patient 7 of another."""
    return f"{candidate.source}/{group}" if group and candidate.source else group


def below_class(path: str, label: str) -> str:
    """Return the first folder below a class's that is not a split's or a container such as `images`; '' for none."""
    folders = path.split("/")[:-1]
    at = next((i for i, folder in enumerate(folders) if folder == label), -1)
    return next(
        (name for name in folders[at + 1 :] if not naming.split_of(name) and folded(name) not in naming.CONTAINERS), ""
    )


def _recognised(found: list[Candidate]) -> list[Candidate]:
    """Return the candidates with persons identified by a known scheme of file names, in sources without any group."""
    by_source: dict[str, list[Candidate]] = defaultdict(list)
    for each in found:
        if not each.reason:
            by_source[each.source].append(each)
    schemes = {
        name: scheme
        for name, members in by_source.items()
        if not any(each.group for each in members) and (scheme := scheme_of([each.path for each in members]))
    }
    if not schemes:
        return found

    def person(each: Candidate) -> str:
        scheme = schemes.get(each.source)
        return _within(each, scheme.person(each.path, f"{each.source_split}/{each.label}")) if scheme else each.group

    grouped = [each if each.reason else replace(each, group=person(each)) for each in found]
    for name, scheme in schemes.items():
        where = f" in {name}" if name else ""
        _say_groups([each for each in grouped if each.source == name], f"their files' names{where}: {scheme.called}")
    return grouped


def _say_groups(found: list[Candidate], how: str) -> None:
    usable = [each for each in found if not each.reason]
    known = Counter(each.group for each in usable if each.group)
    rest = len(usable) - known.total()
    labels: dict[str, set[str]] = defaultdict(set)
    for each in usable:
        labels[each.group].add(each.label)
    several = sum(len(labels[group]) > 1 for group in known)
    notes = [f"none is known for {rest} images"] * bool(rest) + [f"{several} of them in several classes"] * bool(
        several
    )
    log.info("%s", "; ".join([f"{len(known)} persons or things by {how}", *notes]))


def check_sources(params: Params) -> None:
    """Refuse a source whose format is unknown, and classes and options that a generator does not have.

    Raises:
        UserError: a source is refused; the message names the key, its value and what is allowed.
    """
    for section, study in _sections(params):
        _check_source(section, study)


def _sections(params: Params) -> Iterator[tuple[str, Study]]:
    """Yield the section of each study and external test set, with its settings as a study."""
    for name, study in params.studies.items():
        yield params.section(name), study
    for name in params.external:
        yield params.section(name), params.of_external(name).studies[name]


def require_sources(params: Params) -> None:
    """Refuse a missing source before its stage runs, because DVC first removes the stage's outputs.

    Raises:
        UserError: a source is refused; the message names the key, its value and what is allowed.
    """
    for section, study in _sections(params):
        require_source(section, study)
    refuse_special_files(params)


def refuse_special_files(params: Params) -> None:
    """Refuse a source with a pipe, a socket or a device in it: DVC would never finish hashing it.

    Raises:
        UserError: a source holds such a file; the message names the first.
    """
    for section, study in _sections(params):
        path = Path(study.source.path)
        found = sorted(special_files(path))
        if found:
            first, kind = found[0]
            more = f" and {len(found) - 1} more of the kind" if len(found) > 1 else ""
            raise UserError(
                f"{paths.PARAMS}: {section}.source.path: {str(path)!r} holds {kind}, {first}{more}; "
                "allowed: files and folders"
            )


def require_source(section: str, study: Study) -> None:
    """Refuse the source of a study, or of an external test set, if its format is unknown or its folder is missing.

    Raises:
        UserError: the source is refused; the message names the key, its value and what is allowed.
    """
    _check_source(section, study)
    path = Path(study.source.path)
    if os.path.isdir(path):  # unlike Path.is_dir, False where a folder above can't be entered
        return
    is_tracked = any(Path(f"{each}.dvc").is_file() for each in (path, *path.parents))
    allowed = "an existing folder; `dvc pull` brings this one" if is_tracked else "an existing folder"
    _refuse(f"{section}.source.path", f"{str(path)!r} is not a folder", allowed)


def _check_source(section: str, study: Study) -> None:
    source = study.source
    if source.format not in formats():
        _refuse(f"{section}.source.format", f"{shown(source.format)} found", ", ".join(formats()))
    if source.format != "synthetic":
        return
    if study.synthetic is None:
        _refuse(f"{section}.synthetic", "None found", "a section, since the source's format is synthetic")
    elif study.synthetic.generator not in synth.generators():
        found = f"{shown(study.synthetic.generator)} found"
        _refuse(f"{section}.synthetic.generator", found, ", ".join(synth.generators()))
    else:
        generator = synth.generator(study.synthetic.generator)
        unknown = study.classes.keys() - set(generator.CLASSES) if section.startswith("studies.") else ()
        for label in unknown:
            allowed = f"with synthetic data: {', '.join(generator.CLASSES)}"
            _refuse(f"{section}.classes.{label}", f"{shown(study.classes[label])} found", allowed)
        made = getattr(generator, "VALUES", ())
        for name in study.values.keys() - set(made):
            _refuse(f"{section}.values.{name}", f"{shown(study.values[name])} found",
                    f"with synthetic data: {', '.join(made) or 'none'}")  # fmt: skip
        for key, value in study.synthetic.options.items():
            low, high = generator.OPTIONS.get(key, (0, 0))
            if key not in generator.OPTIONS:
                allowed = f"only the options {', '.join(generator.OPTIONS)}" if generator.OPTIONS else "no options"
                _refuse(f"{section}.synthetic.options.{key}", f"{shown(value)} found", allowed)
            if isinstance(value, str | bool) or not low <= value <= high:
                _refuse(f"{section}.synthetic.options.{key}", f"{shown(value)} found", f"{low:g} to {high:g}")


def _refuse(key: str, found: str, allowed: str) -> NoReturn:
    raise UserError(f"{paths.PARAMS}: {key}: {found}; allowed: {allowed}")
