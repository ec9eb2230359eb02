"""Decoding of image files to square images, with a reason where a file can't be read."""

import hashlib
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cnnstudy.data import dicom, kinds
from cnnstudy.data.kinds import UnreadableError
from cnnstudy.data.sources import Box

# The most pixels of an image: enough for 8000 x 8000. The header tells the size before anything is decoded.
LARGEST = 64_000_000

# The default limit on a file's bytes: more than an image of `LARGEST` pixels takes.
LARGEST_FILE = 1 << 28

# Percentiles of deep grey values; values outside are clipped.
TAILS = (0.1, 99.9)
# TIFF's tag for the meaning of grey values (PhotometricInterpretation), and its value where 0 is white.
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0

# Formats of cameras, scanners and the web; rendering others, such as EPS, would start another program.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")


# A function from an upright RGB image to the part to crop; it may raise UnreadableError.
Finder = Callable[[Image.Image], Box]


@dataclass(frozen=True)
class Decoded:
    """An image at its new size, uint8 [size, size, 3], and properties of its file.

    `group` is the patient, where the file itself names one.
    """

    pixels: np.ndarray
    sha256: str
    width: int
    height: int
    mode: str
    bytes: int
    group: str = ""


def read_image(path: Path, size: int, crop: Box | Finder | None = None, most: int = LARGEST_FILE) -> Decoded:
    """Read and decode an image file of at most `most` bytes, as `read_content` does.

    Raises:
        UnreadableError: the file is missing or larger, or `read_content` refuses its content.
    """
    try:
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            content = file.read(length) if length <= most else b""
    except OSError as error:
        raise UnreadableError(error.strerror or "unreadable") from None
    if length > most:
        raise UnreadableError(f"{length} bytes, more than {most}")
    return read_content(content, size, crop)


def read_size(path: Path) -> tuple[int, int]:
    """Return the width and the height of an image file, from its header.

    Raises:
        UnreadableError: the file is missing, not an image, or too large.
    """
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            if dicom.is_dicom(file.read(dicom.AT + len(dicom.MARK))):
                width, height = dicom.read_size(path)
            else:
                file.seek(0)
                with Image.open(file, formats=FORMATS) as image:
                    width, height = image.size
    except UnidentifiedImageError:
        raise UnreadableError("not an image") from None
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # as in read_content
        raise UnreadableError(f"broken image: {' '.join(str(error).split()) or type(error).__name__}") from None
    _refuse_large(width, height)
    return width, height


def read_content(content: bytes, size: int, crop: Box | Finder | None = None) -> Decoded:
    """Decode the first frame of an image file: upright, over black, as RGB, resized without keeping the aspect ratio.

    `crop` is the part to use (left, top, right, bottom, in pixels of the upright image), or a function that finds it.

    Raises:
        UnreadableError: the file is empty, not an image, truncated or too large, or the part to use is not found or
            lies outside the image.
    """
    if not content:
        raise UnreadableError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if dicom.is_dicom(content):
                return _read_dicom(content, size, crop)
            with _opened(content) as image:
                facts = (hashlib.sha256(content).hexdigest(), *image.size, image.mode, len(content))
                _refuse_large(image.width, image.height)
                return Decoded(_pixels(image, size, crop), *facts)
    except UnidentifiedImageError:
        raise UnreadableError(kinds.kind_of(content) or "not an image") from None
    except Image.DecompressionBombError:
        raise UnreadableError(f"more than {LARGEST} pixels") from None
    except (UnreadableError, MemoryError):
        raise
    # Pillow's decoders raise almost any error on broken files (struct.error on EXIF, RuntimeError on AVIF); such files
    # go to the rejects.
    except Exception as error:
        raise UnreadableError(f"broken image: {' '.join(str(error).split()) or type(error).__name__}") from None


def _opened(content: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(content), formats=FORMATS)
    except ValueError:  # a text chunk of a PNG, such as an editor's history, is longer than Pillow allows
        without = kinds.without_texts(content)
        if without == content:
            raise
        return Image.open(BytesIO(without), formats=FORMATS)


def _refuse_large(width: int, height: int) -> None:
    if width * height > LARGEST:
        raise UnreadableError(f"{width} x {height} pixels, more than {LARGEST}")


def _read_dicom(content: bytes, size: int, crop: Box | Finder | None) -> Decoded:
    """Decode the first frame of a DICOM file; the patient's hash is the group, and no other tag is kept."""
    frame = dicom.read(content, _refuse_large)
    facts = (hashlib.sha256(content).hexdigest(), *frame.image.size, frame.image.mode, len(content))
    return Decoded(_pixels(frame.image, size, crop), *facts, group=frame.patient)


def read_grey(grey: bytes, size: int) -> Decoded:
    """Decode a square grey image from its pixels, row by row: resized, as RGB, with a hash of the pixels."""
    side = math.isqrt(len(grey))
    image = Image.frombytes("L", (side, side), grey)
    return Decoded(_pixels(image, size, None), hashlib.sha256(grey).hexdigest(), side, side, "L", len(grey))


def _pixels(image: Image.Image, size: int, crop: Box | Finder | None) -> np.ndarray:
    is_negative = _is_negative(image)
    if crop is None:
        image.draft("RGB", (size, size))
    # Computed in place, because a copy of a large image takes hundreds of megabytes.
    ImageOps.exif_transpose(image, in_place=True)
    upright = image
    if crop is not None:
        left, top, right, bottom = crop(_rgb(upright, is_negative)) if callable(crop) else crop
        part = (max(left, 0), max(top, 0), min(right, upright.width), min(bottom, upright.height))
        if part[2] - part[0] < 1 or part[3] - part[1] < 1:
            raise UnreadableError("the face box lies outside the image")
        upright = upright.crop(part)
    return np.asarray(_rgb(upright, is_negative).resize((size, size), Image.Resampling.LANCZOS), np.uint8)


def _rgb(image: Image.Image, is_negative: bool) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _scaled(np.asarray(image), is_negative).convert("RGB")
    if image.has_transparency_data:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_negative(image: Image.Image) -> bool:
    """Return whether 0 is white, as in many X-rays in TIFF files; Pillow does not invert deep grey values."""
    return getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO


def _scaled(values: np.ndarray, is_negative: bool) -> Image.Image:
    """Scale deep grey values by their own range, since cameras fill 10, 12 or 16 bits; broken pixels are ignored."""
    if not np.isfinite(values).all():
        raise UnreadableError("pixels that are not numbers")
    low, high = np.percentile(values, TAILS)
    if high == low:
        low, high = values.min(), values.max()
    grey = values.astype(np.float32)
    grey -= np.float32(low)
    grey *= np.float32(255 / max(float(high) - float(low), 1e-9))
    np.clip(np.rint(grey, out=grey), 0, 255, out=grey)
    return Image.fromarray(255 - grey.astype(np.uint8) if is_negative else grey.astype(np.uint8))
