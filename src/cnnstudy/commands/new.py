"""`cnnstudy new`: write the study conf/model/<name>.yaml for the images in a folder or a table."""

import json
import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from cnnstudy import models
from cnnstudy.commands.check import check_params
from cnnstudy.config.compose import composition
from cnnstudy.config.schema import RESERVED_STUDIES
from cnnstudy.data.survey import Survey, survey
from cnnstudy.errors import UserError
from cnnstudy.workspace import files, paths
from cnnstudy.workspace.terminal import say

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# Words that a version of YAML, or Hydra in an override, does not read as strings.
NO_TEXT = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan"))
BARE = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_/ ][A-Za-z0-9]+)*")
# The smallest and the largest side of images, and the largest under the profiles quick and smoke.
SIDES, QUICK_SIDE, SMOKE_SIDE = (32, 224), 64, 32
# Images that a net sees in all epochs of a training under quick and report, and the limits of the epochs.
SEEN = {"quick": (12_000, 1, 40), "report": (60_000, 5, 60)}
BATCHES = (8, 128)
# Classes are weighted if the largest has more than this many times the images of the smallest.
UNBALANCED = 3
SHARES = {"val": 0.2, "test": 0.2}
# The most classes that a printed line names.
SEVERAL = 10


@dataclass(frozen=True)
class Chosen:
    """Choices for a new study: its nets with their options, and the sizes of each profile."""

    name: str
    nets: dict[str, dict[str, object]]
    sizes: dict[str, dict[str, int]]


def new(name: str, place: Path, net: str | None, columns: tuple[str, str], force: bool) -> None:
    """Write conf/model/<name>.yaml for the images in `place`, and say what was found and what to run next.

    Raises:
        UserError: the name, the net or the images can't be used, or the file exists and `force` is not set.
    """
    _check_name(name)
    target = paths.CONF / "model" / f"{name}.yaml"
    if target.exists() and not force:
        raise UserError(f"{target}: exists already; allowed: another name, or --force, which replaces the file")
    if net and net not in models.nets():
        raise UserError(f"--net: {net!r} found; allowed: {', '.join(models.nets())}")
    found = survey(_stated(place), columns)
    chosen = Chosen(name, {net: {}} if net else _usual_nets(), _sizes(found))
    _write(target, render(chosen, found))
    for line in described(chosen, found):
        say(f"{name}: {line}")
    say(f"{target} is written; review it, then")
    source, added = Path(found.source.path), [str(target)]
    if not _is_versioned(source):
        say(f"  dvc add {shlex.quote(found.source.path)}    # records the images")
        added += [f"{source}.dvc", str(source.parent / ".gitignore")]
    say(f"  git add {' '.join(map(shlex.quote, added))}    # and the file of a net of your own")
    say(f"  cnnstudy params model={name} && cnnstudy repro    # or: dvc exp run --temp -S model={name}")
    say(f"  cnnstudy params 'model=[all,{name}]'              # with the shipped studies")


def _check_name(name: str) -> None:
    shipped = {*models.nets(), *(path.stem for path in (paths.CONF / "study").glob("*.yaml")), "all"}
    if name in shipped or name in RESERVED_STUDIES:
        raise UserError(
            f"NAME: {name!r} is taken; allowed: any name but {', '.join(sorted({*shipped, *RESERVED_STUDIES}))}"
        )
    if not NAME.fullmatch(name) or name in NO_TEXT:
        raise UserError(f"NAME: {name!r} found; allowed: small letters, digits and hyphens, a letter first")


def _stated(place: Path) -> Path:
    """Return a path relative to the repository's root, or an absolute one if it lies elsewhere."""
    whole = place.resolve()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole


def _is_versioned(place: Path) -> bool:
    """Return whether a folder of images is versioned by DVC, or lies outside of the repository."""
    return place.is_absolute() or any(Path(f"{each}.dvc").is_file() for each in (place, *place.parents))


def _usual_nets() -> dict[str, dict[str, object]]:
    nets: dict[str, dict[str, object]] = files.parse_settings((paths.CONF / "new.yaml").read_text(encoding="utf-8"))
    return nets


def _sizes(found: Survey) -> dict[str, dict[str, int]]:
    """Return image size, batch size and epochs of each profile."""
    side = _within(SIDES, 16 * math.floor(found.sizes.side / 16 + 0.5))
    batch = _within(BATCHES, 2 ** round(math.log2(math.sqrt(found.images) / 2)))
    sizes = {"smoke": {"image_size": min(side, SMOKE_SIDE), "batch_size": BATCHES[0], "epochs": 1}}
    for profile, (seen, fewest, most) in SEEN.items():
        its = min(side, QUICK_SIDE) if profile == "quick" else side
        epochs = _within((fewest, most), round(seen / found.images))
        sizes[profile] = {"image_size": its, "batch_size": batch, "epochs": epochs}
    return sizes


