"""Synthetic faces: eight expressions from facial action units (FACS, Ekman and Friesen 1978).

`specify` chooses a face's specification, `render` turns it into pixels at any size. Only the action units depend on the
class; identity, pose, light, camera and background come from another stream, by one procedure for all classes.
Coordinates are in distances between the eyes: the origin lies midway between them, x to the right, y down.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import cv2
import numpy as np

from cnnstudy.data.synth.drawing import fractal, ribbon, stream

CLASSES = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
# The label of faces of no class, which show parts of two expressions.
UNCLASSED = "none"
VALUES = ("valence", "arousal")
# How far the camera, poses and backgrounds differ from the usual ones, as in another collection: 0 not at all.
OPTIONS: dict[str, tuple[float, float]] = {
    "site_shift": (0.0, 1.0),
    # How much weaker expressions are behind glasses, a subgroup that is harder then: 0 not at all.
    "subgroup_harm": (0.0, 1.0),
}
LIMITS = (
    "Eight prototypes from facial action units, with random variation; age, occlusion and real appearance are not "
    "modelled."
)

Colour = np.ndarray | tuple[float, float, float]

# The action units that every face of a class shows, and the share of faces that show each optional unit.
CORE: dict[str, tuple[int, ...]] = {
    "anger": (4, 7, 24),
    "contempt": (14,),
    "disgust": (9, 10, 17),
    "fear": (1, 4, 20, 25),
    "happy": (12, 25),
    "neutral": (),
    "sad": (4, 15),
    "surprise": (1, 2, 25, 26),
}
OPTIONAL: dict[str, dict[int, float]] = {
    "anger": {5: 0.35, 10: 0.26, 17: 0.52, 23: 0.29},
    "contempt": {12: 0.7},
    "disgust": {4: 0.31, 15: 0.2, 16: 0.2, 24: 0.26},
    "fear": {2: 0.57, 5: 0.63, 7: 0.2, 26: 0.33},
    "happy": {6: 0.5},
    "neutral": {},
    "sad": {1: 0.85, 6: 0.5, 11: 0.26, 17: 0.67},
    "surprise": {5: 0.66},
}
# The classes with which people confuse each class; a blend mixes a class with one of them.
CONFUSED_WITH: dict[str, tuple[str, ...]] = {
    "anger": ("disgust",),
    "contempt": ("neutral", "happy"),
    "disgust": ("anger", "sad"),
    "fear": ("surprise",),
    "happy": (),
    "neutral": ("contempt", "sad"),
    "sad": ("neutral",),
    "surprise": ("fear",),
}
# Valence and arousal of each class at the usual strength of its units (places on the circumplex of Russell 1980).
CIRCUMPLEX: dict[str, tuple[float, float]] = {
    "anger": (-0.5, 0.5),
    "contempt": (-0.5, 0.1),
    "disgust": (-0.6, 0.35),
    "fear": (-0.25, 0.5),
    "happy": (0.65, 0.3),
    "neutral": (0.0, 0.0),
    "sad": (-0.6, -0.3),
    "surprise": (0.25, 0.45),
}
# What an optional unit at full strength adds to valence and arousal, and what is left to chance.
SHIFTS: dict[int, tuple[float, float]] = {
    1: (-0.1, 0.1), 2: (0.1, 0.1), 4: (-0.15, 0.05), 5: (0.0, 0.2), 6: (0.3, 0.1), 7: (0.0, 0.1), 10: (-0.2, 0.05),
    12: (0.25, 0.1), 15: (-0.15, -0.1), 17: (-0.15, -0.15), 23: (-0.1, 0.15), 24: (-0.1, 0.1), 26: (0.1, 0.15),
}  # fmt: skip
USUAL_STRENGTH, UNEXPLAINED = 0.75, 0.05
WEAK_SHARE = 0.11
# The strength of a weak expression's units; a smile, parted lips and drooping corners are recognised more easily.
WEAK, WEAK_MOUTH = (0.15, 0.45), (0.45, 0.75)
BLEND_SHARE = 0.08
# Units are rendered stronger than on real faces: otherwise they would not span a pixel in a small image.
EXAGGERATION = 1.5
# The most characters of a line of a caption; longer lines would run into the next image's caption.
LONGEST = 16
TRACE = 0.2  # no unit of a neutral face is stronger
# Units that act on one side only if a face's `side` is not 0.
ONE_SIDED = (12, 14)
UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 20, 23, 24, 25, 26)

HAIR_STYLES = ("none", "buzz", "short", "parted", "fringe", "long", "curly")
BEARDS = ("none", "stubble", "moustache", "full")
# Skin colours after automatic exposure, which brings light and dark skin closer together.
_SKIN = np.array([(222, 178, 150), (214, 166, 136), (204, 152, 121), (188, 136, 106), (170, 119, 91), (152, 104, 79)])
# Skin tones by the luminance of the skin, the weights of whose red, green and blue are those of ITU-R BT.601.
TONES, TONE_LIMITS, LUMA = ("dark", "medium", "light"), (142.0, 168.0), (0.299, 0.587, 0.114)
_HAIR = np.array([(36, 30, 28), (50, 36, 29), (70, 48, 34), (94, 64, 40), (136, 104, 66), (98, 96, 94)])
_IRIS = np.array([(58, 36, 22), (92, 62, 34), (92, 104, 60), (84, 120, 148), (110, 122, 128)])


@dataclass(frozen=True)
class Identity:
    """The identity of a face. Lengths and shifts are in distances between the eyes, colours are RGB, 0 to 255."""

    skin: tuple[float, float, float]
    width: float
    chin: float
    jaw: float
    brow_height: float
    brow_tilt: float
    brow_weight: float
    eye_opening: float
    eye_tilt: float
    iris: tuple[float, float, float]
    nose_width: float
    nose_length: float
    mouth_width: float
    mouth_bias: float
    lips: float
    hair: str
    hair_colour: tuple[float, float, float]
    hairline: float
    beard: str
    glasses: bool
    age: float


@dataclass(frozen=True)
class View:
    """The view of a face: pose (degrees, shares of the frame), light, background and camera."""

    roll: float
    yaw: float
    scale: float
    shift: tuple[float, float]
    light: tuple[float, float, float]
    contrast: float
    exposure: float
    background: tuple[tuple[float, float, float], tuple[float, float, float]]
    clothes: tuple[float, float, float]
    blur: float
    noise: float
    jpeg: int
    texture: int


@dataclass(frozen=True)
class Face:
    """A face's specification. `units` are (action unit, strength 0 to 1), ascending.

    `side` is the side on which units 12 and 14 act: -1 for the left of the image, 1 for the right (contempt), 0 for
    both. `kind` is plain, weak (near neutral), blend, or unclassed, and `blend` the class mixed in.
    """

    label: str
    units: tuple[tuple[int, float], ...]
    side: int
    kind: str
    blend: str
    identity: Identity
    view: View


def specify(label: str, split: str, index: int, seed: int, options: Mapping[str, Any] | None = None) -> Face:
    """Return the face number `index` of a class, or of no class, and split; it depends on nothing but the arguments."""
    shift, harm = (float((options or {}).get(name, 0.0)) for name in ("site_shift", "subgroup_harm"))
    shown = _shown(label, split, index, seed)
    units = tuple((unit, round(float(shown.strengths[unit]), 4)) for unit in sorted(shown.strengths))
    rng = stream(seed, "faces", split, label, index, "person")
    identity = _identity(rng)
    if identity.glasses and harm:
        units = tuple((unit, round(strength * (1 - harm), 4)) for unit, strength in units)
    return Face(label, units, shown.side, shown.kind, shown.blend, identity, _elsewhere(_view(rng), shift))


def values(label: str, split: str, index: int, seed: int) -> dict[str, float]:
    """Return valence and arousal of a face, from -1 to 1; they depend on nothing but the arguments.

    A face has the values of its class, or between those of its two classes, times the strength of the class's units;
    optional units shift them, and a small part is left to chance.
    """
    shown = _shown(label, split, index, seed)
    point = np.zeros(2)
    for name, share in shown.shares.items():
        core = [shown.strengths.get(unit, 0.0) for unit in CORE[name]]
        if core:
            # The strengths of a blend are already mixed.
            strength = sum(core) / len(core) / (USUAL_STRENGTH * share)
            point += share * min(strength, 1.5) * np.array(CIRCUMPLEX[name])
    belongs = {unit for name in shown.shares for unit in CORE[name]}
    for unit, strength in shown.strengths.items():
        if unit not in belongs:
            point += strength * np.array(SHIFTS.get(unit, (0.0, 0.0)))
    point += stream(seed, "faces", split, label, index, "values").normal(0, UNEXPLAINED, 2)
    valence, arousal = np.clip(point, -1, 1).round(4).tolist()
    return {"valence": valence, "arousal": arousal}


@dataclass(frozen=True)
class _Expression:
    """The strengths of a face's units, as in `Face`, and the shares of the classes that they are of."""

    strengths: dict[int, float]
    side: int
    kind: str
    blend: str
    shares: dict[str, float]


