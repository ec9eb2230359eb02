"""From paths to lines, with a net that needs no TensorFlow."""

import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnstudy.data import familiarity
from cnnstudy.data.decode import UnreadableError
from cnnstudy.data.samples import Dataset
from cnnstudy.serving import images, predict
from cnnstudy.serving.net import Net


def by_brightness(images: np.ndarray) -> np.ndarray:
    assert images.dtype == np.uint8
    assert images.shape[1:] == (8, 8, 3)
    bright = images.reshape(len(images), -1).mean(axis=1) / 255
    return np.stack([1 - bright, bright, np.zeros(len(images))], axis=1).astype(np.float32)


UNKNOWN = {"unlike_training_images": None, "trained_on_synthetic_images": False}
NET = Net(("dark", "bright", "none"), 8, by_brightness)


def encoded(grey: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), (grey, grey, grey)).save(file, kind)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images, one of them in a subfolder, and files that are no images."""
    (tmp_path / "images" / "below").mkdir(parents=True)
    root = tmp_path / "images"
    (root / "b.png").write_bytes(encoded(255))
    (root / "a.jpg").write_bytes(encoded(0, "JPEG"))
    (root / "below" / "c.png").write_bytes(encoded(51))
    (root / "notes.txt").write_text("no image")
    (root / "empty.png").touch()
    (tmp_path / "outside.png").write_bytes(encoded(9))
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    return root


def test_a_folder_gives_a_line_a_file_in_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.write(NET, [folder], 2, predict.as_text) == 3
    assert capsys.readouterr().out.splitlines() == [
        f"{folder}/a.jpg: dark 1.000, bright 0.000",
        f"{folder}/b.png: bright 1.000, dark 0.000",
        f"{folder}/below/c.png: dark 0.800, bright 0.200",
        f"{folder}/empty.png: rejected: empty file",
        f"{folder}/link.png: rejected: a link out of the folder",
        f"{folder}/notes.txt: rejected: not an image",
    ]


def test_files_keep_the_order_in_which_they_are_given(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [folder / "b.png", folder / "absent.png", folder / "a.jpg", folder / "link.png"]
    assert predict.write(NET, given, 1, predict.as_json) == 3
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"path": f"{folder}/b.png", "class": "bright", "probabilities": {"bright": 1.0}} | UNKNOWN,
        {"path": f"{folder}/absent.png", "rejected": "No such file or directory"},
        {"path": f"{folder}/a.jpg", "class": "dark", "probabilities": {"dark": 1.0}} | UNKNOWN,
        {"path": f"{folder}/link.png", "class": "dark", "probabilities": {"dark": 0.964706}} | UNKNOWN,
    ]


def test_images_unlike_the_training_images_are_marked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    greys = np.concatenate([np.linspace(200, 255, 20), np.tile([200, 255], 10)]).astype(np.uint8)
    bright = np.ones((40, 8, 8, 3), np.uint8) * greys[:, None, None, None]
    splits = np.array(["train"] * 20 + ["val"] * 20)
    familiar = familiarity.fit(Dataset(bright, np.zeros(40, np.int64), splits, ("one",)))
    net = replace(NET, familiarity=familiar, is_synthetic=True, notices=("Only for a test.",))
    assert predict.write(net, [folder / "a.jpg", folder / "b.png"], 1, predict.as_text) == 2
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"{folder}/a.jpg: dark 1.000 (unlike the training images)",
        f"{folder}/b.png: bright 1.000",
    ]
    assert said.err.splitlines() == ["Only for a test."]
    assert predict.write(net, [folder / "a.jpg"], 1, predict.as_json) == 1
    row = json.loads(capsys.readouterr().out)
    assert row["unlike_training_images"] is True
    assert row["trained_on_synthetic_images"] is True


def test_what_would_be_read_for_ever_is_not_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "a\npipe.png")
    assert predict.write(NET, [tmp_path / "a\npipe.png"], 1, predict.as_text) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "a\\npipe.png" in line
    assert "not a regular file" in line


def test_many_images_are_predicted_in_order_whatever_lies_between() -> None:
    count = 3 * images.BATCH + 5
    contents = [encoded(i) if i % 7 else b"none" for i in range(count)]
    found = list(images.predictions(NET, (images.in_bytes(each, 1000) for each in contents)))
    assert len(found) == count
    for i, prediction in enumerate(found):
        if i % 7:
            assert isinstance(prediction, images.Prediction)
            np.testing.assert_allclose(prediction.probabilities[1], i / 255, atol=1e-6)
        else:
            assert isinstance(prediction, UnreadableError)


def test_only_a_few_batches_are_decoded_ahead() -> None:
    begun = 0

    def endless() -> Iterator[images.Decoder]:
        nonlocal begun
        while True:
            begun += 1
            yield images.in_bytes(encoded(1), 1000)

    next(images.predictions(NET, endless()))
    assert begun <= (images.AHEAD + images.DECODERS) * images.BATCH


def test_no_image_is_no_call_of_the_net() -> None:
    def never(images: np.ndarray) -> np.ndarray:
        raise AssertionError

    assert list(images.predictions(Net(("a",), 8, never), [])) == []
    (prediction,) = images.predictions(Net(("a",), 8, never), [images.in_bytes(b"", 1000)])
    assert str(prediction) == "empty file"


def test_equal_probabilities_are_in_the_order_of_the_classes() -> None:
    assert list(predict.likeliest(("x", "y", "z"), np.array([0.2, 0.4, 0.4], np.float32), 5)) == ["y", "z", "x"]
