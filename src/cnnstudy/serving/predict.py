"""`cnnstudy predict`: a net's predictions for images, one line each."""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cnnstudy import trained
from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.data import crop
from cnnstudy.data.decode import UnreadableError
from cnnstudy.errors import UserError
from cnnstudy.export import litert
from cnnstudy.serving import choice, images, promote, registered
from cnnstudy.serving.net import Net, calibrated, keras_net
from cnnstudy.training import environment
from cnnstudy.workspace import paths
from cnnstudy.workspace.stage import end_with_parent
from cnnstudy.workspace.terminal import say

# Formats a line from a net, an image's name, its prediction or error, and the number of classes to name.
Writer = Callable[[Net, str, images.Answer, int], str]


def predict(arguments: argparse.Namespace) -> None:
    """Print a net's prediction for each image, in the order of the paths, as text or as a line of JSON.

    Raises:
        UserError: an argument is wrong, the net is missing, or no image can be read.
    """
    if arguments.top < 1:
        raise UserError(f"--top: {arguments.top} found; allowed: 1 or more")
    predicted = write(_net(arguments), arguments.paths, arguments.top, as_json if arguments.json else as_text)
    if not predicted:
        raise UserError(f"{' '.join(map(str, arguments.paths))}: no image that can be read")


def write(net: Net, places: Iterable[Path], top: int, line: Writer) -> int:
    """Print a net's notices, then for each image its `top` classes, or why it can't be read.

    Returns:
        The number of predictions.
    """
    for notice in net.notices:
        say(notice, sys.stderr)
    found = list(images.find(places))
    count = 0
    for (name, _), answer in zip(found, images.predictions(net, (decoder for _, decoder in found)), strict=True):
        say(line(net, name, answer, top))
        count += isinstance(answer, images.Prediction)
    return count


def likeliest(classes: tuple[str, ...], probabilities: np.ndarray, top: int) -> dict[str, float]:
    """Return the `top` likeliest classes with their probabilities, the likeliest first."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return {classes[i]: round(float(probabilities[i]), 6) for i in order}


def as_text(net: Net, name: str, answer: images.Answer, top: int) -> str:
    """Return a line such as `name: happy 0.932, surprise 0.041; valence 0.410`."""
    if isinstance(answer, UnreadableError):
        return f"{name}: rejected: {answer}"
    shown = likeliest(net.classes, answer.probabilities, top)
    unlike = " (unlike the training images)" if answer.is_unlike else ""
    numbers = dict(zip(net.values, answer.values.tolist(), strict=True))
    told = [", ".join(f"{label} {number:.3f}" for label, number in each.items()) for each in (shown, numbers) if each]
    return f"{name}: {'; '.join(told)}{unlike}"


def as_json(net: Net, name: str, answer: images.Answer, top: int) -> str:
    """Return a JSON object with path, class, probabilities, values and warnings, or with path and rejected (why).

    Of a net that predicts only classes, or only values, the others are left out.
    """
    if isinstance(answer, UnreadableError):
        return json.dumps({"path": name, "rejected": str(answer)})
    shown = likeliest(net.classes, answer.probabilities, top)
    warnings = {"unlike_training_images": answer.is_unlike, "trained_on_synthetic_images": net.is_synthetic}
    found: dict[str, object] = {"class": next(iter(shown)), "probabilities": shown} if shown else {}
    if net.values:
        found["values"] = {value: round(float(each), 6) for value, each in zip(net.values, answer.values, strict=True)}
    return json.dumps({"path": name, **found, **warnings})


def _net(arguments: argparse.Namespace) -> Net:
    params = read_params()
    if arguments.champion:
        for name in ("phase", "seed", "litert"):
            if (value := getattr(arguments, name)) is not None:
                raise UserError(f"--{name}: {value!r} found; allowed: only with --run")
        return _champion(arguments.champion, params.compute.threads)
    chosen = choice.choose(params, arguments.run, arguments.phase, arguments.seed)
    if arguments.litert:
        if chosen != choice.choose(params, chosen.run):
            raise UserError(f"--litert: {arguments.litert!r} found with another phase or seed; allowed: the defaults")
        return _exported(params, chosen, arguments.litert)
    environment.configure(params.compute.threads)
    values = params.values_of(chosen.run)
    net = keras_net(trained.load(params, chosen.run, chosen.folder), trained.classes(params, chosen.run), values)
    return _with_warnings(params, chosen, net)


def _with_warnings(params: Params, chosen: choice.Choice, net: Net) -> Net:
    """Return a training's net with calibrated probabilities, its study's crop and facts about its training images."""
    run = chosen.run
    return replace(
        calibrated(net, trained.temperature(params, run, chosen.phase, chosen.seed)),
        familiarity=trained.familiarity(params, run),
        is_synthetic=trained.is_synthetic(params, run),
        notices=trained.notices(params, run),
        crop=crop.finder(params, params.all_runs[run].study),
    )


def _exported(params: Params, chosen: choice.Choice, precision: str) -> Net:
    """Return the net of a run's LiteRT file, which needs no TensorFlow."""
    run = chosen.run
    if run not in params.exported:
        allowed = f"an exported one: {', '.join(params.exported) or 'there is none'}"
        raise UserError(f"--litert: the run {run} found; allowed: {allowed}")
    interpreted = litert.open_net(paths.lite(run, precision), values=len(params.values_of(run)))
    classes = paths.lite_labels(run).read_text(encoding="utf-8").splitlines() if interpreted.classes else []
    values = params.values_of(run)
    return _with_warnings(params, chosen, Net(tuple(classes), interpreted.side, interpreted.outputs, values))


def _champion(study: str, threads: int) -> Net:
    """Return a study's champion. MLflow and TensorFlow take seconds to import, so another process asks MLflow."""
    context = multiprocessing.get_context("spawn")
    with (
        TemporaryDirectory(prefix="cnnstudy-") as folder,
        ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool,
    ):
        fetched = pool.submit(promote.fetch_champion, study, Path(folder))
        environment.configure(threads)
        return registered.read_net(fetched.result())
