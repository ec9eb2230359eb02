"""Copies are found after re-saving and resizing, and what only looks alike is not one."""

from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnstudy.data import duplicates
from cnnstudy.data.synth import faces, xrays


def small(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.LANCZOS))


def saved(image: Image.Image, size: int, quality: int) -> Image.Image:
    buffer = BytesIO()
    image.convert("RGB").resize((size, size)).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


@pytest.fixture(scope="module")
def originals() -> list[Image.Image]:
    """Faces and chest X-rays, 200 pixels wide."""
    shown = [faces.render(faces.specify(label, "train", i, 0), 200) for label in faces.CLASSES for i in range(4)]
    return [Image.fromarray(image) for image in shown] + [
        Image.fromarray(xrays.render(xrays.specify(label, "train", 6 * i, 0), 200))
        for label in xrays.CLASSES
        for i in range(8)
    ]


def numbers(images: list[np.ndarray]) -> np.ndarray:
    return duplicates.copies(pd.Series([f"file {i}" for i in range(len(images))]), np.stack(images))


@pytest.mark.parametrize(("size", "quality"), [(200, 40), (120, 70), (300, 90)])
def test_a_copy_saved_again_is_found(originals: list[Image.Image], size: int, quality: int) -> None:
    count = len(originals)
    found = numbers([small(image) for image in originals] + [small(saved(each, size, quality)) for each in originals])
    assert (found[:count] == found[count:]).mean() > 0.95
    assert len(set(found[:count])) == count


def test_a_darker_copy_is_found(originals: list[Image.Image]) -> None:
    found = numbers(
        [small(originals[0]), small(originals[0].point(lambda value: int(0.8 * value))), small(originals[1])]
    )
    assert found[0] == found[1] != found[2]


def test_centred_faces_are_not_one_family() -> None:
    images = [faces.render(faces.specify("neutral", "train", i, 0), 64) for i in range(300)]
    assert len(set(numbers(images))) == 300


def test_blank_images_are_no_copies_but_identical_files_are() -> None:
    images = np.zeros((3, 64, 64, 3), np.uint8)
    found = duplicates.copies(pd.Series(["x", "y", "x"]), images)
    assert found[0] == found[2] != found[1]
