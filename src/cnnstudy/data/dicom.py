"""Decoding of DICOM files, by pydicom where it is installed (`pip install 'cnnstudy[dicom]'`)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cnnstudy.data.kinds import UnreadableError

# The bytes that follow the first 128 bytes of a DICOM file.
MARK, AT = b"DICM", 128
# Digits of a patient's hash.
DIGITS = 16


@dataclass(frozen=True)
class Frame:
    """The first frame of a file, and a hash of its patient ('' where the file names none)."""

    image: Image.Image
    patient: str


def is_dicom(content: bytes) -> bool:
    """Return whether content is that of a DICOM file."""
    return content[AT : AT + len(MARK)] == MARK


def read_size(path: Path) -> tuple[int, int]:
    """Return the width and the height of a file's frames, from its tags.

    Raises:
        UnreadableError: pydicom is not installed, or the file has no image.
    """
    pydicom = _pydicom()
    dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
    _require_image(dataset)
    return int(dataset.Columns), int(dataset.Rows)


def read(content: bytes, check_size: Callable[[int, int], None]) -> Frame:
    """Decode the first frame: grey values by the file's own window, or colours; `check_size` may refuse the size.

    Raises:
        UnreadableError: pydicom is not installed, or can't decode the file.
    """
    pydicom = _pydicom()
    from pydicom.pixels import apply_modality_lut, apply_voi_lut, convert_color_space, pixel_array

    dataset = pydicom.dcmread(BytesIO(content))
    _require_image(dataset)
    check_size(int(dataset.Columns), int(dataset.Rows))
    try:
        values = pixel_array(dataset, index=0)
    except RuntimeError as error:  # a compression that needs another package
        if "plugin" in str(error) or "missing" in str(error):
            name = dataset.file_meta.TransferSyntaxUID.name
            raise UnreadableError(f"a DICOM file compressed as {name}; `pip install pylibjpeg[all]` reads it") from None
        raise
    patient = _patient(str(dataset.get("PatientID", "") or ""))
    if values.ndim == 3:
        colours = str(dataset.PhotometricInterpretation)
        if colours.startswith("YBR"):
            values = convert_color_space(values, colours, "RGB")
        return Frame(Image.fromarray(values.astype(np.uint8)), patient)
    windowed = np.asarray(apply_voi_lut(apply_modality_lut(values, dataset), dataset), np.float32)
    if "VOILUTSequence" in dataset:
        low, high = windowed.min(), windowed.max()
    elif "WindowCenter" in dataset:
        low, high = apply_voi_lut(np.array([-1e9, 1e9]), dataset)  # the values below and above the window
    else:  # percentiles, so that a few broken pixels don't matter
        low, high = np.percentile(windowed, (0.1, 99.9))
    grey = _scaled(windowed, float(low), float(high))
    return Frame(Image.fromarray(255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey), patient)


def _pydicom() -> Any:
    if find_spec("pydicom") is None:
        raise UnreadableError("a DICOM file; `pip install 'cnnstudy[dicom]'` to read it, or convert it to PNG")
    return import_module("pydicom")


def _require_image(dataset: Any) -> None:
    if "Rows" not in dataset or "Columns" not in dataset:
        raise UnreadableError("a DICOM file without an image")


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if not high > low:
        low, high = float(values.min()), float(values.max())
    return np.rint(np.clip((values - low) * (255 / max(high - low, 1e-9)), 0, 255)).astype(np.uint8)


def _patient(name: str) -> str:
    return f"patient {hashlib.sha256(name.encode()).hexdigest()[:DIGITS]}" if name.strip() else ""
