from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from synth_chance import border, interval

from cnnstudy.data import shortcuts, synth
from cnnstudy.data.synth import films

EACH = 500


@pytest.fixture(scope="module")
def specified() -> list[films.Film]:
    return [films.specify(label, "train", index, 0) for label in synth.FILMS for index in range(EACH)]


@pytest.fixture(scope="module")
def drawn(specified: list[films.Film]) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([synth.FILMS.index(film.label) for film in specified])
    return np.stack([films.render(film, 48) for film in specified]), labels


@pytest.mark.parametrize("size", [48, 64, 150, 256])
def test_render_gives_grey_bytes_at_any_size(size: int) -> None:
    image = films.render(films.specify("covid", "train", 3, 0), size)
    assert image.shape == (size, size)
    assert image.dtype == np.uint8
    assert image.std() > 20


def test_the_same_arguments_give_the_same_bytes_in_any_order() -> None:
    forwards = [films.render(films.specify("covid", "test", index, 7), 48) for index in range(4)]
    backwards = [films.render(films.specify("covid", "test", index, 7), 48) for index in (3, 2, 1, 0)]
    assert np.array_equal(forwards, backwards[::-1])


@pytest.mark.parametrize(
    "other", [("covid", "train", 0, 1), ("covid", "train", 1, 0), ("covid", "test", 0, 0), ("normal", "train", 0, 0)]
)
def test_every_argument_makes_another_film(other: tuple[str, str, int, int]) -> None:
    film, another = films.specify("covid", "train", 0, 0), films.specify(*other)
    assert film.picture != another.picture
    assert not np.array_equal(films.render(film, 48), films.render(another, 48))


def test_a_patient_has_one_to_three_films_of_one_chest(specified: list[films.Film]) -> None:
    by_patient = defaultdict(list)
    for film in specified:
        by_patient[film.patient].append(film)
    complete = [shown for patient, shown in by_patient.items() if not patient.endswith(f"{EACH - EACH % 6:05d}")]
    assert {len(shown) for shown in complete} == {1, 2, 3}
    for shown in by_patient.values():
        assert len({(film.label, film.anatomy, film.patches) for film in shown}) == 1
        assert len({film.picture for film in shown}) == len(shown)
    test = {films.specify(label, "test", index, 0).patient for label in synth.FILMS for index in range(20)}
    assert not test & set(by_patient)


def test_patches_are_peripheral_and_low(specified: list[films.Film]) -> None:
    assert not any(film.patches for film in specified if film.label == "normal")
    ill = [film for film in specified if film.label == "covid"]
    assert {len(film.patches) for film in ill} == set(range(3, 9))
    patches = [patch for film in ill for patch in film.patches]
    assert 0.58 <= np.mean([patch.out > 2 / 3 for patch in patches]) <= 0.72
    assert 0.80 <= np.mean([patch.down >= 0.5 for patch in patches]) <= 0.93
    assert 0.50 <= np.mean([len({patch.side for patch in film.patches}) == 2 for film in ill]) <= 0.75


def test_patches_only_brighten_the_lungs() -> None:
    film = films.specify("covid", "train", 0, 0)
    plain = replace(film.picture, exposure=0.5, noise=0.0, rotation=0.0, leads=0)
    film = replace(film, picture=plain)
    change = films.render(film, 96).astype(int) - films.render(replace(film, patches=()), 96)
    assert change.max() > 15
    assert change[:, 44:50].max() <= 3


@pytest.mark.slow
def test_border_pixels_do_not_tell_the_class(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    low, high = interval(border(drawn[0]), drawn[1])
    assert low <= 0.5 <= high


@pytest.mark.slow
def test_border_and_brightness_together_do_not_tell_the_class(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    # Exposure is set by the mean: what patches add in the lungs could be missing around them.
    images, labels = drawn
    features = {"border": border(images), "brightness": images.mean(axis=(1, 2))[:, None]}
    score = shortcuts.score(features, labels, np.arange(len(labels)))
    assert score
    assert score.low <= score.chance <= score.high


@pytest.mark.slow
def test_mean_brightness_does_not_tell_the_class(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    low, high = interval(drawn[0].mean(axis=(1, 2))[:, None], drawn[1])
    assert low <= 0.5 <= high


@pytest.mark.parametrize(
    ("correlation", "low", "high"), [(0.0, 0.4, 0.6), (1.0, 1.0, 1.0), (-1.0, 0.0, 0.0), (0.6, 0.7, 0.9)]
)
def test_site_follows_the_label_as_far_as_told(correlation: float, low: float, high: float) -> None:
    drawn = [films.specify(label, "train", index, 0, correlation) for label in synth.FILMS for index in range(200)]
    share = np.mean([film.picture.site == films.SITES[synth.FILMS.index(film.label)] for film in drawn])
    assert low <= share <= high


def test_the_tie_changes_nothing_but_the_site() -> None:
    for index in range(10):
        free, tied = (films.specify("covid", "train", index, 0, correlation) for correlation in (0.0, 1.0))
        assert (free.anatomy, free.patches, free.mimic) == (tied.anatomy, tied.patches, tied.mimic)
        assert replace(free.picture, site="B", border=0) == replace(tied.picture, border=0)