def _shown(label: str, split: str, index: int, seed: int) -> _Expression:
    rng = stream(seed, "faces", split, label, index, "units")
    return _between_classes(rng) if label == UNCLASSED else _expression(rng, label)


def _expression(rng: np.random.Generator, label: str) -> _Expression:
    strengths = _strengths(rng, label)
    side = (-1, 1)[rng.integers(2)] if label == "contempt" else 0
    chance, kind, blend, shares = rng.random(), "plain", "", {label: 1.0}
    if label != "neutral" and chance < WEAK_SHARE:
        kind = "weak"
        strengths = {unit: strength * rng.uniform(*_weak(label, unit)) for unit, strength in strengths.items()}
    elif chance > 1 - BLEND_SHARE and CONFUSED_WITH[label]:
        kind, blend = "blend", str(rng.choice(CONFUSED_WITH[label]))
        share, other = rng.uniform(0.4, 0.6), _strengths(rng, blend)
        strengths, shares = _mixed(strengths, other, share), {label: 1 - share, blend: share}
    return _Expression(strengths, side, kind, blend, shares)


def _between_classes(rng: np.random.Generator) -> _Expression:
    """Return an expression of no class: two classes, both weaker than usual."""
    first, second = map(str, rng.choice([name for name in CLASSES if name != "neutral"], 2, replace=False))
    share, strength = rng.uniform(0.35, 0.65), rng.uniform(0.5, 0.9)
    mixed = _mixed(_strengths(rng, first), _strengths(rng, second), share)
    shares = {first: 1 - share, second: share}
    return _Expression({unit: strength * each for unit, each in mixed.items()}, 0, "unclassed", second, shares)


def _mixed(first: dict[int, float], second: dict[int, float], share: float) -> dict[int, float]:
    mixed = {unit: (1 - share) * first.get(unit, 0) + share * second.get(unit, 0) for unit in UNITS}
    return {unit: strength for unit, strength in mixed.items() if strength > 0}


def _weak(label: str, unit: int) -> tuple[float, float]:
    return WEAK_MOUTH if label == "happy" or unit in (15, 25) else WEAK


def _strengths(rng: np.random.Generator, label: str) -> dict[int, float]:
    if label == "neutral":
        return {int(unit): TRACE * rng.beta(2, 2) for unit in rng.choice(UNITS[:-2], 2, replace=False)}
    strengths = {unit: 0.5 + 0.5 * rng.beta(2, 2) for unit in CORE[label]}
    for unit, share in OPTIONAL[label].items():
        shown, strength = rng.random() < share, 0.2 + 0.8 * rng.beta(2, 2)
        if shown:
            strengths[unit] = strength
    return strengths