def _within(limits: tuple[int, int], value: int) -> int:
    return min(max(value, limits[0]), limits[1])


def _write(target: Path, text: str) -> None:
    """Write the study; if conf/ then does not compose, restore what was there."""
    before = target.read_text(encoding="utf-8") if target.exists() else None
    files.write_text(target, text)
    try:
        check_params(composition([f"model={target.stem}"]))
    except UserError:
        if before is None:
            target.unlink()
        else:
            files.write_text(target, before)
        raise


def render(chosen: Chosen, found: Survey) -> str:
    """Return the YAML of a study."""
    lines = [
        "# @package _global_",
        f"# {found.images} images of {len(found.classes)} classes, as `cnnstudy new` found them in",
        f"# {_commented(found.source.path)}",
        "defaults:",
        f"  - /study/base@studies.{chosen.name}",
        "  - _self_",
        f"models: {{{chosen.name}: {chosen.name}}}",
        "studies:",
        f"  {chosen.name}:",
        *(f"    {line}".rstrip() for line in _study(chosen, found)),
        *_runs(chosen),
    ]
    return "\n".join(lines) + "\n"


def _study(chosen: Chosen, found: Survey) -> Iterator[str]:
    yield f"title: {_word(chosen.name.replace('-', ' ').capitalize())}"
    yield "# Limits of these images, and what the nets must not be used for; the page and the model cards show both."
    yield 'limits: ""'
    yield 'not_for: ""'
    yield f"# {_persons(found)}"
    yield f"source: {_source(found)}"
    yield "# Each class with its spellings in the source; the order gives the label's number."
    yield "classes:"
    for name, spellings in found.classes.items():
        listed = ", ".join(map(_word, spellings))
        yield f"  {_word(name)}: [{listed}]  # {_counted(found, name)}"
    for each in found.left_out:
        yield f"  # left out: {_commented(each)}"
    if found.positive:
        yield "# The class that sensitivity and specificity are about."
        yield f"positive: {_word(found.positive)}"
    yield from _split(found)
    largest, smallest = (each(its.total() for its in found.counts.values()) for each in (max, min))
    if largest > UNBALANCED * smallest:
        yield f"# The largest class has {largest} images, the smallest {smallest}: a rare class weighs more."
        yield "class_weight: balanced"
    yield "# `cnnstudy promote` requires this accuracy."
    yield "promotion: {minimum: 0.0}"
    yield "# Ranges of random changes, drawn anew in every epoch. Set flip: true if no class depends on left and right."
    yield "policies:"
    yield "  plain: {level: 0, rotation: 0, shift: 0.0, flip: false}"
    yield "  augmented: {level: 0, rotation: 10, shift: 0.1, flip: false}"
    yield "# smoke shows in about a minute that all works; quick, the default, takes minutes; report is for a GPU."
    yield f"# The median of the images' shorter side is {found.sizes.side:g} pixels."
    yield "choices:"
    yield "  profile:"
    for profile, sizes in chosen.sizes.items():
        yield f"    {profile}: {{{', '.join(f'{key}: {value}' for key, value in sizes.items())}}}"


def _source(found: Survey) -> str:
    source = found.source
    said = [f"format: {source.format}", f"path: {_word(source.path)}"]
    columns = {key: value for key, value in (("file", source.columns.file), ("label", source.columns.label)) if value}
    if columns:
        said.append(f"columns: {{{', '.join(f'{key}: {_word(value)}' for key, value in columns.items())}}}")
    return f"{{{', '.join(said)}}}"


def _counted(found: Survey, name: str) -> str:
    """Count a class's images in each split of the source."""
    counts = found.counts[name]
    if set(counts) == {""}:
        return f"{counts.total()} images"
    return f"{counts.total()} images: " + ", ".join(f"{split or 'no split'} {n}" for split, n in sorted(counts.items()))


def _split(found: Survey) -> Iterator[str]:
    shares = {split: SHARES[split] for split in found.carved}
    if not shares:
        yield "# The source has the splits test and val."
        return
    yield f"# The source has no split {' or '.join(shares)}: these shares of its images, `val` of what `test` leaves."
    yield f"split: {{{', '.join(f'{split}: {share}' for split, share in shares.items())}}}"


