from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from synth_chance import border, interval

from cnnstudy.data.audit import shortcuts
from cnnstudy.data.synth import xrays

EACH = 500


def tied(correlation: float) -> dict[str, float]:
    return {"site_label_correlation": correlation}


@pytest.fixture(scope="module")
def specified() -> list[xrays.Xray]:
    return [xrays.specify(label, "train", index, 0) for label in xrays.CLASSES for index in range(EACH)]


@pytest.fixture(scope="module")
def rendered(specified: list[xrays.Xray]) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([xrays.CLASSES.index(xray.label) for xray in specified])
    return np.stack([xrays.render(xray, 48) for xray in specified]), labels


@pytest.mark.parametrize("size", [48, 64, 150, 256])
def test_render_gives_grey_bytes_at_any_size(size: int) -> None:
    image = xrays.render(xrays.specify("covid", "train", 3, 0), size)
    assert image.shape == (size, size)
    assert image.dtype == np.uint8
    assert image.std() > 20


def test_the_same_arguments_give_the_same_bytes_in_any_order() -> None:
    forwards = [xrays.render(xrays.specify("covid", "test", index, 7), 48) for index in range(4)]
    backwards = [xrays.render(xrays.specify("covid", "test", index, 7), 48) for index in (3, 2, 1, 0)]
    assert np.array_equal(forwards, backwards[::-1])


@pytest.mark.parametrize(
    "other", [("covid", "train", 0, 1), ("covid", "train", 1, 0), ("covid", "test", 0, 0), ("normal", "train", 0, 0)]
)
def test_every_argument_makes_another_xray(other: tuple[str, str, int, int]) -> None:
    xray, another = xrays.specify("covid", "train", 0, 0), xrays.specify(*other)
    assert xray.picture != another.picture
    assert not np.array_equal(xrays.render(xray, 48), xrays.render(another, 48))


def test_a_patient_has_one_to_three_xrays_of_one_chest(specified: list[xrays.Xray]) -> None:
    by_patient = defaultdict(list)
    for xray in specified:
        by_patient[xray.patient].append(xray)
    complete = [shown for patient, shown in by_patient.items() if not patient.endswith(f"{EACH - EACH % 6:05d}")]
    assert {len(shown) for shown in complete} == {1, 2, 3}
    for shown in by_patient.values():
        assert len({(xray.label, xray.anatomy, xray.patches) for xray in shown}) == 1
        assert len({xray.picture for xray in shown}) == len(shown)
    test = {xrays.specify(label, "test", index, 0).patient for label in xrays.CLASSES for index in range(20)}
    assert not test & set(by_patient)


def test_patches_are_peripheral_and_low(specified: list[xrays.Xray]) -> None:
    assert not any(xray.patches for xray in specified if xray.label == "normal")
    ill = [xray for xray in specified if xray.label == "covid"]
    assert {len(xray.patches) for xray in ill} == set(range(3, 9))
    patches = [patch for xray in ill for patch in xray.patches]
    assert 0.58 <= np.mean([patch.out > 2 / 3 for patch in patches]) <= 0.72
    assert 0.80 <= np.mean([patch.down >= 0.5 for patch in patches]) <= 0.93
    assert 0.50 <= np.mean([len({patch.side for patch in xray.patches}) == 2 for xray in ill]) <= 0.75


def test_patches_only_brighten_the_lungs() -> None:
    xray = xrays.specify("covid", "train", 0, 0)
    plain = replace(xray.picture, exposure=0.5, noise=0.0, rotation=0.0, leads=0)
    xray = replace(xray, picture=plain)
    change = xrays.render(xray, 96).astype(int) - xrays.render(replace(xray, patches=()), 96)
    assert change.max() > 15
    assert change[:, 44:50].max() <= 3


@pytest.mark.slow
def test_border_pixels_do_not_tell_the_class(rendered: tuple[np.ndarray, np.ndarray]) -> None:
    low, high = interval(border(rendered[0]), rendered[1])
    assert low <= 0.5 <= high


@pytest.mark.slow
def test_border_and_brightness_together_do_not_tell_the_class(rendered: tuple[np.ndarray, np.ndarray]) -> None:
    # Exposure is set by the mean: what patches add in the lungs could be missing around them.
    images, labels = rendered
    features = {"border": border(images), "brightness": images.mean(axis=(1, 2))[:, None]}
    score = shortcuts.score(features, labels, np.arange(len(labels)))
    assert score
    assert score.low <= score.chance <= score.high


@pytest.mark.slow
def test_mean_brightness_does_not_tell_the_class(rendered: tuple[np.ndarray, np.ndarray]) -> None:
    low, high = interval(rendered[0].mean(axis=(1, 2))[:, None], rendered[1])
    assert low <= 0.5 <= high


@pytest.mark.parametrize(
    ("correlation", "low", "high"), [(0.0, 0.4, 0.6), (1.0, 1.0, 1.0), (-1.0, 0.0, 0.0), (0.6, 0.7, 0.9)]
)
def test_site_follows_the_label_as_far_as_told(correlation: float, low: float, high: float) -> None:
    names = [(label, index) for label in xrays.CLASSES for index in range(200)]
    tied_to_site = [xrays.specify(label, "train", index, 0, tied(correlation)) for label, index in names]
    share = np.mean([xray.picture.site == xrays.SITES[xrays.CLASSES.index(xray.label)] for xray in tied_to_site])
    assert low <= share <= high


def test_the_tie_changes_nothing_but_the_site() -> None:
    for index in range(10):
        loose, fixed = (xrays.specify("covid", "train", index, 0, tied(correlation)) for correlation in (0.0, 1.0))
        assert (loose.anatomy, loose.patches, loose.mimic) == (fixed.anatomy, fixed.patches, fixed.mimic)
        assert replace(loose.picture, site="B", border=0) == replace(fixed.picture, border=0)