def _identity(rng: np.random.Generator) -> Identity:
    tone = rng.random()
    dark = tone > 0.55 or rng.random() < 0.4
    hair_colour = _HAIR[rng.integers(0, 2) if dark else rng.integers(0, len(_HAIR))]
    iris = _IRIS[rng.integers(0, 2) if dark else rng.integers(0, len(_IRIS))]
    return Identity(
        skin=_colour(_between(_SKIN, tone), rng, 6),
        width=_normal(rng, 1.13, 0.05),
        chin=_normal(rng, 1.5, 0.05),
        jaw=_normal(rng, 0.85, 0.07),
        brow_height=_normal(rng, 0, 0.025),
        brow_tilt=_normal(rng, 0, 0.025),
        brow_weight=_normal(rng, 1, 0.15),
        eye_opening=_normal(rng, 1, 0.08),
        eye_tilt=_normal(rng, 0, 0.012),
        iris=_colour(iris, rng, 6),
        nose_width=_normal(rng, 0.23, 0.025),
        nose_length=_normal(rng, 0.62, 0.03),
        mouth_width=_normal(rng, 0.47, 0.025),
        mouth_bias=_normal(rng, 0, 0.018),
        lips=_normal(rng, 1, 0.15),
        hair=str(rng.choice(HAIR_STYLES, p=(0.03, 0.16, 0.4, 0.22, 0.06, 0.07, 0.06))),
        hair_colour=_colour(hair_colour, rng, 8),
        hairline=_normal(rng, -0.9, 0.06),
        beard=str(rng.choice(BEARDS, p=(0.8, 0.1, 0.05, 0.05))),
        glasses=bool(rng.random() < 0.12),
        age=round(float(rng.beta(2, 3)), 4),
    )


def _view(rng: np.random.Generator) -> View:
    azimuth, height = rng.uniform(-1.1, 1.1), rng.uniform(0.2, 0.8)
    light = np.array([np.sin(azimuth), -height, np.cos(azimuth)]) / np.hypot(1, height)
    return View(
        roll=_normal(rng, 0, 9, 12),
        yaw=_normal(rng, 0, 7.5, 12),
        # Position and size vary so much that no pixel always shows the same feature, which a linear model would need.
        scale=_normal(rng, 0.283, 0.017),
        shift=(_normal(rng, 0, 0.058), _normal(rng, 0.005, 0.034)),
        light=_triple(light),
        contrast=round(float(rng.uniform(0.12, 0.28)), 4),
        exposure=_normal(rng, 1, 0.035),
        background=(_muted(rng), _muted(rng)),
        clothes=_muted(rng),
        blur=round(float(rng.uniform(0, 0.006)), 4),
        noise=round(float(rng.uniform(0, 3)), 4),
        jpeg=int(rng.integers(60, 96)),
        texture=int(rng.integers(2**31)),
    )


def _elsewhere(view: View, shift: float) -> View:
    """Return the view of a face in another collection: worse cameras, other poses, and darker backgrounds."""
    if not shift:
        return view
    above, below = (_triple(np.array(colour) * (1 - 0.5 * shift)) for colour in view.background)
    return replace(
        view,
        roll=round(view.roll * (1 + 0.7 * shift), 4),
        yaw=round(view.yaw * (1 + 0.7 * shift), 4),
        scale=round(view.scale * (1 - 0.12 * shift), 4),
        contrast=round(view.contrast * (1 + shift), 4),
        exposure=round(view.exposure * (1 - 0.15 * shift), 4),
        background=(above, below),
        blur=round(view.blur + 0.006 * shift, 4),
        noise=round(view.noise + 6 * shift, 4),
        jpeg=round(view.jpeg - 30 * shift),
    )


def _normal(rng: np.random.Generator, mean: float, deviation: float, limit: float | None = None) -> float:
    reach = 2.2 * deviation if limit is None else limit
    return round(mean + float(np.clip(rng.normal(0, deviation), -reach, reach)), 4)


def _colour(colour: np.ndarray, rng: np.random.Generator, spread: float) -> tuple[float, float, float]:
    return _triple(np.clip(colour + rng.normal(0, spread) + rng.normal(0, spread / 3, 3), 8, 250))


def _muted(rng: np.random.Generator) -> tuple[float, float, float]:
    return _triple(rng.uniform(105, 155) + rng.normal(0, 9, 3))


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    first, second, third = (round(float(value), 3) for value in values)
    return first, second, third


def _between(colours: np.ndarray, place: float) -> np.ndarray:
    """Return the colour at `place`, 0 to 1, along a row of colours."""
    steps = np.linspace(0, 1, len(colours))
    return np.array([np.interp(place, steps, channel) for channel in colours.T])


@dataclass(frozen=True)
class _Sheet:
    """A canvas, float32 [3, side, side], with the transform from face coordinates to pixels."""

    pixels: np.ndarray
    unit: float
    origin: tuple[float, float]
    roll: float
    yaw: float

    def place(self, points: np.ndarray, lift: float) -> np.ndarray:
        """Transform face coordinates [n, 2] to pixels, by yaw (points stand out of the head by `lift`) and roll."""
        x, y = points[:, 0], points[:, 1]
        depth = 1.1 * np.sqrt(np.maximum(1 - (x / 1.3) ** 2 - ((y - 0.1) / 1.9) ** 2, 0)) + lift
        x = x * math.cos(self.yaw) + depth * math.sin(self.yaw)
        cosine, sine = self.unit * math.cos(self.roll), self.unit * math.sin(self.roll)
        return _points(x * cosine - y * sine, x * sine + y * cosine) + self.origin

    def paint(self, shapes: list[np.ndarray], colour: Colour, alpha: float = 1, soft: float = 0, lift: float = 0,
              clip: np.ndarray | None = None) -> None:  # fmt: skip
        """Fill polygons, with edges blurred by `soft`, within the polygon `clip`, if any, and its mirror image."""
        if alpha <= 0.03:
            return
        alpha = min(alpha, 1)
        blur, side = soft * self.unit, self.pixels.shape[1]
        placed = self.place(np.concatenate(shapes), lift)
        margin = 2 + 2.5 * blur
        left, top = (max(int(low - margin), 0) for low in placed.min(axis=0).tolist())
        right, bottom = (min(int(high + margin + 1), side) for high in placed.max(axis=0).tolist())
        if right <= left or bottom <= top:
            return
        corner, box = (left, top), (bottom - top, right - left)
        mask = _filled(placed, shapes, corner, box)
        if blur > 0.4:
            wide = 2 * round(2 * blur) + 1
            mask = cv2.stackBlur(mask, (wide, wide))
        if clip is not None:
            windows = _both(clip)
            mask = cv2.multiply(
                mask, _filled(self.place(np.concatenate(windows), lift), windows, corner, box), scale=1 / 255
            )
        region = self.pixels[:, top:bottom, left:right]
        change = np.asarray(colour, np.float32)[:, None, None] - region
        change *= mask.astype(np.float32) * np.float32(alpha / 255)
        region += change


