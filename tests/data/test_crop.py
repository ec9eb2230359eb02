"""The largest face of a photograph is what a study with `crop: face` uses, in ingest and in prediction."""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from built import params as built_params
from PIL import Image
from sklearn.datasets import load_sample_image

from cnnstudy.config.schema import Params
from cnnstudy.data import crop, ingest
from cnnstudy.data.decode import UnreadableError, read_content, read_image
from cnnstudy.errors import UserError

# Where the nose is in the portrait that comes with matplotlib, in pixels.
NOSE = (262, 220)


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    pytest.importorskip("mtcnn")
    with Image.open(Path(matplotlib.get_data_path(), "sample_data/grace_hopper.jpg")) as image:
        return image.convert("RGB")


def with_crop(params: Params, margin: float = 0.0) -> Params:
    changed = {"crop": "face", "crop_margin": margin}
    studies = {name: study.model_copy(update=changed) for name, study in params.studies.items()}
    return params.model_copy(update={"studies": studies})


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_the_crop_is_a_square_around_the_face_inside_the_image(portrait: Image.Image, margin: float) -> None:
    left, top, right, bottom = crop.with_margin(margin)(portrait)
    assert right - left == pytest.approx(bottom - top)
    assert 0 <= left < right <= portrait.width
    assert 0 <= top < bottom <= portrait.height
    assert abs((left + right) / 2 - NOSE[0]) < 20
    assert abs((top + bottom) / 2 - NOSE[1]) < 20
    plain = crop.with_margin(0.0)(portrait)
    assert right - left == pytest.approx((1 + margin) * (plain[2] - plain[0]))


def test_a_margin_wider_than_the_image_gives_its_largest_square(portrait: Image.Image) -> None:
    left, top, right, bottom = crop.with_margin(4.0)(portrait)
    assert (left, right) == (0, portrait.width)
    assert bottom - top == portrait.width


def test_the_largest_of_several_faces_is_used_at_any_size_of_the_image(portrait: Image.Image) -> None:
    scene = Image.new("RGB", (2400, 1300), (90, 90, 90))
    scene.paste(portrait.resize((portrait.width // 2, portrait.height // 2)), (100, 100))
    scene.paste(portrait.resize((2 * portrait.width, 2 * portrait.height)), (1300, 50))
    left, top, right, bottom = crop.with_margin(0.0)(scene)
    assert abs((left + right) / 2 - (1300 + 2 * NOSE[0])) < 40
    assert abs((top + bottom) / 2 - (50 + 2 * NOSE[1])) < 40


@pytest.mark.parametrize("side", [1, 12, 200])
def test_an_image_without_a_face_is_unreadable(side: int, portrait: Image.Image) -> None:
    with pytest.raises(UnreadableError, match="no face found"):
        crop.with_margin(0.0)(Image.new("RGB", (side, side), (120, 130, 140)))


def test_ingest_rejects_photographs_without_a_face(portrait: Image.Image, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs/happy"
    photographs.mkdir(parents=True)
    portrait.save(photographs / "portrait.png")
    temple = Image.fromarray(load_sample_image("china.jpg"))
    temple.save(photographs / "temple.png")
    beside = temple.copy()
    beside.paste(portrait.resize((portrait.width // 2, portrait.height // 2)), (20, 60))
    beside.save(photographs / "beside.png")
    params = with_crop(built_params())
    study = next(iter(params.studies))
    at = {"format": "folders", "path": str(tmp_path / "photographs")}
    source = params.studies[study].source.model_copy(update=at)
    params.studies[study].classes.update({"happy": []})
    settings = params.studies[study].model_copy(update={"source": source})
    params = params.model_copy(update={"studies": {study: settings}})
    found = ingest.find(params, study)
    tables = ingest.write(found, "folders", 32, tmp_path / "images.npy")
    assert list(tables.samples["path"]) == ["happy/beside.png", "happy/portrait.png"]
    assert tables.rejects.values.tolist() == [["happy/temple.png", "no face found"]]
    beside_face, face = np.load(tmp_path / "images.npy").astype(int)
    expected = read_image(photographs / "portrait.png", 32, crop.with_margin(0.0)).pixels
    assert (face == expected).all()
    # The same face, found in another photograph at half the size.
    assert np.abs(beside_face - face).mean() < 25


def test_without_the_detector_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    params = with_crop(built_params())
    study = next(iter(params.studies))
    monkeypatch.setitem(sys.modules, "mtcnn", None)
    with pytest.raises(UserError, match=rf"studies.{study}.crop: 'face' found, but mtcnn is not installed; .*\[crop\]"):
        crop.finder(params, study)
    assert crop.finder(built_params(), study) is None


def test_a_part_that_is_found_is_cut_from_the_upright_image(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    image.paste((255, 0, 0), (30, 0, 40, 10))
    rotated = tmp_path / "rotated.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    image.save(rotated, exif=exif)
    sizes = []

    def right_half(upright: Image.Image) -> tuple[float, float, float, float]:
        sizes.append(upright.size)
        return (10, 30, 20, 40)

    assert read_content(rotated.read_bytes(), 4, right_half).pixels[..., 0].min() == 255
    assert sizes == [(20, 40)]