def _runs(chosen: Chosen) -> Iterator[str]:
    """Return the runs of two nets, or of one net with both policies, their exports and their ablation."""
    if len(chosen.nets) > 1:
        runs = {f"{chosen.name}-{net.replace('_', '-')}": (net, "augmented", net) for net in chosen.nets}
        axis, ablation = "net", f"{chosen.name}-nets"
    else:
        (net,) = chosen.nets
        runs = {f"{chosen.name}-{policy}": (net, policy, policy) for policy in ("plain", "augmented")}
        axis, ablation = "augmentation", f"{chosen.name}-augmentation"
    yield "runs:"
    for run, (net, policy, _) in runs.items():
        options = ", ".join(f"{key}: {value}" for key, value in chosen.nets[net].items())
        also = f", options: {{{options}}}" if options else ""
        yield f"  {run}: {{study: {chosen.name}, policy: {policy}, net: {net}{also}}}"
    yield "exported:"
    for run in runs:
        yield f"  {run}: {{study: {chosen.name}, phase: base}}"
    yield "ablations:"
    positions = ", ".join(f"{run}: {position}" for run, (_, _, position) in runs.items())
    yield f"  {ablation}: {{study: {chosen.name}, axis: {axis}, runs: {{{positions}}}}}"


def described(chosen: Chosen, found: Survey) -> Iterator[str]:
    """Return the findings and choices as lines."""
    counts = {name: its.total() for name, its in found.counts.items()}
    more = f" and {len(counts) - SEVERAL} more" if len(counts) > SEVERAL else ""
    classes = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:SEVERAL])
    yield f"{found.images} images of {len(counts)} classes ({found.source.format}): {classes}{more}"
    if found.remarks:
        yield "; ".join(found.remarks)
    if found.positive:
        yield f"the positive class is {found.positive}; set `positive` to the other one if that is wrong"
    yield _sides(chosen, found)
    lacks = ", ".join(f"{split} {SHARES[split]:.0%}" for split in found.carved)
    yield f"splits: {_splits(found)}" + (f"; made at random: {lacks}" if lacks else "")
    if not any("persons" in each for each in found.remarks):
        yield _persons(found)
    if found.left_out:
        yield f"left out: {'; '.join(found.left_out[:3])}" + (" ..." if len(found.left_out) > 3 else "")
    if found.rejected:
        told = "; ".join(f"{shorten(reason, 80)}: {count}" for reason, count in found.rejected.most_common(3))
        yield f"files that are not used: {told}{' ...' if len(found.rejected) > 3 else ''}"
    sizes = chosen.sizes["quick"]
    yield f"nets {' and '.join(chosen.nets)}; under quick: epochs {sizes['epochs']}, batch size {sizes['batch_size']}"


def _sides(chosen: Chosen, found: Survey) -> str:
    read = found.sizes.read
    least, most = (each(read, key=math.prod) for each in (min, max))
    sides = f"all {least[0]} x {least[1]}" if least == most else f"{least[0]} x {least[1]} to {most[0]} x {most[1]}"
    broken = ""
    if found.sizes.unreadable:
        broken = f"; {found.sizes.unreadable} can't be read, such as {found.sizes.example}"
    taken = ", ".join(f"{profile} {its['image_size']}" for profile, its in chosen.sizes.items())
    of_which = "" if len(read) == found.images else f" ({len(read)} of {found.images} images measured)"
    return f"image sizes{of_which}: {sides}, the median side is {found.sizes.side:g}{broken}; chosen: {taken}"


def _splits(found: Survey) -> str:
    if set(found.splits) == {""}:
        return "none in the source"
    return ", ".join(f"{split or 'no split'} {count}" for split, count in sorted(found.splits.items()))


def _persons(found: Survey) -> str:
    if not found.persons:
        pattern = "group: {pattern: '(\\w+/plate\\d+)'}"
        return f"each image counts as another person or thing; if several show one, add to source such as {pattern}"
    rest = f"; none is known for {found.images_without_person} images" if found.images_without_person else ""
    return f"{found.persons} persons or things (groups), which stay on one side of every split{rest}"


def _word(text: str) -> str:
    """Return a text as YAML: unquoted if every YAML version reads it as a string, and without interpolations."""
    if BARE.fullmatch(text) and text.lower() not in NO_TEXT:
        return text
    return json.dumps(text.replace("${", "\\${"), ensure_ascii=False)


def _commented(text: str) -> str:
    """Return a text on one line, for a comment."""
    return text if text.isprintable() else json.dumps(text)
