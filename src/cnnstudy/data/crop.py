"""The square around the largest face in a photograph, by MTCNN where it is installed (`pip install 'cnnstudy[crop]'`).

MTCNN: Zhang et al. 2016, doi 10.1109/LSP.2016.2603342.
"""

from functools import cache, partial
from importlib.util import find_spec
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from cnnstudy.config.schema import Params
from cnnstudy.data.decode import Finder
from cnnstudy.data.kinds import UnreadableError
from cnnstudy.data.sources import Box
from cnnstudy.errors import UserError
from cnnstudy.workspace.stage import silenced

PACKAGE = "mtcnn"
# The longer side of an image in which a face is searched; larger images are reduced first.
LONGEST = 1024
# Detections below this confidence are ignored: 0.95 leaves out a temple taken for a face, at 0.80.
CONFIDENCE = 0.95
# The smallest side of an image in which a face is searched.
SMALLEST = 24


def finder(params: Params, name: str) -> Finder | None:
    """Return the function that finds the part of an image to use, or None where a study uses whole images.

    Raises:
        UserError: the detector is not installed.
    """
    study = params.studies[name]
    if study.crop is None:
        return None
    if not find_spec(PACKAGE):
        key = f"studies.{params.owner(name)}.crop"
        raise UserError(
            f"params.yaml: {key}: {study.crop!r} found, but {PACKAGE} is not installed; allowed: null, "
            "or `pip install 'cnnstudy[crop]'`"
        )
    return with_margin(study.crop_margin)


def with_margin(margin: float) -> Finder:
    """Return a function from an image to the square around its largest face; `margin` is a share of the face's side."""
    return partial(_face_box, margin=margin)


def _face_box(image: Image.Image, margin: float) -> Box:
    """Return the square (left, top, right, bottom) around the largest face, moved or reduced to fit the image.

    Raises:
        UnreadableError: no face is found.
    """
    scale = min(1.0, LONGEST / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    found = []
    if min(width, height) >= SMALLEST:
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR) if scale < 1 else image)
        with _one_at_a_time:
            found = _detector().detect_faces(pixels)
    boxes = [each["box"] for each in found if each["confidence"] >= CONFIDENCE]
    if not boxes:
        raise UnreadableError("no face found")
    left, top, box_width, box_height = max(boxes, key=lambda box: (box[2] * box[3], *box))
    side = min((1 + margin) * max(box_width, box_height) / scale, *image.size)
    corner = [
        min(max((start + length / 2) / scale - side / 2, 0), whole - side)
        for start, length, whole in ((left, box_width, image.width), (top, box_height, image.height))
    ]
    return (*corner, corner[0] + side, corner[1] + side)


# The detector keeps state while it looks at an image.
_one_at_a_time = Lock()


@cache
def _detector() -> Any:
    with silenced():  # as TensorFlow is imported
        from mtcnn import MTCNN

    # On a CPU everywhere, so that a face is found in the same place with and without a GPU.
    return MTCNN(device="CPU:0")
