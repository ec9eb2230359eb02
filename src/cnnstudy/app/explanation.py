"""A run's prediction for an image, with a Grad-CAM map."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnstudy import trained
from cnnstudy.config.schema import Params
from cnnstudy.data import crop, synth
from cnnstudy.data.decode import Finder, read_image
from cnnstudy.data.familiarity import Familiarity
from cnnstudy.data.sources import Candidate, synthetic
from cnnstudy.workspace import paths

if TYPE_CHECKING:
    import keras

# Side of the images shown, in pixels.
SHOWN = 384
# The number of synthetic images to try a study's nets with; no net was trained or evaluated on their split.
EXAMPLES = 8
SPLIT = "example"


@dataclass(frozen=True)
class LoadedNet:
    """A run's net of the last phase and first seed, for images of `side` x `side` pixels.

    `familiarity` finds images unlike the training images, None where that is unknown; `notices` are lines to be shown
    with a prediction. `crop` finds the part of an image to use; None for the whole image. `classes` is () for a net
    that predicts only `values`.
    """

    model: "keras.Model"
    classes: tuple[str, ...]
    side: int
    familiarity: Familiarity | None = None
    notices: tuple[str, ...] = ()
    temperature: float = 1.0
    crop: Finder | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExplainedPrediction:
    """The probability of each class, the values, the net's input image, and a Grad-CAM map for the likeliest class.

    The map lies over the image; without classes there is none, and `gradcam` is the image. `image` and `gradcam` are
    uint8 [SHOWN, SHOWN, 3]; `is_unlike` says whether the image is unlike the training images.
    """

    probabilities: dict[str, float]
    values: dict[str, float]
    image: np.ndarray
    gradcam: np.ndarray
    is_unlike: bool


def trained_runs(params: Params) -> list[str]:
    """Return the runs whose nets are trained."""
    return [run for run in params.all_runs if paths.weights(trained.folder(params, run)).is_file()]


def open_net(params: Params, run: str) -> LoadedNet:
    """Load a run's net. Needs TensorFlow."""
    side = params.study_of(run).image_size
    familiar, notices = trained.familiarity(params, run), trained.notices(params, run)
    temperature = trained.temperature(params, run, params.phases(run)[-1], params.seeds[0])
    find = crop.finder(params, params.all_runs[run].study)
    model, classes = trained.load(params, run), trained.classes(params, run)
    classes = classes if params.task_of(run).has_classes else ()
    return LoadedNet(model, classes, side, familiar, notices, temperature, find, params.values_of(run))


def predict(net: LoadedNet, file: Path) -> ExplainedPrediction:
    """Return a net's prediction for an image file.

    Raises:
        UnreadableError: the file is not an image, or can't be used.
    """
    import cv2

    from cnnstudy.evaluation.confidence import at_temperature
    from cnnstudy.explain import gradcam
    from cnnstudy.models.assemble import class_part, separated
    from cnnstudy.plots.gradcam import overlaid
    from cnnstudy.training.pipeline import scaled

    pixels = read_image(file, net.side, net.crop).pixels[None]
    outputs = net.model(scaled(pixels), training=False).numpy()
    probabilities, (values,) = separated(outputs, len(net.values))
    image = shown = cv2.resize(pixels[0], (SHOWN, SHOWN), interpolation=cv2.INTER_CUBIC)
    by_class: dict[str, float] = {}
    if net.classes:
        (likely,) = at_temperature(probabilities, net.temperature)
        by_class = dict(zip(net.classes, map(float, likely), strict=True))
        (heat,) = gradcam.maps(class_part(net.model), pixels, np.array([0]), np.array([likely.argmax()]))
        shown = overlaid(image, np.rint(heat * (255 / max(heat.max(), 1e-9))).astype(np.uint8))
    is_unlike = bool(net.familiarity and net.familiarity.are_unlike(pixels).item())
    by_value = dict(zip(net.values, map(float, values), strict=True))
    return ExplainedPrediction(by_class, by_value, image, shown, is_unlike)


def write_examples(params: Params, study: str, folder: Path) -> list[tuple[Path, str]]:
    """Write synthetic images of those classes that a study's generator has, and return their files and classes."""
    from PIL import Image

    settings = params.studies[study].synthetic
    if settings is None:
        return []
    generator = synth.generator(settings.generator)
    labels = [label for label in params.studies[study].classes if label in generator.CLASSES]
    names = [(label, index) for index in range(EXAMPLES) for label in labels][:EXAMPLES]
    read = synthetic.reader(params, study)
    examples = []
    for label, index in names:
        file = folder / f"{study}-{label}-{index}.png"
        Image.fromarray(read(Candidate(f"{SPLIT}/{label}/{index:05d}")).pixels).save(file)
        examples.append((file, label))
    return examples
