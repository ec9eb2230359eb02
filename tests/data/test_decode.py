"""Image files as they come: each ends as a correct image or with a reason."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnstudy.data import decode

RED = Image.new("RGB", (20, 10), (200, 40, 30))


def read(tmp_path: Path, name: str, content: bytes) -> decode.Decoded:
    (tmp_path / name).write_bytes(content)
    return decode.read_image(tmp_path / name, 8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.png", encoded(RED, "PNG")),
        ("a png named.jpg", encoded(RED, "PNG")),
        ("größe #1.png", encoded(RED, "PNG")),
        ("palette.png", encoded(RED.convert("P", palette=Image.Palette.ADAPTIVE), "PNG")),
        ("cmyk.jpg", encoded(RED.convert("CMYK"), "JPEG", quality=95)),
        ("rgba.png", encoded(RED.convert("RGBA"), "PNG")),
        ("animation.gif", encoded(RED, "GIF", save_all=True, append_images=[Image.new("RGB", (20, 10))])),
        ("pages.tiff", encoded(RED, "TIFF", save_all=True, append_images=[Image.new("RGB", (20, 10))])),
    ],
)
def test_every_kind_of_file_becomes_the_same_red(tmp_path: Path, name: str, content: bytes) -> None:
    decoded = read(tmp_path, name, content)
    assert decoded.pixels.shape == (8, 8, 3)
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.width, decoded.height, decoded.bytes) == (20, 10, len(content))
    np.testing.assert_allclose(decoded.pixels.reshape(-1, 3), np.tile([200, 40, 30], (64, 1)), atol=6)


def test_deep_grey_is_scaled_by_its_range(tmp_path: Path) -> None:
    values = np.tile(np.linspace(1000, 5000, 16).astype(np.uint16), (16, 1))
    pixels = read(tmp_path, "deep.png", encoded(Image.fromarray(values), "PNG")).pixels
    assert pixels[0, 0, 0] < 20
    assert pixels[0, -1, 0] > 235


def test_one_broken_pixel_leaves_a_deep_film_as_bright_as_it_is(tmp_path: Path) -> None:
    values = np.tile(np.linspace(0, 4095, 64).astype(np.uint16), (64, 1))
    values[3, 5] = 65535
    pixels = read(tmp_path, "xray.png", encoded(Image.fromarray(values), "PNG")).pixels
    assert pixels[0, -1, 0] > 230


def test_a_deep_film_whose_0_is_white_is_no_negative(tmp_path: Path) -> None:
    values = np.tile(np.linspace(0, 4095, 16).astype(np.uint16), (16, 1))
    content = encoded(Image.fromarray(values), "TIFF")
    black_is_zero, white_is_zero = (struct.pack("<HHIH", 262, 3, 1, what) for what in (1, 0))
    assert content.count(black_is_zero) == 1
    pixels = read(tmp_path, "xray.tiff", content.replace(black_is_zero, white_is_zero)).pixels
    assert pixels[0, 0, 0] > 235
    assert pixels[0, -1, 0] < 20


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    for mode, colour in (("RGBA", (255, 255, 255, 0)), ("LA", (255, 0))):
        image = Image.new(mode, (8, 8), colour)
        assert read(tmp_path, f"{mode}.png", encoded(image, "PNG")).pixels.max() == 0


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16))
    image.paste((255, 255, 255), (0, 0, 16, 8))  # white above black
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise by 90 degrees: white on the right
    pixels = read(tmp_path, "turned.jpg", encoded(image, "JPEG", exif=exif)).pixels
    assert pixels[:, :3].max() < 40
    assert pixels[:, -3:].min() > 215


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"<html><body>404</body></html>", "not an image"),
        (encoded(RED.resize((200, 200)), "JPEG")[:400], "broken image"),
        (encoded(RED.resize((200, 200)), "PNG")[:200], "broken image"),
        (encoded(Image.new("1", (9000, 9000)), "PNG"), "9000 x 9000 pixels"),
        (encoded(RED, "EPS"), "not an image"),
        (encoded(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"), "pixels that are not numbers"),
    ],
)
def test_what_is_no_image_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(decode.UnreadableError, match=reason):
        read(tmp_path, "broken.jpg", content)


def test_an_absent_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(decode.UnreadableError, match="No such file"):
        decode.read_image(tmp_path / "absent.png", 8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "BMP"])
def test_any_damage_ends_as_an_image_or_with_a_reason(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    options = {"exif": exif} if kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF") else {}
    content = np.frombuffer(encoded(image, kind, **options), np.uint8)
    reasons = []
    for _ in range(120):
        damaged = content.copy()
        places = rng.integers(0, min(len(content), 300), 5)
        damaged[places] = rng.integers(0, 256, 5)
        try:
            assert read(tmp_path, "damaged", damaged.tobytes()).pixels.shape == (8, 8, 3)
        except decode.UnreadableError as error:
            reasons.append(str(error))
    assert reasons
    assert all(reason and "\n" not in reason for reason in reasons)


def test_a_box_is_cut_out_before_resizing(tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:50] = (255, 0, 0)
    Image.fromarray(image).save(tmp_path / "face.png")
    pixels = decode.read_image(tmp_path / "face.png", 8, (30.0, 10.0, 50.0, 20.0)).pixels
    assert (pixels == (255, 0, 0)).all()
    partly = decode.read_image(tmp_path / "face.png", 8, (30.0, 10.0, 900.0, 20.0)).pixels
    assert partly[:, :4, 0].min() > 200
    assert partly[:, -1].max() < 50
    with pytest.raises(decode.UnreadableError, match="face box lies outside the image"):
        decode.read_image(tmp_path / "face.png", 8, (70.0, 10.0, 90.0, 20.0))


def test_a_large_jpeg_is_cut_at_its_full_size(tmp_path: Path) -> None:
    image = np.zeros((800, 800, 3), np.uint8)
    image[600:, 600:] = 255
    Image.fromarray(image).save(tmp_path / "large.jpg")
    assert decode.read_image(tmp_path / "large.jpg", 16, (640.0, 640.0, 800.0, 800.0)).pixels.min() > 200


def test_grey_pixels_are_an_image() -> None:
    decoded = decode.read_grey(bytes([0, 0, 255, 255]), 2)
    assert decoded.pixels[..., 0].tolist() == [[0, 0], [255, 255]]
    assert (decoded.width, decoded.height, decoded.mode, decoded.bytes) == (2, 2, "L", 4)