def _filled(placed: np.ndarray, shapes: list[np.ndarray], corner: tuple[int, int], box: tuple[int, int]) -> np.ndarray:
    """Return a mask with polygons filled; `placed` are the pixels of all their points, in order."""
    mask, start = np.zeros(box, np.uint8), 0
    points = np.rint((placed - corner) * 16).astype(np.int32)
    for shape in shapes:
        cv2.fillPoly(mask, [points[start : start + len(shape)]], 255, cv2.LINE_AA, 4)
        start += len(shape)
    return mask


def _points(x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
    points = np.empty((np.size(x) if np.size(x) > 1 else np.size(y), 2))
    points[:, 0], points[:, 1] = x, y
    return points


def render(face: Face, size: int) -> np.ndarray:
    """Return a face's pixels, uint8 [size, size, 3] RGB."""
    view = face.view
    side = size * max(2, -(-128 // size))
    rng = np.random.default_rng(view.texture)
    sheet = _sheet(view, _background(view, side, rng))
    pull = _Pull(face)
    _behind(sheet, face, pull)
    _skin(sheet, face, pull)
    _nose(sheet, face, pull)
    _beard(sheet, face, pull)
    _mouth(sheet, face, pull)
    _creases(sheet, face, pull)
    _eyes(sheet, face, pull)
    _brows(sheet, face, pull)
    _hair(sheet, face)
    _glasses(sheet, face)
    return _photograph(sheet, view, size, rng)


def group(face: Face) -> str:
    """Return '': every face is a different person."""
    return ""


def as_numbers(specification: Mapping[str, Any]) -> list[float]:
    """Return the strengths of the action units, and whether they act on one side."""
    strengths = dict(specification["units"])
    return [*(strengths.get(unit, 0.0) for unit in UNITS), float(specification["side"] != 0)]


def subgroups(specification: Mapping[str, Any]) -> dict[str, str]:
    """Return skin tone, in thirds of the range of luminance, and glasses."""
    identity = specification["identity"]
    luminance = float(np.dot(LUMA, identity["skin"]))
    tone = TONES[int(np.searchsorted(TONE_LIMITS, luminance))]
    return {"skin tone": tone, "glasses": "yes" if identity["glasses"] else "no"}


def in_words(specification: Mapping[str, Any]) -> str:
    """Return a caption: the action units, weak ones in brackets, and `~` before the class that is mixed in."""
    units = "+".join(str(unit) for unit, _ in specification["units"]) or "no unit"
    shown = f"({units})" if specification["kind"] == "weak" else units
    blend = f"~{specification['blend']}" if specification["blend"] else ""
    if len(shown) <= LONGEST:
        return f"{shown}\n{blend}".rstrip()
    cut = shown.rindex("+", 0, LONGEST)
    return f"{shown[:cut]}\n{shown[cut:]} {blend}".rstrip()


def area(face: Face, side: int) -> np.ndarray:
    """Return the area of the action units, bool [side, side]: a band from forehead lines to lower lids, and the mouth.

    The mouth includes corners, folds and chin. The parts are the same for every class.
    """
    sheet = _sheet(face.view, np.empty((3, side, side), np.float32))
    shapes = [_rounded(*part) for part in (_UPPER_PART, _LOWER_PART)]
    return _filled(sheet.place(np.concatenate(shapes), 0), shapes, (0, 0), (side, side)) > 127


def regions(face: Face, side: int) -> dict[str, np.ndarray]:
    """Return the mouth, the eyes with forehead, and what lies around the face, bool [side, side].

    They do not depend on the expression: the face is as long as with the widest open mouth.
    """
    sheet, who = _sheet(face.view, np.empty((3, side, side), np.float32)), face.identity
    whole = who.width + 0.35, -1.6, who.chin + 0.35
    parts = {"mouth": _LOWER_PART, "eyes": _UPPER_PART, "background": whole}
    found = {}
    for name, part in parts.items():
        shape = _rounded(*part)
        found[name] = _filled(sheet.place(shape, 0), [shape], (0, 0), (side, side)) > 127
    return found | {"background": ~found["background"]}


def _sheet(view: View, pixels: np.ndarray) -> _Sheet:
    side = pixels.shape[1]
    origin = (0.5 + view.shift[0]) * side, (0.36 + view.shift[1]) * side
    return _Sheet(pixels, view.scale * side, origin, np.radians(view.roll), np.radians(view.yaw))


class _Pull:
    """The pull of each action unit on one side (-1, 1), or on both alike (0)."""

    def __init__(self, face: Face) -> None:
        self.strengths, self.side = dict(face.units), face.side

    def __call__(self, unit: int, side: int = 0) -> float:
        if self.side and self.side != side and unit in ONE_SIDED:
            return 0.0
        return EXAGGERATION * self.strengths.get(unit, 0.0)

    @property
    def chin(self) -> float:
        """Return the distance by which the chin moves down."""
        return 0.13 * self(26) - 0.02 * self(17)


def _turn(steps: int, closed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=closed)
    return np.cos(angle), np.sin(angle)


_CIRCLE = _points(*_turn(20))
_HEAD = _turn(60)
_ARCH = np.cos(np.linspace(0, np.pi, 30)), np.sin(np.linspace(0, np.pi, 30)).clip(0)
# Half width, top and bottom of the parts that action units act on, in distances between the eyes.
_UPPER_PART, _LOWER_PART = (0.95, -0.8, 0.3), (0.78, 0.62, 1.45)
_VOLUME = {"buzz": 0.03, "short": 0.1, "parted": 0.13, "fringe": 0.13, "long": 0.14, "curly": 0.3}


def _ellipse(x: float, y: float, width: float, height: float) -> np.ndarray:
    return _CIRCLE * (width, height) + (x, y)


def _rounded(half: float, top: float, bottom: float) -> np.ndarray:
    """Return a rectangle with round corners."""
    return np.sign(_CIRCLE) * np.abs(_CIRCLE) ** 0.5 * (half, (bottom - top) / 2) + (0, (top + bottom) / 2)


@cache
def _weights(knots: int, steps: int) -> np.ndarray:
    """Return the matrix [steps, knots] from evenly spaced knots to points on the polynomial through them."""
    powers = np.arange(knots)
    solved = np.linalg.inv(np.linspace(0, 1, knots)[:, None] ** powers)
    return np.linspace(0, 1, steps)[:, None] ** powers @ solved


def _curve(*points: tuple[float, float], steps: int = 10) -> np.ndarray:
    """Return a smooth line through a few points."""
    return _weights(len(points), steps) @ np.array(points, float)


def _both(shape: np.ndarray) -> list[np.ndarray]:
    """Return a shape and its mirror image."""
    return [shape, shape * (-1, 1)]


def _all_both(shapes: list[np.ndarray]) -> list[np.ndarray]:
    return [image for shape in shapes for image in _both(shape)]


@cache
def _taper(steps: int) -> np.ndarray:
    return np.sin(np.linspace(0.1, np.pi - 0.1, steps))


def _tapered(line: np.ndarray, width: float) -> np.ndarray:
    return ribbon(line, width * _taper(len(line)))


def _background(view: View, side: int, rng: np.random.Generator) -> np.ndarray:
    first, second = np.array(view.background, np.float32)
    mix = 0.5 + 0.25 * fractal(rng, 32, 2, base=2)
    grid = first + (second - first) * np.clip(mix, 0, 1)[..., None]
    return np.stack([cv2.resize(channel, (side, side)) for channel in np.moveaxis(grid, -1, 0)])


def _contour(face: Face, pull: _Pull, grow: float = 0) -> np.ndarray:
    who, (cosine, sine) = face.identity, _HEAD
    power = np.where(sine > 0, who.jaw, 1.0)
    x = (who.width + grow) * np.sign(cosine) * np.abs(cosine) ** power
    y = np.where(sine > 0, (who.chin + pull.chin + grow) * sine, (1.3 + grow) * sine)
    return _points(x, y)


def _behind(sheet: _Sheet, face: Face, pull: _Pull) -> None:
    """Paint shoulders, neck, the hair behind the head, and ears."""
    who, skin, hair = face.identity, np.array(face.identity.skin), np.array(face.identity.hair_colour)
    if who.hair == "long":
        sheet.paint([_ellipse(0, 0.2, who.width + 0.3, 1.75)], hair * 0.75, soft=0.04)
        sheet.paint([np.array([(-1.4, 0.2), (1.4, 0.2), (1.5, 2.4), (-1.5, 2.4)])], hair * 0.7, soft=0.06)
    if who.hair == "curly":
        sheet.paint([_ellipse(0, -0.45, who.width + 0.4, 1.25)], hair * 0.8, soft=0.08)
    sheet.paint([np.array([(-0.6, 1.0), (0.6, 1.0), (0.7, 2.6), (-0.7, 2.6)])], skin * 0.68, soft=0.03, lift=-1)
    sheet.paint([_curve((-2.6, 2.5), (-0.9, 1.85), (0.9, 1.85), (2.6, 2.5), steps=20)], face.view.clothes, lift=-1)
    sheet.paint(_both(_ellipse(who.width, 0.15, 0.15, 0.28)), skin * 0.86)
    sheet.paint(_both(_ellipse(who.width + 0.02, 0.15, 0.07, 0.17)), skin * 0.68, 0.6, soft=0.03)


def _skin(sheet: _Sheet, face: Face, pull: _Pull) -> None:
    """Paint the skin of the face with its hollows and bulges."""
    skin = np.array(face.identity.skin)
    outline = [_contour(face, pull)]
    sheet.paint(outline, skin * 0.86)
    sheet.paint([_contour(face, pull, -0.13)], skin, soft=0.1, clip=outline[0])
    blush = skin * (1.0, 0.86, 0.84)
    rise = 0.1 * pull(6) + 0.05 * pull(12)
    sheet.paint(_both(_ellipse(0.62, 0.62 - rise, 0.3, 0.22)), blush, 0.55, soft=0.12)
    sheet.paint(_both(_ellipse(0.6, 0.5 - rise, 0.2, 0.11)), _lit(skin), 0.35 + 0.4 * pull(6), soft=0.08)
    sheet.paint([_ellipse(0, -0.75, 0.5, 0.22), _ellipse(0, 1.32 + pull.chin, 0.16, 0.09)], _lit(skin), 0.35, soft=0.1)
    sheet.paint(_both(_ellipse(0.5, -0.08, 0.36, 0.24)), skin * (0.78, 0.7, 0.68), 0.45, soft=0.08)


def _lit(skin: np.ndarray) -> np.ndarray:
    return skin + (255 - skin) * 0.28


def _nose(sheet: _Sheet, face: Face, pull: _Pull) -> None:
    who, skin = face.identity, np.array(face.identity.skin)
    tip, wide, shade = (
        who.nose_length - 0.05 * pull(9),
        who.nose_width * (1 + 0.12 * pull(9)),
        skin * (0.66, 0.58, 0.56),
    )
    side = ribbon(_curve((0.12, -0.2), (0.1, 0.15), (wide * 0.8, tip - 0.1)), 0.1)
    dark = 1 if face.view.light[0] < 0 else -1
    sheet.paint([side * (dark, 1)], shade, 0.5, soft=0.05, lift=0.1)
    sheet.paint([side * (-dark, 1)], shade, 0.2, soft=0.05, lift=0.1)
    bridge = ribbon(_curve((0.0, -0.15), (0.0, 0.2), (0, tip - 0.1)), np.linspace(0.07, 0.13, 10))
    sheet.paint([bridge], _lit(skin), 0.6, soft=0.04, lift=0.25)
    sheet.paint([_ellipse(0, tip + 0.07, wide, 0.05)], shade * 0.9, 0.5, soft=0.04, lift=0.1)
    wing = ribbon(_curve((wide * 0.85, tip - 0.12), (wide * 1.12, tip - 0.02), (wide * 0.8, tip + 0.06)), 0.035)
    sheet.paint(_both(wing), shade * 0.9, 0.8, soft=0.015, lift=0.1)
    sheet.paint(_both(_ellipse(wide * 0.47, tip + 0.03, 0.062, 0.032)), skin * 0.25, 0.85, soft=0.01, lift=0.15)


def _beard(sheet: _Sheet, face: Face, pull: _Pull) -> None:
    who, colour = face.identity, np.array(face.identity.hair_colour) * 0.9
    if who.beard in ("stubble", "full"):
        alpha, outline = (0.3, 0.03) if who.beard == "stubble" else (0.85, 0.0)
        contour = _contour(face, pull, -alpha * 0.02)
        jaw = contour[contour[:, 1] > 0.35]
        inner = _curve((-who.width * 0.92, 0.35), (-0.62, 1.0), (0.62, 1.0), (who.width * 0.92, 0.35), steps=24)
        jaw = jaw[np.argsort(-jaw[:, 0])]
        sheet.paint([np.concatenate([inner, jaw])], colour, alpha, soft=0.07 + outline, clip=contour)
    if who.beard in ("moustache", "full", "stubble"):
        lip = _curve((-0.46, 1.0), (-0.2, 0.82), (0.2, 0.82), (0.46, 1.0), steps=20) - (0, 0.03 * pull(10))
        sheet.paint([ribbon(lip, 0.14 * np.sin(np.linspace(0.4, np.pi - 0.4, 20)))], colour,
                    0.25 if who.beard == "stubble" else 0.88, soft=0.025)  # fmt: skip


def _mouth(sheet: _Sheet, face: Face, pull: _Pull) -> None:
    who, skin = face.identity, np.array(face.identity.skin)
    x, upper_edge, upper, lower, lower_edge = _lips(who, pull)
    ends = np.array([x[0], x[-1]])
    lip = skin * (0.86, 0.6, 0.6) + (14, 0, 4)
    gap = lower - upper
    sheet.paint([_between_lines(x, upper, lower)], (52, 16, 18))
    if gap.max() > 0.07:
        low = lower.max()
        sheet.paint([_ellipse(0, low, 0.24, 0.45 * gap.max())], (150, 62, 62), 0.85, soft=0.03,
                    clip=_between_lines(x, upper, lower))  # fmt: skip
    teeth = np.minimum(np.clip(gap - 0.012, 0, None), 0.1 + 0.05 * pull(12))
    shown = np.abs(x) < 0.9 * np.abs(ends).max()
    sheet.paint([_between_lines(x[shown], upper[shown], (upper + teeth)[shown])], (236, 228, 216),
                min(1.0, 14 * gap.max()))  # fmt: skip
    sheet.paint([_between_lines(x, upper_edge, upper)], lip * 0.88, 0.95, soft=0.012)
    sheet.paint([_between_lines(x, lower, lower_edge)], lip, 0.95, soft=0.012)
    middle = (lower + lower_edge) / 2
    sheet.paint([ribbon(_points(x, middle)[8:-8], 0.04)], _lit(lip), 0.45, soft=0.02)
    line = _points(x, upper)
    sheet.paint([ribbon(line, 0.035)], lip * 0.32, 0.9, soft=0.006)
    corners = [_ellipse(ends[i], upper[i], 0.045, 0.035) for i in (0, -1)]
    sheet.paint(corners, skin * 0.4, 0.6, soft=0.02)
    below = lower_edge.max() + 0.06
    sheet.paint([_ellipse(0, below, 0.24, 0.04)], skin * 0.6, 0.45 + 0.3 * pull(17), soft=0.035)


def _lips(who: Identity, pull: _Pull) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return x and the four edges of the lips from top to bottom, each [33] from the left corner to the right."""
    t = np.linspace(-1, 1, 33)
    out, drop = np.empty(2), np.empty(2)
    for i, side in enumerate((-1, 1)):
        smile, tuck = pull(12, side), pull(14, side)
        out[i] = who.mouth_width + 0.12 * smile + 0.05 * tuck + 0.15 * pull(20) - 0.07 * pull(23)
        out[i] -= 0.03 * pull(24) + 0.12 * pull(26) * (1 - pull(20)) + 0.03 * pull(17)
        drop[i] = who.mouth_bias - 0.17 * smile - 0.09 * tuck + 0.14 * pull(15) + 0.03 * pull(20)
    right = t > 0
    bow, round_ = 1 - t**2, (1 - t**2) ** 0.65
    x = t * np.where(right, out[1], out[0])
    line = 1.04 + np.where(right, drop[1], drop[0]) * np.abs(t) ** 1.7
    line += bow * (0.05 * pull(12) - 0.06 * pull(17) - 0.02 * pull(15))
    gap = (0.08 + 0.07 * pull(12)) * pull(25) + 0.34 * pull(26)
    thin = (1 - 0.4 * pull(23)) * (1 - 0.68 * pull(24)) * (1 - 0.4 * pull(20)) * who.lips
    upper = line - 0.3 * gap * round_ - 0.08 * pull(10) * (1 - t**4)
    lower = line + 0.7 * gap * round_ + 0.07 * pull(16) * bow
    lower = np.maximum(lower, upper + 0.35 * 0.08 * pull(10) * bow)
    cupid = 1 - 0.28 * np.exp(-((t / 0.16) ** 2))
    upper_edge = upper - 0.11 * thin * (1 - 0.25 * pull(12)) * (1 - np.abs(t) ** 2) * cupid
    lower_edge = lower + 0.14 * thin * (1 - np.abs(t) ** 2.6)
    return x, upper_edge, upper, lower, lower_edge


def _between_lines(x: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.concatenate([_points(x, top), _points(x, bottom)[::-1]])


def _creases(sheet: _Sheet, face: Face, pull: _Pull) -> None:
    """Paint the lines and bulges that action units make in the skin."""
    who, age = face.identity, 0.18 * face.identity.age
    crease = np.array(who.skin) * (0.5, 0.42, 0.4)
    for side in (-1, 1):
        smile, tuck = pull(12, side), pull(14, side)
        depth = max(smile, 0.8 * pull(9), 0.8 * pull(10), 0.7 * pull(11), 0.6 * pull(15))
        fold = _curve((0.27, 0.58), (0.46 + 0.1 * smile, 0.76), (0.56 + 0.1 * smile, 1.0 - 0.06 * smile))
        sheet.paint([_tapered(fold * (side, 1), 0.06)], crease, age + 0.6 * depth, soft=0.02)
        corner = who.mouth_width + 0.12 * smile + 0.12
        dimple = _curve((corner, 0.82), (corner + 0.07, 0.94), (corner, 1.08))
        sheet.paint([_tapered(dimple * (side, 1), 0.07)], crease, 0.95 * tuck, soft=0.015)
    rows = ((-0.6, 0.5), (-0.75, 0.45))
    middle = [_tapered(_curve((-r * 0.6, y), (0, y + 0.03), (r * 0.6, y)), 0.04) for y, r in rows]
    sheet.paint(middle, crease, age + 0.65 * pull(1), soft=0.012)
    sides = [_tapered(_curve((r * 0.6, y), (r * 1.1, y - 0.05), (r * 1.6, y + 0.03)), 0.04) for y, r in rows]
    sheet.paint(_all_both(sides), crease, age * 0.5 + 0.65 * pull(2), soft=0.012)
    frown = _curve((0.08, -0.46), (0.07, -0.34), (0.1, -0.2))
    sheet.paint(_both(_tapered(frown, 0.045)), crease, 0.9 * max(pull(4), 0.5 * pull(9)), soft=0.012)
    root = [_tapered(_curve((-0.15, y + 0.04), (0, y - 0.02), (0.15, y + 0.04)), 0.045) for y in (-0.13, -0.03, 0.07)]
    sheet.paint(root, crease, 0.9 * pull(9), soft=0.012, lift=0.15)
    feet = [_curve((0.84, 0.03 + 0.4 * d), (0.92, 0.03 + d), (1.0, 0.03 + 1.8 * d)) for d in (-0.07, 0.0, 0.07)]
    sheet.paint(_all_both([_tapered(foot, 0.03) for foot in feet]), crease, 0.8 * pull(6), soft=0.008)
    under = _curve((0.25, 0.2), (0.5, 0.3 - 0.06 * pull(6)), (0.76, 0.2))
    sheet.paint(_both(_tapered(under, 0.05)), crease, age + 0.45 * max(pull(6), pull(7)), soft=0.02)
    sheet.paint([_ellipse(0, 1.3, 0.2, 0.1)], _lit(np.array(who.skin)), 0.5 * pull(17), soft=0.05)
    dents = [_ellipse(x, y, 0.022, 0.018) for x, y in ((-0.1, 1.29), (0.02, 1.33), (0.12, 1.28), (-0.03, 1.24))]
    sheet.paint(dents, crease, 0.75 * pull(17), soft=0.01)


def _eyes(sheet: _Sheet, face: Face, pull: _Pull) -> None:
    who, skin = face.identity, np.array(face.identity.skin)
    t = np.linspace(-1, 1, 17)
    squeeze = 1 - 0.38 * pull(7) - 0.12 * pull(6) - 0.2 * pull(9)
    top = (0.155 * squeeze * who.eye_opening + 0.075 * pull(5)) * (1 - t**2) ** 0.75
    bottom = (0.11 * squeeze * who.eye_opening - 0.04 * pull(6) - 0.015 * pull(7)) * (1 - np.abs(t) ** 2.4)
    tilt = who.eye_tilt * t
    x = 0.5 + 0.29 * t
    eye = _between_lines(x, -top - tilt, bottom - tilt)
    iris = np.array(who.iris)
    sheet.paint(_both(eye), (232, 228, 224))
    sheet.paint(_both(_ellipse(0.5, -0.02, 0.125, 0.125)), iris * 0.75, clip=eye)
    sheet.paint(_both(_ellipse(0.5, -0.01, 0.085, 0.085)), iris * 1.25, 0.8, soft=0.02, clip=eye)
    sheet.paint(_both(_ellipse(0.5, -0.02, 0.055, 0.055)), (12, 10, 10), clip=eye)
    lash = _points(x, -top - tilt)
    sheet.paint(_both(ribbon(lash + np.array((0, 0.03)), 0.06)), (60, 50, 50), 0.35, soft=0.02, clip=eye)
    sheet.paint([_ellipse(sign * 0.5 + 0.04, -0.065, 0.024, 0.024) for sign in (-1, 1)], (255, 255, 255), 0.9)
    sheet.paint(_both(ribbon(lash, np.linspace(0.03, 0.055, 17))), skin * 0.16, 0.92)
    low = _points(x, bottom - tilt)
    sheet.paint(_both(_tapered(low, 0.03)), skin * 0.35, 0.6, soft=0.008)
    crease = lash * (1, 1.15) - (0, 0.055 - 0.02 * pull(5))
    sheet.paint(_both(_tapered(crease[2:], 0.03)), skin * (0.5, 0.42, 0.4), 0.6, soft=0.01)


def _brows(sheet: _Sheet, face: Face, pull: _Pull) -> None:
    who = face.identity
    inner, outer, frown = 0.2 * pull(1), 0.2 * pull(2), pull(4)
    # Units 1 + 2 + 4 don't just add up: the brows rise less than in 1 + 2 and draw together less than in 4.
    inner, outer = inner * (1 - 0.2 * frown), outer * (1 - 0.25 * frown)
    together = 0.09 * frown * (1 - 0.4 * max(pull(1), pull(2)))
    inner_down = 0.16 * frown * (1 - 0.9 * pull(1)) + 0.06 * pull(9)
    outer_down = 0.1 * frown * (1 - 0.6 * pull(2))
    height = -0.36 + who.brow_height
    points = np.array([
        (0.24 - together, height + who.brow_tilt - inner + inner_down),
        (0.47 - together * 0.8, height - 0.08 - 0.5 * (inner + outer) + 0.6 * inner_down + 0.3 * outer_down),
        (0.66 - together * 0.5, height - 0.085 - 0.15 * inner - 0.9 * outer + 0.1 * inner_down + 0.7 * outer_down),
        (0.87, height - who.brow_tilt + 0.03 - outer + 0.4 * outer_down),
    ])  # fmt: skip
    line = _curve(*map(tuple, points), steps=18)
    width = 0.13 * who.brow_weight * np.interp(np.linspace(0, 1, 18), [0, 0.15, 0.6, 1], [0.6, 1, 0.8, 0.15])
    colour = np.minimum(np.array(who.hair_colour) * 0.7, np.array(who.skin) * 0.55)
    sheet.paint(_both(ribbon(line + np.array((0, 0.03)), width * 1.2)), colour, 0.25, soft=0.03)
    sheet.paint(_both(ribbon(line, width)), colour, 0.9, soft=0.012)


def _hair(sheet: _Sheet, face: Face) -> None:
    """Paint the hair over the forehead and temples."""
    who = face.identity
    if who.hair == "none":
        return
    colour, volume = np.array(who.hair_colour), _VOLUME[who.hair]
    low = max(who.hairline + 0.22, -0.72) if who.hair == "fringe" else who.hairline
    cosine, sine = _ARCH
    crown = _points((who.width + volume * sine**0.6) * cosine, -0.12 - (1.16 + volume) * sine)
    edge_x = 0.95 * who.width * np.sign(cosine) * np.abs(cosine) ** 0.6
    lean = 0.13 * edge_x * sine if who.hair == "parted" else 0
    hairline = _points(edge_x, -0.12 + (low + 0.12) * sine**0.75 - lean)
    cap = np.concatenate([crown, hairline[::-1]])
    sheet.paint([hairline + np.array((0, 0.03))], np.array(who.skin) * 0.55, 0.18, soft=0.05)
    sheet.paint([cap], colour, 0.8 if who.hair == "buzz" else 1, soft=0.05 if who.hair == "buzz" else 0.025)
    if who.hair != "buzz":
        strands = [
            _curve((0.35 * x, -1.6), (x, -1.2), (1.25 * x, -0.3), steps=8) for x in (-0.9, -0.5, -0.15, 0.3, 0.7)
        ]
        sheet.paint([_tapered(strand, 0.09) for strand in strands], colour * 0.6, 0.6, soft=0.04, clip=cap)
        sheet.paint(
            [_tapered(strand + np.array((0.14, 0)), 0.08) for strand in strands],
            colour * 1.3 + 10,
            0.45,
            soft=0.04,
            clip=cap,
        )
    if who.hair == "long":
        lock = ribbon(_curve((0.98, -0.75), (who.width + 0.06, 0.3), (who.width + 0.02, 1.7)), 0.26)
        sheet.paint(_both(lock), colour * 0.95, soft=0.03)


def _glasses(sheet: _Sheet, face: Face) -> None:
    if not face.identity.glasses:
        return
    cosine, sine = _turn(33, closed=True)
    rim = _points(
        0.5 + 0.36 * np.sign(cosine) * np.abs(cosine) ** 0.7, 0.04 + 0.27 * np.sign(sine) * np.abs(sine) ** 0.7
    )
    bridge, bow = _curve((-0.14, 0.0), (0, -0.04), (0.14, 0.0)), _curve((0.86, -0.02), (1.0, -0.04), (1.12, 0.0))
    sheet.paint(_both(rim), (220, 230, 240), 0.1, lift=0.25)
    frame = [*_both(ribbon(rim, 0.04)), *_both(ribbon(bow, 0.04)), ribbon(bridge, 0.04)]
    sheet.paint(frame, np.array(face.identity.hair_colour) * 0.5, 0.9, lift=0.25)


def _photograph(sheet: _Sheet, view: View, size: int, rng: np.random.Generator) -> np.ndarray:
    """Apply light and camera to the rendered face: exposure, blur, pixels, noise, JPEG."""
    side = sheet.pixels.shape[1]
    grid = (np.stack(np.meshgrid(np.arange(32), np.arange(32)), axis=-1) + 0.5) * side / 32
    x, y = np.moveaxis((grid - sheet.origin) / sheet.unit, -1, 0)
    x, y = x / 1.5, (y - 0.1) / 2
    normal = np.stack([x, y, np.sqrt(np.clip(1 - x**2 - y**2, 0.05, 1))], axis=-1)
    facing = np.clip(normal @ np.array(view.light), 0, 1)
    light = view.exposure * (1 - view.contrast + 1.25 * view.contrast * facing)
    light = cv2.resize(light.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    pixels = cv2.merge(list(sheet.pixels * light))
    if view.blur * side > 0.3:
        pixels = cv2.GaussianBlur(pixels, (0, 0), view.blur * side)
    pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    pixels += view.noise * rng.standard_normal((size, size, 1), dtype=np.float32)
    image = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, view.jpeg])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[..., ::-1])
