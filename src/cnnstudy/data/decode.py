"""From an image file to a square of pixels, or to the reason why not."""

import hashlib
import math
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cnnstudy.data.sources import Box

# Pixels; a film of 8000 x 8000 passes. The header tells the size before anything is decoded.
LARGEST = 64_000_000

# Of deep grey values, in percent: what lies outside is cut off.
TAILS = (0.1, 99.9)
# TIFF's tag of what a grey value means, and its value where 0 is white.
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0

# What cameras, scanners and the web write; others, such as EPS, would start another program to be drawn.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")


class UnreadableError(Exception):
    """Why a file is not an image that can be used, in a few words."""


@dataclass(frozen=True)
class Decoded:
    """An image at its new size, uint8 [size, size, 3], and facts of the file it came from."""

    pixels: np.ndarray
    sha256: str
    width: int
    height: int
    mode: str
    bytes: int


def read_image(path: Path, size: int, box: Box | None = None) -> Decoded:
    """Read an image file, as `read_content` does its bytes.

    Raises:
        UnreadableError: no such file, and what `read_content` raises it for.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableError(error.strerror or "unreadable") from None
    return read_content(content, size, box)


def read_content(content: bytes, size: int, box: Box | None = None) -> Decoded:
    """The first frame of an image file, upright, over black, as RGB, resized without keeping its ratio.

    `box` (left, top, right, bottom, in pixels of the upright image) is the part to take.

    Raises:
        UnreadableError: empty, no image, truncated, too large, or nothing of it in `box`.
    """
    if not content:
        raise UnreadableError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                facts = (hashlib.sha256(content).hexdigest(), *image.size, image.mode, len(content))
                if image.width * image.height > LARGEST:
                    raise UnreadableError(f"{image.width} x {image.height} pixels, more than {LARGEST}")
                return Decoded(_pixels(image, size, box), *facts)
    except UnidentifiedImageError:
        raise UnreadableError("not an image") from None
    except Image.DecompressionBombError:
        raise UnreadableError(f"more than {LARGEST} pixels") from None
    except (UnreadableError, MemoryError):
        raise
    # Pillow's decoders raise almost any error on broken files (struct.error on EXIF, RuntimeError on AVIF); each is
    # the file's fault and goes to the rejects.
    except Exception as error:
        raise UnreadableError(f"broken image: {' '.join(str(error).split()) or type(error).__name__}") from None


def read_grey(grey: bytes, size: int) -> Decoded:
    """The square grey image whose pixels are `grey`, row by row, resized, as RGB; the hash is that of the pixels."""
    side = math.isqrt(len(grey))
    image = Image.frombytes("L", (side, side), grey)
    return Decoded(_pixels(image, size, None), hashlib.sha256(grey).hexdigest(), side, side, "L", len(grey))


def _pixels(image: Image.Image, size: int, box: Box | None) -> np.ndarray:
    is_negative = _is_negative(image)
    if box is None:
        image.draft("RGB", (size, size))
    upright = ImageOps.exif_transpose(image)
    if box is not None:
        left, top, right, bottom = box
        part = (max(left, 0), max(top, 0), min(right, upright.width), min(bottom, upright.height))
        if part[2] - part[0] < 1 or part[3] - part[1] < 1:
            raise UnreadableError("its face box lies outside the image")
        upright = upright.crop(part)
    return np.asarray(_rgb(upright, is_negative).resize((size, size), Image.Resampling.LANCZOS), np.uint8)


def _rgb(image: Image.Image, is_negative: bool) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _scaled(np.asarray(image), is_negative).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layer).convert("RGB")
    return image.convert("RGB")


def _is_negative(image: Image.Image) -> bool:
    """Whether 0 is white, as TIFF says of many films; of deep grey ones Pillow leaves that to others."""
    return getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO


def _scaled(values: np.ndarray, is_negative: bool) -> Image.Image:
    """Deep grey values by their own range, since cameras fill 10, 12 or 16 bits; few broken pixels don't count."""
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
