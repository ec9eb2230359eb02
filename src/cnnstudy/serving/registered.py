"""The model that MLflow serves: pictures in, classes with their probabilities out.

What is registered is a Keras file, the names of its classes, and this package, by which MLflow loads it.
"""

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnstudy.data.decode import UnreadableError
from cnnstudy.serving import net, pictures

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# In the folder of the registered model, and in there.
FOLDER = Path("data/net")
KERAS, CLASSES = "model.keras", "classes.json"
# The one column of the input: each a picture's file, as bytes, or in base64 where it comes as JSON.
COLUMN = "image"


class Model:
    """A net as MLflow calls it."""

    def __init__(self, its: net.Net) -> None:
        self.net = its

    def predict(self, table: "pd.DataFrame") -> list[dict[str, Any]]:
        """For each row {class: the likeliest, probabilities: {class: float}}.

        Raises:
            MlflowException: some of it is no picture; MLflow's server answers with status 400 and the reason.
        """
        contents = table[COLUMN].tolist()
        allowed = "the bytes of a file, or these in base64"
        refused = [f"picture {i}: no {allowed}" for i, it in enumerate(contents) if not isinstance(it, bytes | str)]
        found: list[np.ndarray | UnreadableError] = []
        if not refused:
            found = list(pictures.answers(self.net, (pictures.in_bytes(_decoded(each)) for each in contents)))
            refused = [f"picture {i}: {each}" for i, each in enumerate(found) if isinstance(each, UnreadableError)]
        if refused:
            from mlflow.exceptions import MlflowException

            raise MlflowException.invalid_parameter_value("; ".join(refused))
        return [
            {
                "class": self.net.classes[each.argmax()],
                "probabilities": dict(zip(self.net.classes, each.tolist(), strict=True)),
            }
            for each in found
            if not isinstance(each, UnreadableError)
        ]


def _decoded(content: bytes | str) -> bytes:
    """A picture's file: MLflow decodes base64 in `dataframe_split` and `dataframe_records`, not in `inputs`."""
    whole = content.encode() if isinstance(content, str) else content
    try:
        return base64.b64decode(whole.translate(None, b" \t\r\n"), validate=True)
    except ValueError:  # a picture's file, which has bytes that base64 has not
        return whole


def read_net(folder: Path) -> net.Net:
    """The net in a folder with `KERAS` and `CLASSES`."""
    return net.read_keras_net(folder / KERAS, tuple(json.loads((folder / CLASSES).read_text(encoding="utf-8"))))


def _load_pyfunc(path: str) -> Model:
    """What MLflow calls to load the model."""
    from cnnstudy.training import environment

    environment.configure(os.cpu_count() or 1)
    return Model(read_net(Path(path)))
