"""`cnnstudy predict`: what a net says of pictures, a line each."""

import argparse
import json
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cnnstudy import trained
from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params, StudyName
from cnnstudy.data.decode import UnreadableError
from cnnstudy.errors import UserError
from cnnstudy.export import litert
from cnnstudy.serving import choice, pictures, promote, registered
from cnnstudy.serving.net import Net, keras_net
from cnnstudy.training import environment
from cnnstudy.workspace import paths
from cnnstudy.workspace.stage import end_with_parent

# Gives a line of a picture's name, and the classes with their probabilities or the reason why there are none.
Writer = Callable[[str, dict[str, float] | UnreadableError], str]


def predict(arguments: argparse.Namespace) -> None:
    """Print what a net says of each picture, in the order of the paths, as text or as a line of JSON.

    Raises:
        UserError: a wrong argument, a net that is not there, or no picture that can be read.
    """
    if arguments.top < 1:
        raise UserError(f"--top: {arguments.top} found; allowed: 1 or more")
    answered = write(_net(arguments), arguments.paths, arguments.top, as_json if arguments.json else as_text)
    if not answered:
        raise UserError(f"{' '.join(map(str, arguments.paths))}: no picture that can be read")


def write(net: Net, places: Iterable[Path], top: int, line: Writer) -> int:
    """Print the `top` classes of each picture, or why there are none; returns how many were answered."""
    found = list(pictures.find(places))
    answered = 0
    for (name, _), answer in zip(found, pictures.answers(net, (picture for _, picture in found)), strict=True):
        said = answer if isinstance(answer, UnreadableError) else likeliest(net.classes, answer, top)
        answered += not isinstance(said, UnreadableError)
        print(line(name, said), flush=True)
    return answered


def likeliest(classes: tuple[str, ...], probabilities: np.ndarray, top: int) -> dict[str, float]:
    """The `top` likeliest classes with their probabilities, the likeliest first."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return {classes[i]: round(float(probabilities[i]), 6) for i in order}


def as_text(name: str, said: dict[str, float] | UnreadableError) -> str:
    """`name: happy 0.932, surprise 0.041`."""
    if isinstance(said, UnreadableError):
        return f"{name}: rejected: {said}"
    return f"{name}: {', '.join(f'{label} {probability:.3f}' for label, probability in said.items())}"


def as_json(name: str, said: dict[str, float] | UnreadableError) -> str:
    """`{"path": name, "class": the likeliest, "probabilities": {class: float}}`, or with `rejected`, the reason."""
    if isinstance(said, UnreadableError):
        return json.dumps({"path": name, "rejected": str(said)})
    return json.dumps({"path": name, "class": next(iter(said)), "probabilities": said})


def _net(arguments: argparse.Namespace) -> Net:
    params = read_params()
    if arguments.champion:
        for name in ("phase", "seed", "litert"):
            if (value := getattr(arguments, name)) is not None:
                raise UserError(f"--{name}: {value!r} found; allowed: beside --run only")
        return _champion(arguments.champion, params.compute.threads)
    its = choice.choose(params, arguments.run, arguments.phase, arguments.seed)
    if arguments.litert:
        if its != choice.choose(params, its.run):
            raise UserError(
                f"--litert: {arguments.litert!r} found beside another phase or seed; allowed: the run's own"
            )
        return _for_phones(params, its.run, arguments.litert)
    environment.configure(params.compute.threads)
    return keras_net(trained.load(params, its.run, its.folder), trained.classes(params, its.run))


def _for_phones(params: Params, run: str, precision: str) -> Net:
    """A run's LiteRT file, which needs no TensorFlow."""
    if run not in params.finetuned:
        allowed = f"one with a net for phones: {', '.join(params.finetuned)}"
        raise UserError(f"--litert: the run {run} found; allowed: {allowed}")
    found = litert.open_net(paths.lite(run, precision))
    classes = paths.lite_labels(run).read_text(encoding="utf-8").splitlines()
    return Net(tuple(classes), found.side, found.probabilities)


def _champion(study: StudyName, threads: int) -> Net:
    """MLflow and TensorFlow take seconds each to be imported, so another process asks MLflow meanwhile."""
    context = multiprocessing.get_context("spawn")
    with (
        TemporaryDirectory(prefix="cnnstudy-") as folder,
        ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool,
    ):
        fetched = pool.submit(promote.fetch_champion, study, Path(folder))
        environment.configure(threads)
        return registered.read_net(fetched.result())
