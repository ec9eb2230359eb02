"""Scores of a model that never sees the image: the best feature, and no result without a shortcut."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from cnnstudy.data.audit import shortcuts


def table(count: int, **columns: object) -> pd.DataFrame:
    content = {"id": range(count), "source": "folders", "path": [f"a/{i}.png" for i in range(count)], "width": 64,
               "height": 64, "mode": "L", "bytes": 4096}  # fmt: skip
    return pd.DataFrame({**content, **columns})


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def scored(samples: pd.DataFrame, images: np.ndarray, answers: Sequence[object]) -> shortcuts.ShortcutScore:
    found = shortcuts.score(shortcuts.features(samples, images, {"a", "b"}), np.array(answers), np.arange(len(samples)))
    assert found is not None
    return found


LABELS = ["a", "b"] * 60
IS_B = np.array([label == "b" for label in LABELS])


def test_rows_of_a_table_have_no_file_type_of_their_own() -> None:
    order = sorted(LABELS)
    found = scored(table(120, path=[f"fer2013.csv:{i:06d}" for i in range(120)]), noise(120), order)
    assert found.alone["file type"] <= 0.5


def test_noise_tells_nothing() -> None:
    found = scored(table(120), noise(120), LABELS)
    assert found.low <= found.chance == 0.5
    assert set(found.alone) == {"file type", "colour mode", "folder", "size", "bytes", "border", "brightness"}


@pytest.mark.parametrize(
    ("feature", "columns"),
    [
        ("file type", {"path": [f"x{i}.{'jpg' if b else 'PNG'}" for i, b in enumerate(IS_B)]}),
        ("colour mode", {"mode": np.where(IS_B, "RGB", "L")}),
        ("folder", {"path": [f"{'hospital/' if b else ''}b/{i}.png" for i, b in enumerate(IS_B)]}),
        ("size", {"width": np.where(IS_B, 640, 512)}),
        ("bytes", {"bytes": np.where(IS_B, 90_000, 9_000)}),
    ],
)
def test_what_a_file_says_of_itself_is_named(feature: str, columns: dict[str, object]) -> None:
    found = scored(table(120, **columns), noise(120), LABELS)
    assert (found.accuracy, found.carrier) == (1.0, feature)


@pytest.mark.parametrize("feature", ["border", "brightness"])
def test_the_edge_and_the_brightness_are_named(feature: str) -> None:
    images = noise(120)
    inside = images[:, 1:-1, 1:-1] if feature == "brightness" else images[:, :1]
    inside[IS_B] //= 2
    assert scored(table(120), images, LABELS).carrier == feature


def test_class_and_split_folders_are_no_shortcut() -> None:
    paths = [f"{label}/{i}.png" for i, label in enumerate(LABELS)]
    assert scored(table(120, path=paths), noise(120), LABELS).alone["folder"] == 0.5


def test_a_family_is_on_one_side_of_a_fold() -> None:
    # Each family has its own size and class: known from another fold only where families are torn apart.
    rng = np.random.default_rng(0)
    families = np.repeat(np.arange(30), 4)
    answers = np.repeat(rng.permutation(["a", "b"] * 15), 4)
    samples = table(120, width=np.repeat(rng.permutation(30), 4))
    features = shortcuts.features(samples, noise(120), set())
    torn = shortcuts.score(features, answers, np.arange(120))
    whole = shortcuts.score(features, answers, families)
    assert torn is not None
    assert whole is not None
    assert torn.alone["size"] > 0.9
    assert whole.alone["size"] < 0.75


def test_what_patients_have_by_chance_is_no_shortcut() -> None:
    """X-rays of a patient share a size that is independent of the class; all 20 of a patient are in one fold."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        families = np.repeat(np.arange(24), 20)
        answers = np.repeat(rng.permutation(["a", "b"] * 12), 20)
        features = {name: np.repeat(rng.normal(size=(24, 1)), 20, axis=0) for name in ("size", "bytes", "brightness")}
        found = shortcuts.score(features, answers, families)
        assert found is not None
        assert found.low <= found.chance


def test_what_all_patients_of_a_class_have_is_one() -> None:
    answers = np.repeat(["a", "b"] * 12, 20)
    features = {"size": (answers == "a").astype(float)[:, None]}
    found = shortcuts.score(features, answers, np.repeat(np.arange(24), 20))
    assert found is not None
    assert found.accuracy == 1
    assert found.low > found.chance


def test_one_answer_or_one_family_gives_no_score() -> None:
    features = shortcuts.features(table(20), noise(20), set())
    assert shortcuts.score(features, np.array(["a"] * 20), np.arange(20)) is None
    assert shortcuts.score(features, np.array(["a"] * 19 + ["b"]), np.arange(20)) is None


def test_a_class_with_one_image_keeps_nothing_from_being_found() -> None:
    answers = np.array(["a", "b"] * 60 + ["rare"])
    features = shortcuts.features(table(121, mode=["L", "RGB"] * 60 + ["L"]), noise(121), set())
    found = shortcuts.score(features, answers, np.arange(121))
    assert found is not None
    assert found.alone["colour mode"] == 1
