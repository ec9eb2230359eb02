"""Synthetic chest X-rays: thickness maps add up, rays fade exponentially through the sum, and the image is tone-mapped.

COVID-19 is three to eight soft ground-glass patches, mostly in the outer and lower parts of both lungs. Anatomy and
acquisition (site, marker, border, leads, exposure) come from random streams that do not depend on the class.
Coordinates are shares of the image's side: the origin lies at its top centre, x to the right, y down; the left of the
image is the patient's right.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from cnnstudy.data.synth.drawing import fractal, ribbon, stream

CLASSES = ("normal", "covid")
# The correlation of site and label in train and tune, and in test: 0 none, 1 full, -1 full with the sites exchanged.
OPTIONS: dict[str, tuple[float, float]] = {
    "site_label_correlation": (-1.0, 1.0),
    "test_site_label_correlation": (-1.0, 1.0),
    # How far devices and patients differ from the usual ones, as in another hospital: 0 not at all.
    "site_shift": (0.0, 1.0),
    # How much fainter patches are in the view AP, a subgroup that is harder then: 0 not at all.
    "subgroup_harm": (0.0, 1.0),
}
LIMITS = "A schematic chest with patches for COVID-19; real anatomy, other diseases and devices are not modelled."
SITES = ("A", "B")
VIEWS = ("PA", "AP")
NEAR_NORMAL_SHARE = 0.17
MIMIC_SHARE = 0.1
# The margin around the lungs, and the width of the frame, of `regions`.
MARGIN, FRAME = 0.02, 0.14
# The thickness that a solid patch adds; the ribs still show through.
OPACITY = 0.8

# The number of X-rays of each patient, in blocks of six X-rays.
_BLOCKS = ((1, 2, 3), (3, 2, 1), (2, 1, 1, 2), (1, 1, 3, 1), (2, 3, 1), (1, 1, 1, 1, 2))


@dataclass(frozen=True)
class Anatomy:
    """A patient's chest; the same on all X-rays of the patient. Lengths are shares of the image's side."""

    chest: float
    height: float
    habitus: float
    heart: float
    heart_tilt: float
    right_dome: float
    left_dome: float
    ribs: int
    rib_slope: float
    bone: float
    breast: float
    texture: int


@dataclass(frozen=True)
class Patch:
    """A ground-glass opacity on a side, -1 or 1, at `out` from hilum 0 to wall 1 and `down` from apex 0 to base 1."""

    side: int
    out: float
    down: float
    radius: float
    stretch: float
    density: float


@dataclass(frozen=True)
class Veil:
    """A broad, smooth shadow of soft tissue over one side, as from a skin fold or a rotated patient."""

    density: float
    out: float
    down: float
    height: float


@dataclass(frozen=True)
class Acquisition:
    """The acquisition of an X-ray; it depends on the class only where the site correlates with the label.

    `veils` lie over the left and the right of the X-ray. `falloff` is the brightness of the corners relative to the
    middle, negative for darker corners: scatter and the beam's own falloff.
    """

    site: str
    view: str
    marker: bool
    border: float
    leads: int
    rotation: float
    scale: float
    shift: tuple[float, float]
    gamma: float
    exposure: float
    noise: float
    blur: float
    veils: tuple[Veil, Veil]
    texture: int
    falloff: float


@dataclass(frozen=True)
class Xray:
    """The specification of an X-ray. `patient` is the group that a split must keep together.

    `mimic` is the cause that makes a normal lung look ill: crowded (vessels), inspiration (poor), or ''.
    """

    label: str
    patient: str
    patches: tuple[Patch, ...]
    mimic: str
    anatomy: Anatomy
    picture: Acquisition


def specify(label: str, split: str, index: int, seed: int, options: Mapping[str, Any] | None = None) -> Xray:
    """Return the X-ray number `index` of a class and split; it depends on nothing but the arguments.

    A site-label correlation, -1 to 1, is the share of X-rays whose site follows from the label: site A for normal and
    B for covid where it is positive, the other way round where it is negative.
    """
    key = "test_site_label_correlation" if split == "test" else "site_label_correlation"
    correlation, shift, harm = (float((options or {}).get(name, 0.0)) for name in (key, "site_shift", "subgroup_harm"))
    first = _first_image(label, split, index, seed)
    anatomy = _anatomy(stream(seed, "films", split, label, first, "anatomy"))
    acquisition = _acquisition(stream(seed, "films", split, label, index, "picture"))
    rng = stream(seed, "films", split, label, index, "site")
    site = SITES[rng.integers(2)]
    if rng.random() < abs(correlation):
        site = SITES[CLASSES.index(label) ^ (correlation < 0)]
    anatomy, acquisition = _elsewhere(anatomy, _at_site(acquisition, site), shift)
    rng = stream(seed, "films", split, label, first, "findings")
    patches = _patches(rng) if label == "covid" else ()
    if acquisition.view == "AP" and harm:
        patches = tuple(replace(patch, density=round(patch.density * (1 - harm), 4)) for patch in patches)
    mimic = str(rng.choice(("crowded", "inspiration"))) if label == "normal" and rng.random() < MIMIC_SHARE else ""
    return Xray(label, f"{split}-{label}-{first:05d}", patches, mimic, anatomy, acquisition)


def _first_image(label: str, split: str, index: int, seed: int) -> int:
    """Return the number of the first X-ray of the patient shown on X-ray `index`."""
    block = index // 6
    sizes = _BLOCKS[stream(seed, "films", split, label, block, "patients").integers(len(_BLOCKS))]
    starts = 6 * block + np.cumsum((0, *sizes))
    return int(starts[starts <= index][-1])


def _anatomy(rng: np.random.Generator) -> Anatomy:
    right = _normal(rng, 0.745, 0.022)
    return Anatomy(
        chest=_normal(rng, 0.4, 0.015),
        height=_normal(rng, 0.1, 0.015),
        habitus=_normal(rng, 1, 0.07),
        heart=_normal(rng, 0.39, 0.03),
        heart_tilt=_normal(rng, 35, 6),
        right_dome=right,
        left_dome=right + _normal(rng, 0.025, 0.007),
        ribs=int(rng.integers(9, 11)),
        rib_slope=_normal(rng, 0.12, 0.02),
        bone=_normal(rng, 1, 0.1),
        breast=round(max(0.0, float(rng.uniform(-0.15, 0.15))), 4),
        texture=int(rng.integers(2**31)),
    )


def _acquisition(rng: np.random.Generator) -> Acquisition:
    return Acquisition(
        site="",
        view=VIEWS[int(rng.random() < 0.4)],
        marker=bool(rng.random() < 0.7),
        border=round(max(0.0, float(rng.uniform(-0.04, 0.025))), 4),
        leads=int(rng.integers(1, 4)) if rng.random() < 0.2 else 0,
        rotation=_normal(rng, 0, 3),
        scale=_normal(rng, 1, 0.05),
        shift=(_normal(rng, 0, 0.03), _normal(rng, 0, 0.03)),
        gamma=_normal(rng, 1, 0.07),
        exposure=_normal(rng, 0.5, 0.03),
        noise=round(float(rng.uniform(0.004, 0.012)), 4),
        blur=round(float(rng.uniform(0, 0.004)), 4),
        veils=(_veil(rng), _veil(rng)),
        texture=int(rng.integers(2**31)),
        # Exposure is set by the mean: with no random falloff, darker surroundings would give away a lung with patches.
        falloff=_normal(rng, 0, 0.2),
    )


def _veil(rng: np.random.Generator) -> Veil:
    """Return a veil about as bright as a patch, so the mean over a part of the lung says little about the class."""
    ranges = ((0, 0.3), (0.18, 0.3), (0.45, 0.75), (0.12, 0.3))
    return Veil(*(round(float(rng.uniform(low, high)), 4) for low, high in ranges))


def _at_site(acquisition: Acquisition, site: str) -> Acquisition:
    """Return the acquisition at a site; site B sets its marker at the lower edge and has a wider border."""
    return Acquisition(**{**vars(acquisition), "site": site, "border": acquisition.border + 0.015 * (site == "B")})


def _elsewhere(anatomy: Anatomy, acquisition: Acquisition, shift: float) -> tuple[Anatomy, Acquisition]:
    """Return a patient and an X-ray of another hospital: heavier patients, darker and noisier images, wide borders."""
    if not shift:
        return anatomy, acquisition
    patient = replace(
        anatomy, habitus=round(anatomy.habitus + 0.2 * shift, 4), heart=round(anatomy.heart + 0.04 * shift, 4)
    )
    return patient, replace(
        acquisition,
        marker=True,
        border=round(acquisition.border + 0.03 * shift, 4),
        gamma=round(acquisition.gamma + 0.25 * shift, 4),
        exposure=round(acquisition.exposure - 0.1 * shift, 4),
        noise=round(acquisition.noise + 0.02 * shift, 4),
        blur=round(acquisition.blur + 0.004 * shift, 4),
        falloff=round(acquisition.falloff - 0.3 * shift, 4),
    )


def _patches(rng: np.random.Generator) -> tuple[Patch, ...]:
    near_normal = rng.random() < NEAR_NORMAL_SHARE
    is_bilateral, only_side = rng.random() < 0.65, (-1, 1)[rng.integers(2)]
    patches = []
    for _ in range(rng.integers(3, 9)):
        outer, lower = rng.random() < 0.65, rng.random() < 0.87
        patches.append(Patch(
            side=(-1, 1)[rng.integers(2)] if is_bilateral else only_side,
            out=round(float(rng.uniform(0.67, 0.95) if outer else rng.uniform(0.2, 0.67)), 4),
            down=round(float(rng.uniform(0.5, 0.95) if lower else rng.uniform(0.15, 0.5)), 4),
            radius=round(float(rng.uniform(0.065, 0.12)), 4),
            stretch=round(float(rng.uniform(0.7, 1.5)), 4),
            density=round(float(rng.uniform(0.5, 1)) * (0.4 if near_normal else 1.0), 4),
        ))  # fmt: skip
    return tuple(patches)


def _normal(rng: np.random.Generator, mean: float, deviation: float) -> float:
    return round(float(mean + deviation * np.clip(rng.normal(), -2.2, 2.2)), 4)


@dataclass(frozen=True)
class _Chest:
    """An X-ray's geometry: `side` pixels, rotation, scale and shift, and the `lift` of the diaphragm."""

    side: int
    acquisition: Acquisition
    anatomy: Anatomy
    lift: float

    def mask(self, shapes: list[np.ndarray], soft: float = 0) -> np.ndarray:
        """Return polygons as a float32 [side, side] mask, with edges blurred by `soft`."""
        mask = np.zeros((self.side, self.side), np.uint8)
        angle, scale = math.radians(self.acquisition.rotation), self.acquisition.scale
        turn = scale * np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
        origin = np.array([0.5, 0.5]) + self.acquisition.shift
        for shape in shapes:
            points = ((shape - (0, 0.5)) @ turn + origin) * self.side
            cv2.fillPoly(mask, [np.rint(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        blur = 2 * round(2 * soft * self.side) + 1
        if blur > 1:
            mask = cv2.stackBlur(mask, (blur, blur))
        return mask.astype(np.float32) / np.float32(255)

    def dome(self, side: int, x: np.ndarray) -> np.ndarray:
        """Return the height of the diaphragm at distance `x` from the middle."""
        top = (self.anatomy.right_dome if side < 0 else self.anatomy.left_dome) - self.lift
        return top + 0.1 * ((x - 0.45 * self.anatomy.chest) / (0.5 * self.anatomy.chest)) ** 2

    def lung(self, side: int) -> np.ndarray:
        """Return a lung's outline [40, 2]: a superellipse, narrower at the top, cut off by the diaphragm."""
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        cosine, sine = np.cos(angle), np.sin(angle)
        top, width = self.anatomy.height, self.anatomy.chest - 0.05
        y = top + 0.42 * (1 + np.sign(sine) * np.abs(sine) ** 0.8)
        reach = np.clip((y - top) / 0.5, 0, 1)
        x = 0.05 + width * (0.5 + 0.5 * np.sign(cosine) * np.abs(cosine) ** 0.75) * (0.6 + 0.4 * reach**0.8)
        return np.stack([side * x, np.minimum(y, self.dome(side, x))], axis=1)

    def inside(self, side: int, out: float, down: float) -> tuple[float, float]:
        """Return the point of a lung at share `out` of its width and `down` of its height."""
        top, bottom = self.anatomy.height + 0.04, float(self.dome(side, np.array(0.45 * self.anatomy.chest)))
        wide = (self.anatomy.chest - 0.05) * (0.6 + 0.4 * min(1.0, down * 1.3))
        return side * (0.05 + out * wide), top + down * (bottom - top)


def render(xray: Xray, size: int) -> np.ndarray:
    """Render an X-ray, uint8 [size, size] grey."""
    side = size * (2 if size <= 160 else 1)
    lift = 0.07 if xray.mimic == "inspiration" else 0.0
    chest = _Chest(side, xray.picture, xray.anatomy, lift)
    thickness = _soft_tissue(chest) + _bones(chest)
    lungs = chest.mask([chest.lung(-1), chest.lung(1)], 0.004)
    thickness += lungs * _vessels(chest, 1.7 if xray.mimic == "crowded" else 1.0)
    if xray.patches:
        thickness += lungs * _opacities(chest, xray.patches)
    return _develop(thickness, xray.picture, size)


def _ellipse(x: float, y: float, width: float, height: float, tilt: float = 0) -> np.ndarray:
    angle, turn = np.linspace(0, 2 * np.pi, 32, endpoint=False), math.radians(tilt)
    across, along = width * np.cos(angle), height * np.sin(angle)
    return np.stack([x + across * math.cos(turn) - along * math.sin(turn),
                     y + across * math.sin(turn) + along * math.cos(turn)], axis=1)  # fmt: skip


def _curve(*points: tuple[float, float], steps: int = 16) -> np.ndarray:
    """Return points on the Bezier curve of three or four control points."""
    t, degree = np.linspace(0, 1, steps)[:, None], len(points) - 1
    weights = [math.comb(degree, i) * t**i * (1 - t) ** (degree - i) for i in range(degree + 1)]
    return np.hstack(weights) @ np.array(points)


def _smooth(corners: list[tuple[float, float]]) -> np.ndarray:
    """Return a closed outline with corners cut three times (Chaikin 1974)."""
    points = np.array(corners)
    for _ in range(3):
        following = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], axis=1).reshape(-1, 2)
    return points


def _soft_tissue(chest: _Chest) -> np.ndarray:
    """Return the thickness of chest wall and lungs, heart and great vessels, belly and trachea."""
    body, wide = chest.anatomy, chest.anatomy.chest + 0.05 * chest.anatomy.habitus
    half = [(0.09, -0.2), (0.09, 0.0), (0.16, 0.055), (0.35, 0.08), (0.7, 0.1), (0.7, 0.33), (wide + 0.05, 0.33),
            (wide - 0.01, 0.42), (wide, 0.7), (wide + 0.03, 1.2)]  # fmt: skip
    wall = chest.mask([_smooth(half + [(-x, y) for x, y in half[::-1]])], 0.012) * 0.66 * body.habitus
    lungs = chest.mask([chest.lung(-1), chest.lung(1)], 0.005)
    heart = chest.mask([_heart(chest)], 0.006)
    centre = chest.mask([np.array([(-0.05, 0.08), (0.045, 0.08), (0.05, 0.8), (-0.055, 0.8)])], 0.012)
    depth = chest.mask([_ellipse(0, 0.6, 0.32, 0.6)], 0.12)
    belly = chest.mask([_ellipse(side * 0.2, 1.0, 0.3, 0.25) for side in (-1, 1)], 0.08)
    hila = chest.mask([_ellipse(-0.095, 0.46, 0.025, 0.06, 20), _ellipse(0.1, 0.43, 0.022, 0.05, -20)], 0.016)
    airway = chest.mask([np.array([(-0.02, 0.0), (0.018, 0.0), (0.014, 0.36), (-0.024, 0.36)])], 0.006)
    breasts = chest.mask([_ellipse(side * 0.24, 0.62, 0.17, 0.14) for side in (-1, 1)], 0.03)
    veils = sum(
        veil.density * chest.mask([_ellipse(side * veil.out, veil.down, 0.17, veil.height)], 0.06)
        for side, veil in zip((-1, 1), chest.acquisition.veils, strict=True)
    )
    air = lungs * (1 - 0.94 * np.maximum(heart, centre))
    inner = 0.12 * depth + 0.1 * belly + 0.1 * heart + 0.12 * centre
    return wall * (1 - 0.68 * air) + inner + 0.1 * hila - 0.13 * airway + body.breast * breasts + veils


def _heart(chest: _Chest) -> np.ndarray:
    """Return the outline of heart and great vessels: a third of the heart's width lies to the patient's right."""
    body = chest.anatomy
    wide = 2 * body.heart * body.chest * (1.12 if chest.acquisition.view == "AP" else 1)
    low = min(body.left_dome, body.right_dome) - chest.lift + 0.04
    right, left, tip = -0.36 * wide, 0.7 * wide, low - 0.02 * (body.heart_tilt / 35)
    waist, shoulder = min(0.48, low - 0.27), low - 0.22
    patients_right = [
        (-0.045, 0.2),
        (-0.06, 0.36),
        (-0.07, waist),
        (right, shoulder),
        (right, low - 0.08),
        (-0.06, low),
    ]
    apex = [(0.07, low + 0.02), (left * 0.9, tip + 0.02), (left, tip - 0.08), (0.72 * left, shoulder)]
    vessels = [(0.085, waist), (0.07, 0.41), (0.095, 0.36), (0.085, 0.28), (0.045, 0.26), (0.04, 0.2)]
    return _smooth([*patients_right, *apex, *vessels])


def _bones(chest: _Chest) -> np.ndarray:
    """Return the thickness of spine, posterior and anterior ribs, clavicles and shoulder blades."""
    body, acquisition = chest.anatomy, chest.acquisition
    top, step = body.height, (0.68 - chest.lift) / body.ribs
    behind, front = [], []
    for rib in range(body.ribs):
        y, reach = top + 0.015 + rib * step, body.chest * (0.62 + 0.4 * min(1.0, (rib + 1) / 4.5))
        slope = body.rib_slope * (0.5 + 0.5 * min(1, rib / 4))
        for side in (-1, 1):
            back = _curve((0.03, y), (0.45 * reach, y - 0.035), (reach, y + 0.4 * slope), (reach, y + slope + 0.03))
            behind.append(ribbon(back * (side, 1), np.linspace(0.02, 0.026, 16)))
            if 1 <= rib <= 7:
                ahead = _curve(
                    (reach, y + slope + 0.02), (0.9 * reach, y + slope + 0.1), (0.4 * reach, y + slope + 0.17)
                )
                front.append(ribbon(ahead * (side, 1), np.linspace(0.026, 0.022, 16)))
    bones = 0.15 * _tubes(chest, behind) + 0.07 * _tubes(chest, front)
    high = 0.02 if acquisition.view == "AP" else 0.0
    clavicles = [
        _curve((0.035, 0.2 - high), (0.15, 0.13 - high), (0.25, 0.16 - high), (0.4, 0.07 - high)) * (side, 1)
        for side in (-1, 1)
    ]
    bones += 0.2 * _tubes(chest, [ribbon(line, np.linspace(0.038, 0.026, 16)) for line in clavicles])
    inward = 0.05 if acquisition.view == "AP" else 0.0
    blade = np.array([(0.33, 0.14), (0.47, 0.12), (0.5, 0.2), (0.41, 0.44), (0.375, 0.42)]) - (inward, 0)
    bones += 0.09 * chest.mask([blade * (side, 1) for side in (-1, 1)], 0.006)
    bones += 0.14 * chest.mask([np.array([(-0.034, -0.1), (0.034, -0.1), (0.042, 1.1), (-0.042, 1.1)])], 0.005)
    discs = [_ellipse(0, y, 0.036, 0.007) for y in np.arange(0.03, 1.0, 0.062)]
    bones -= 0.06 * chest.mask(discs, 0.004)
    return bones * body.bone


def _tubes(chest: _Chest, ribbons: list[np.ndarray]) -> np.ndarray:
    """Return a mask of bones whose rims are denser than their middle."""
    half = len(ribbons[0]) // 2
    cores = []
    for shape in ribbons:
        first, second = shape[:half], shape[half:][::-1]
        core = np.concatenate([0.75 * first + 0.25 * second, (0.25 * first + 0.75 * second)[::-1]])
        cores.append(core)
    return chest.mask(ribbons, 0.002) - 0.35 * chest.mask(cores, 0.003)


def _vessels(chest: _Chest, crowding: float) -> np.ndarray:
    """Return the thickness of vessels that branch from the hila and thin out in the outer lung."""
    rng = np.random.default_rng(chest.anatomy.texture)
    thick, thin = [], []
    for side in (-1, 1):
        for angle in np.linspace(-1.2, 1.3, 6) + rng.normal(0, 0.12, 6):
            start, turn = (side * 0.09, 0.44 + 0.03 * math.sin(angle)), rng.normal(0, 0.25)
            middle = _along(start, side, angle + turn, rng.uniform(0.09, 0.14))
            end = _along(middle, side, angle - turn, rng.uniform(0.06, 0.1))
            thick.append(ribbon(_curve(start, middle, end), np.linspace(0.015, 0.006, 16)))
            for root, fork in ((middle, 0.55), (end, 0.35), (end, -0.4)):
                bend = _along(root, side, angle + fork * rng.uniform(0.7, 1.4), rng.uniform(0.04, 0.07))
                tip = _along(bend, side, angle + 0.4 * fork, rng.uniform(0.03, 0.06))
                thin.append(ribbon(_curve(root, bend, tip), np.linspace(0.006, 0.002, 16)))
    tissue = cv2.resize(fractal(rng, 64, 4, base=4), (chest.side, chest.side), interpolation=cv2.INTER_CUBIC)
    tree = 0.08 * chest.mask(thick, 0.004) + 0.06 * chest.mask(thin, 0.003)
    return crowding * (tree + 0.01 * tissue) + 0.05 * (crowding - 1)


def _along(start: tuple[float, float], side: int, angle: float, length: float) -> tuple[float, float]:
    return start[0] + side * length * math.cos(angle), start[1] + length * math.sin(angle)


def _opacities(chest: _Chest, patches: tuple[Patch, ...]) -> np.ndarray:
    """Return the thickness of the patches, computed on a coarse grid: soft discs eroded by noise."""
    cells = 96
    rng = np.random.default_rng(chest.anatomy.texture + 1)
    noise = np.clip(0.75 + 0.5 * fractal(rng, cells, 4, base=6, persistence=0.6), 0, 1.6)
    y, x = (np.mgrid[:cells, :cells] + 0.5) / cells
    clear = np.ones((cells, cells))
    for patch in patches:
        clear *= 1 - np.clip(patch.density * np.exp(-(_distance(chest, patch, x, y) ** 1.3)), 0, 0.95)
    field = (OPACITY * (1 - clear) * noise).astype(np.float32)
    return cv2.resize(field, (chest.side, chest.side), interpolation=cv2.INTER_CUBIC)


def _distance(chest: _Chest, patch: Patch, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the squared distance of points from a patch's centre, in its radii."""
    centre_x, centre_y = chest.inside(patch.side, patch.out, patch.down)
    return ((x - 0.5 - centre_x) / patch.radius) ** 2 + ((y - centre_y) / (patch.radius * patch.stretch)) ** 2


def group(xray: Xray) -> str:
    """Return the patient."""
    return xray.patient


def as_numbers(specification: Mapping[str, Any]) -> list[float]:
    """Return the number of patches, and the sum and maximum of their densities."""
    densities = [patch["density"] for patch in specification["patches"]]
    return [len(densities), sum(densities), max(densities, default=0.0)]


def subgroups(specification: Mapping[str, Any]) -> dict[str, str]:
    """Return the site and the view."""
    return {name: specification["picture"][name] for name in ("site", "view")}


def in_words(specification: Mapping[str, Any]) -> str:
    """Return a caption: patches or mimic, site and view."""
    acquisition, patches = specification["picture"], len(specification["patches"])
    found = f"{patches} patches" if patches else specification["mimic"] or "clear"
    return f"{found}, {acquisition['site']}, {acquisition['view']}"


def area(xray: Xray, side: int) -> np.ndarray:
    """Return the area of the patches in the lungs, down to a third of their density: bool [side, side]."""
    chest = _Chest(side, xray.picture, xray.anatomy, 0.0)
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    patches = np.array([_distance(chest, patch, x, y) < 1 for patch in xray.patches]).reshape(-1, side, side)
    return patches.any(axis=0) & (chest.mask([chest.lung(-1), chest.lung(1)]) > 0.5)


def regions(xray: Xray, side: int) -> dict[str, np.ndarray]:
    """Return the lungs with a margin, and the rest of a frame along the edges, bool [side, side].

    They do not depend on the class: the lungs are those of a full inspiration.
    """
    chest = _Chest(side, xray.picture, xray.anatomy, 0.0)
    margin = np.ones((2 * round(MARGIN * side) + 1,) * 2, np.uint8)
    lungs = cv2.dilate(chest.mask([chest.lung(-1), chest.lung(1)]), margin) > 0.5
    away = np.abs(np.linspace(-1, 1, side))
    frame = np.maximum(away[:, None], away) > 1 - 2 * FRAME
    return {"lungs": lungs, "border": frame & ~lungs}


def _develop(thickness: np.ndarray, acquisition: Acquisition, size: int) -> np.ndarray:
    """Return the grey values of a thickness map: absorption, exposure and tone curve, then overlays and noise."""
    rng = np.random.default_rng(acquisition.texture)
    side = len(thickness)
    image = 1 - np.exp(-1.7 * np.maximum(thickness, 0))
    if acquisition.blur * side > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), acquisition.blur * side)
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    image = np.clip(image * _beam(size, acquisition.falloff), 0.004, 1) ** acquisition.gamma
    for _ in range(2):
        image **= math.log(acquisition.exposure) / math.log(float(image.mean()))
    image = _overlaid(image, acquisition, rng)
    image = image + acquisition.noise * rng.standard_normal((size, size), dtype=np.float32)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _beam(size: int, falloff: float) -> np.ndarray:
    """Return the beam's relative strength, float32 [size, size]: 1 in the middle, 1 + falloff in the corners."""
    square = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    return 1 + np.float32(falloff / 2) * (square[:, None] + square)


