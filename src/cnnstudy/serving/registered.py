"""The model that MLflow serves: images in, classes with their probabilities out.

A registered model is a Keras file, the names of the classes, and this package, by which MLflow loads the file.
"""

import base64
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnstudy.data import crop, familiarity
from cnnstudy.data.decode import Finder, UnreadableError
from cnnstudy.errors import UserError
from cnnstudy.serving import images, limits, net

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# The folder inside the registered model, and the files inside that folder.
FOLDER = Path("data/net")
KERAS, CLASSES, FAMILIARITY, WARNINGS = "model.keras", "classes.json", "familiarity.npz", "warnings.json"
# The only input column: an image file per row, as bytes, or in base64 in a JSON request.
COLUMN = "image"
# An image in base64 may begin as a data URL, as web pages write it.
DATA_URL = re.compile(r"data:[^,]{0,100};base64,")


class Model:
    """A net with the interface that MLflow expects."""

    def __init__(self, served: net.Net, limit: limits.Limits) -> None:
        self.net = served
        self.limits = limit

    def predict(self, table: "pd.DataFrame") -> list[dict[str, Any]]:
        """Return for each row {class: the likeliest, probabilities: {class: float}}, or {rejected: the reason}.

        A net that predicts values also returns {values: {name: float}}, or only that. A prediction also has
        unlike_training_images and trained_on_synthetic_images, where these are known.

        Raises:
            MlflowException: no row holds an image, or the request is too large; MLflow's server responds with
                status 400 or 413 and the reason.
        """
        contents = table[COLUMN].tolist()
        size = sum(len(each) for each in contents if isinstance(each, bytes | bytearray | str))
        try:
            self.limits.check(len(contents), size)
            found = list(images.predictions(self.net, (_decoder(each, self.limits.pixels) for each in contents)))
        except limits.TooLargeError as reason:
            raise _refusal(str(reason), 413) from None
        finally:
            limits.release_later()
        if contents and all(isinstance(each, UnreadableError) for each in found):
            raise _refusal("; ".join(f"image {i}: {each}" for i, each in enumerate(found)), 400)
        return [self._row(each) for each in found]

    def _row(self, answer: images.Answer) -> dict[str, Any]:
        if isinstance(answer, UnreadableError):
            return {"rejected": str(answer)}
        row: dict[str, Any] = {}
        if self.net.classes:
            probabilities = dict(zip(self.net.classes, answer.probabilities.tolist(), strict=True))
            row = {"class": self.net.classes[answer.probabilities.argmax()], "probabilities": probabilities}
        if self.net.values:
            row["values"] = dict(zip(self.net.values, answer.values.tolist(), strict=True))
        if answer.is_unlike is not None:
            row |= {"unlike_training_images": answer.is_unlike, "trained_on_synthetic_images": self.net.is_synthetic}
        return row


def _refusal(reason: str, status: int) -> Exception:
    """Return an exception to which MLflow's server responds with a status and a reason."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    class RefusedError(MlflowException):
        def get_http_status_code(self) -> int:
            return status

    return RefusedError(reason, INVALID_PARAMETER_VALUE)


def _decoder(sent: object, most: int) -> images.Decoder:
    """Return the decoder of an image as sent in a request, of at most `most` pixels."""

    def pixels(size: int, find: Finder | None) -> "np.ndarray":
        return images.in_bytes(_content(sent), most)(size, find)

    return pixels


def _content(sent: object) -> bytes:
    """Return the content of an image file that was sent as bytes or in base64."""
    if isinstance(sent, bytes | bytearray):
        return bytes(sent)
    if not isinstance(sent, str):
        raise UnreadableError("neither a file's bytes nor base64 text")
    try:
        start = found.end() if (found := DATA_URL.match(sent)) else 0
        return base64.b64decode(sent[start:].encode("ascii").translate(None, b" \t\r\n"), validate=True)
    except ValueError:
        raise UnreadableError("not base64") from None


def read_net(folder: Path) -> net.Net:
    """Read the net of a registered model; older versions lack `FAMILIARITY`, `WARNINGS` or some of its keys.

    Raises:
        UserError: a file of the model is gone.
    """
    for name in (KERAS, CLASSES):
        if not (folder / name).is_file():
            raise UserError(
                f"{FOLDER / name}: gone from the registered model; `cnnstudy promote RUN` registers it anew"
            )
    has_warnings = (folder / WARNINGS).is_file()
    warnings = json.loads((folder / WARNINGS).read_text(encoding="utf-8")) if has_warnings else {}
    classes = tuple(json.loads((folder / CLASSES).read_text(encoding="utf-8")))
    found = net.read_keras_net(folder / KERAS, classes, tuple(warnings.get("values", ())))
    if not has_warnings:
        return found
    familiar = familiarity.read(folder / FAMILIARITY) if (folder / FAMILIARITY).is_file() else None
    notices = tuple(warnings["notices"])
    found = net.calibrated(found, warnings.get("temperature", 1.0))
    margin = warnings.get("crop_margin")
    find = None if margin is None else crop.with_margin(margin)
    return replace(found, familiarity=familiar, is_synthetic=warnings["is_synthetic"], notices=notices, crop=find)


def _load_pyfunc(path: str) -> Model:
    """Load the model; MLflow calls this function by its name."""
    from cnnstudy.training import environment

    limits.keep_memory_in_one_place()
    environment.configure(os.cpu_count() or 1)
    return Model(read_net(Path(path)), limits.read_limits(os.environ))
