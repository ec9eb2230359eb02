"""Where the things lie that a drawn image's class depends on, from its specification alone.

For a face that is where its action units act: a band over brows and eyes, from forehead lines to lower lids, and the
mouth with its corners, folds and chin; the same parts for every class. For a film it is its patches, as far as they lie
in the lungs. The geometry is that of cnnstudy.data.synth (a test compares them), repeated here without the drawing, so
that a training depends on this module and not on how images are drawn.
"""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Specification = dict[str, Any]

# Points a side of a cell of the grid: what share of a cell is covered is counted in sixteenths.
POINTS = 4
# In distances between the eyes, the origin midway between them: half width, top and bottom.
EYES, MOUTH = (0.95, -0.8, 0.3), (0.78, 0.62, 1.45)


def read(file: Path, ids: Collection[int]) -> Iterator[Specification | None]:
    """What some samples show, in the order of samples.csv and one at a time; None where an image was not drawn."""
    with file.open(encoding="utf-8") as lines:
        for i, line in enumerate(lines):
            if i in ids:
                yield json.loads(line)


def cover(specification: Specification, cells: int) -> np.ndarray:
    """The share of every cell of the image that such things cover, float64 [cells, cells]; 0 where there are none."""
    side = cells * POINTS
    covered = np.zeros((side, side), bool)
    shapes = face_parts(specification) if "units" in specification else ()
    for shape in shapes:
        covered |= _inside(shape, side)
    if specification.get("patches"):
        lungs = [_inside(lung(specification, half), side) for half in (-1, 1)]
        patches = [_inside(shape, side) for shape in film_patches(specification)]
        covered = np.any(patches, axis=0) & np.any(lungs, axis=0)
    return covered.reshape(cells, POINTS, cells, POINTS).mean(axis=(1, 3))


def face_parts(face: Specification) -> tuple[np.ndarray, np.ndarray]:
    """Outlines of the band over brows and eyes and of the mouth, [n, 2] each: x, y in shares of the image's side."""
    return tuple(_place(face["view"], _rounded(*part)) for part in (EYES, MOUTH))  # type: ignore[return-value]


def film_patches(film: Specification) -> list[np.ndarray]:
    """Outlines of the patches where they are down to a third of their density: [n, 2] in shares of the film's side."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return [
        circle * (patch["radius"], patch["radius"] * patch["stretch"]) + (0.5, 0) + _centre(film["anatomy"], patch)
        for patch in film["patches"]
    ]


def lung(film: Specification, side: int) -> np.ndarray:
    """The outline of the lung on a side, -1 or 1, of a film that shows patches: [40, 2] in shares of its side."""
    body, picture = film["anatomy"], film["picture"]
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    cosine, sine = np.cos(angle), np.sin(angle)
    y = body["height"] + 0.42 * (1 + np.sign(sine) * np.abs(sine) ** 0.8)
    reach = np.clip((y - body["height"]) / 0.5, 0, 1)
    across = 0.5 + 0.5 * np.sign(cosine) * np.abs(cosine) ** 0.75
    x = 0.05 + (body["chest"] - 0.05) * across * (0.6 + 0.4 * reach**0.8)
    outline = np.stack([side * x, np.minimum(y, _dome(body, side, x))], axis=1)
    turn = picture["scale"] * _turned(np.radians(picture["rotation"]))
    return (outline - (0, 0.5)) @ turn + (0.5, 0.5) + picture["shift"]


def _dome(body: Specification, side: int, x: np.ndarray) -> np.ndarray:
    """The height of the diaphragm at distance `x` from the middle."""
    top = body["right_dome"] if side < 0 else body["left_dome"]
    return top + 0.1 * ((x - 0.45 * body["chest"]) / (0.5 * body["chest"])) ** 2


def _centre(body: Specification, patch: Specification) -> tuple[float, float]:
    """A patch's centre, x from the middle of the film; patches don't turn with the chest."""
    top = body["height"] + 0.04
    bottom = float(_dome(body, patch["side"], np.array(0.45 * body["chest"])))
    wide = (body["chest"] - 0.05) * (0.6 + 0.4 * min(1.0, patch["down"] * 1.3))
    return patch["side"] * (0.05 + patch["out"] * wide), top + patch["down"] * (bottom - top)


def _rounded(half: float, top: float, bottom: float) -> np.ndarray:
    """A rectangle's outline with round ends, [24, 2]."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    unit = [np.sign(values) * np.abs(values) ** 0.5 for values in (np.cos(angle), np.sin(angle))]
    return np.stack([half * unit[0], (top + bottom) / 2 + (bottom - top) / 2 * unit[1]], axis=1)


def _place(view: Specification, points: np.ndarray) -> np.ndarray:
    """Face coordinates [n, 2] to shares of the image's side: turned by yaw and roll, scaled, moved."""
    yaw, (x, y) = np.radians(view["yaw"]), points.T
    depth = 1.1 * np.sqrt(np.maximum(1 - (x / 1.3) ** 2 - ((y - 0.1) / 1.9) ** 2, 0))
    turned = np.stack([x * np.cos(yaw) + depth * np.sin(yaw), y], axis=1)
    origin = (0.5 + view["shift"][0], 0.36 + view["shift"][1])
    return view["scale"] * turned @ _turned(np.radians(view["roll"])) + origin


def _turned(angle: float) -> np.ndarray:
    """The matrix that points, as rows, are turned by."""
    return np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])


def _inside(outline: np.ndarray, side: int) -> np.ndarray:
    """Which cells of a grid have their centre inside a closed outline, bool [side, side], row by row.

    A ray to the right crosses the outline an odd number of times.
    """
    centres = (np.arange(side) + 0.5) / side
    y = centres[:, None]
    (first_x, first_y), (next_x, next_y) = outline.T, np.roll(outline, -1, axis=0).T
    rise = np.where(next_y == first_y, 1, next_y - first_y)
    meets = first_x + (next_x - first_x) * (y - first_y) / rise
    rows, edges = np.nonzero((first_y > y) != (next_y > y))
    # By the number of centres that lie left of where a row meets an edge: their rays cross it.
    crossed = np.zeros((side, side + 1), int)
    np.add.at(crossed, (rows, np.searchsorted(centres, meets[rows, edges])), 1)
    return crossed[:, :0:-1].cumsum(axis=1)[:, ::-1] % 2 == 1
