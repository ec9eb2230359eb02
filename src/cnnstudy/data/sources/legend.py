"""legend.csv (user.id, image, emotion) beside images/, as in muxspace/facial_expressions."""

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from cnnstudy.config.labels import folded
from cnnstudy.data.sources import Candidate, Listing, named_problem, rows, written
from cnnstudy.errors import UserError

ABOUT = (
    "muxspace/facial_expressions: faces collected from the web and labelled by volunteers; Apache-2.0 for the "
    "collection. Its classes are very unequal, contempt and fear nearly absent."
)


def find(root: Path, names: Collection[str]) -> list[Candidate]:
    """Return every image in legend.csv or in the folder images/.

    user.id is the person who labelled the image, not the person in it, so it is not a group. An image named twice
    counts once, or is rejected if its labels differ.

    Raises:
        UserError: legend.csv is missing or lacks the column image or emotion, or images/ is a link out of the folder.
    """
    folder = root / "images"
    listing = Listing(path.name for path in folder.iterdir()) if folder.is_dir() else Listing(())
    if listing.names and not folder.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{folder}: a link out of the folder; allowed: a folder")
    said: dict[str, list[dict[str, str]]] = defaultdict(list)
    problems: dict[str, str] = {}
    for row in rows(root / "legend.csv", ("image", "emotion")):
        name, problem = listing.named(row["image"].replace("\\", "/").removeprefix("images/"))
        said[name].append(row)
        problems[name] = problem
    return [_candidate(root, name, said[name], problems.get(name, "")) for name in sorted({*listing.names, *said})]


def _candidate(root: Path, name: str, said: list[dict[str, str]], reason: str) -> Candidate:
    labels = {folded(row["emotion"]) for row in said}
    label = min(labels) if len(labels) == 1 else ""
    if not labels:
        reason = "no row of legend.csv names it"
    elif len(labels) > 1:
        reason = f"under several labels: {', '.join(sorted(labels))}"
    elif not name or "/" in name:
        reason = "not a file name"
    elif not reason:
        reason = named_problem(root, f"images/{name}")
    return Candidate(f"images/{written(name)}", label, reason=reason, row=said[0] if said else {})
