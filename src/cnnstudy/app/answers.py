"""What a run's net says about a picture, and where it looks."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnstudy import trained
from cnnstudy.config.schema import Params, StudyName
from cnnstudy.data import synth
from cnnstudy.data.decode import read_image
from cnnstudy.data.sources import Candidate, drawn
from cnnstudy.workspace import paths

if TYPE_CHECKING:
    import keras

# Side of the pictures shown, in pixels.
SHOWN = 384
# Drawn pictures to try a study's nets with; their split is one that no net was trained or measured on.
EXAMPLES = 8
SPLIT = "example"


@dataclass(frozen=True)
class Net:
    """A run's net of the last phase and first seed, for pictures of `side` x `side` pixels."""

    model: "keras.Sequential"
    classes: tuple[str, ...]
    side: int


@dataclass(frozen=True)
class Answer:
    """The probability of each class; the picture as the net got it, and grey with what speaks for the likeliest class.

    Both pictures are uint8 [SHOWN, SHOWN, 3].
    """

    probabilities: dict[str, float]
    picture: np.ndarray
    looks: np.ndarray


def trained_runs(params: Params) -> list[str]:
    """The runs that have a net."""
    return [run for run in params.runs if paths.weights(trained.folder(params, run)).is_file()]


def open_net(params: Params, run: str) -> Net:
    """A run's net. Needs TensorFlow."""
    return Net(trained.load(params, run), trained.classes(params, run), params.study(params.runs[run].study).image_size)


def answer(net: Net, file: Path) -> Answer:
    """What a net says about an image file.

    Raises:
        UnreadableError: why it is no image that can be used.
    """
    import cv2

    from cnnstudy.evaluation.attention import overlaid
    from cnnstudy.nets.build import class_probabilities
    from cnnstudy.training import gradcam
    from cnnstudy.training.pipeline import scaled

    pixels = read_image(file, net.side).pixels[None]
    (probabilities,) = class_probabilities(net.model(scaled(pixels), training=False).numpy())
    (found,) = gradcam.maps(net.model, pixels, np.array([0]), np.array([probabilities.argmax()]))
    heat = np.rint(found * (255 / max(found.max(), 1e-9))).astype(np.uint8)
    picture = cv2.resize(pixels[0], (SHOWN, SHOWN), interpolation=cv2.INTER_CUBIC)
    by_class = dict(zip(net.classes, map(float, probabilities), strict=True))
    return Answer(by_class, picture, overlaid(picture, heat))


def write_examples(params: Params, study: StudyName, folder: Path) -> list[tuple[Path, str]]:
    """Draw pictures of a study's classes, as far as they can be drawn, as PNG files: each with its class."""
    from PIL import Image

    known = synth.FACES if study == "faces" else synth.FILMS
    labels = [label for label in params.study(study).classes if label in known]
    names = [(label, index) for index in range(EXAMPLES) for label in labels][:EXAMPLES]
    read = drawn.reader(params, study)
    found = []
    for label, index in names:
        file = folder / f"{study}-{label}-{index}.png"
        Image.fromarray(read(Candidate(f"{SPLIT}/{label}/{index:05d}")).pixels).save(file)
        found.append((file, label))
    return found
