"""Predictions of LiteRT files, without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnstudy.errors import UserError
from cnnstudy.workspace.stage import silenced

# float32 stores and computes all numbers in float32. float16 stores weights in float16 and computes in float32 or in
# a type that the device supports. int8 stores and computes weights and activations as integers of 8 bits.
PRECISIONS = ("float32", "float16", "int8")


@dataclass(frozen=True)
class LiteRtNet:
    """An open LiteRT file, from images of `side` x `side` pixels to probabilities of `classes` classes and values.

    With `has_sigmoid` the file has one output for two classes, the probability of the second.
    """

    interpreter: Any
    side: int
    classes: int
    has_sigmoid: bool = False

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Return the predictions for images, uint8 [n, side, side, 3], one at a time: float32 [n, classes + values]."""
        assert images.shape[1:] == (self.side, self.side, 3), images.shape
        source, targets = self.interpreter.get_input_details()[0], _outputs(self.interpreter)
        found = [np.empty((len(images), target["shape"][1]), target["dtype"]) for target in targets]
        for number, image in enumerate(images):
            self.interpreter.set_tensor(source["index"], image[None].astype(source["dtype"]))
            self.interpreter.invoke()
            for target, output in zip(targets, found, strict=True):
                output[number] = self.interpreter.get_tensor(target["index"])[0]
        outputs = np.hstack([_as_numbers(*pair) for pair in zip(targets, found, strict=True)])
        if self.has_sigmoid:
            outputs = np.hstack([1 - outputs[:, :1], outputs])
        return outputs


def _outputs(interpreter: Any) -> list[dict[str, Any]]:
    """Return the details of the outputs: the classes', then the values', as the converter has numbered their names."""
    return sorted(interpreter.get_output_details(), key=lambda target: str(target["name"]))


def _as_numbers(target: dict[str, Any], output: np.ndarray) -> np.ndarray:
    scale, zero = target["quantization"]  # 0 if the output is not an integer
    return np.float32(scale) * (output.astype(np.float32) - zero) if scale else output


def open_net(path: Path, threads: int = 1, values: int = 0) -> LiteRtNet:
    """Open a LiteRT file of the stage `export`; the last `values` numbers of its outputs are values.

    Raises:
        UserError: there is no such file, or it is not a LiteRT file.
    """
    from ai_edge_litert.interpreter import Interpreter

    if not path.is_file():
        raise UserError(f"{path}: no such file; `cnnstudy repro` makes it, `dvc pull` fetches it")
    try:
        with silenced():
            interpreter = Interpreter(str(path), num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path}: not a LiteRT file: {' '.join(str(error).split())}") from None
    assert interpreter.get_input_details()[0]["quantization"] in ((0, 0), (1, 0))  # an integer input is a pixel
    side = interpreter.get_input_details()[0]["shape"][1]
    width = sum(int(target["shape"][1]) for target in _outputs(interpreter))
    has_sigmoid = width - values == 1
    return LiteRtNet(interpreter, int(side), 2 if has_sigmoid else width - values, has_sigmoid)