def _overlaid(image: np.ndarray, acquisition: Acquisition, rng: np.random.Generator) -> np.ndarray:
    """Return an image with leads, the side marker and the black border."""
    size = len(image)
    bright = np.zeros((size * 2, size * 2), np.uint8)
    for _ in range(acquisition.leads):
        top, middle, bottom = rng.uniform(-0.4, 0.4, 3)
        line = _curve((0.5 + top, 0), (0.5 + middle, rng.uniform(0, 0.8)), (0.5 + bottom, 1.0))
        points = np.rint(line * size * 32).astype(np.int32)
        cv2.polylines(bright, [points], False, 190, max(1, size // 64), cv2.LINE_AA, 4)
    if acquisition.marker:
        text, corner = ("L", (0.86, 0.13)) if acquisition.site == "A" else ("R", (0.07, 0.95))
        place = int(corner[0] * 2 * size), int(corner[1] * 2 * size)
        cv2.putText(bright, text, place, cv2.FONT_HERSHEY_SIMPLEX, size / 200, 255, max(1, size // 40), cv2.LINE_AA)
    image = np.maximum(image, cv2.resize(bright, (size, size), interpolation=cv2.INTER_AREA) / np.float32(255))
    edge = round(acquisition.border * size)
    if edge:
        image[:edge] = image[-edge:] = image[:, :edge] = image[:, -edge:] = 0.01
    return image
