"""Trainings of a run's base phase on other splits, in a folder that holds links to the study's images."""

import math
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from cnnstudy.config.schema import Params
from cnnstudy.data import augment
from cnnstudy.workspace import paths


@dataclass(frozen=True)
class Predicted:
    """Predictions for the images of test: ids and labels int64 [n], probabilities float32 [n, classes]."""

    ids: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def accuracy(self) -> float:
        """The share of correct predictions."""
        return float((self.probabilities.argmax(axis=1) == self.labels).mean())


@contextmanager
def other_splits(params: Params, study: str, splits: np.ndarray) -> Iterator[None]:
    """Work in a temporary folder in which a study's images have other splits, [N]; files are linked, not copied."""
    linked = [paths.samples(study), paths.images(study)]
    linked += [Path(run.weights) for run in params.pretrained.values() if not Path(run.weights).is_absolute()]
    with tempfile.TemporaryDirectory(prefix="cnnstudy-") as name:
        for path in dict.fromkeys(linked):  # runs may share a file
            link = Path(name, path)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.absolute())
        with chdir(name):
            table = pd.DataFrame({"id": range(len(splits)), "split": splits})
            table.to_csv(paths.splits(study), index=False)
            paths.policies(study).mkdir()
            for policy, settings in params.studies[study].policies.items():
                augment.make(settings, table).to_csv(paths.policy(study, policy), index=False)
            yield


def train(params: Params, run: str, seed: int) -> Predicted:
    """Train a run's base phase on the splits in the working directory, and predict test in the mode in use."""
    from cnnstudy.training import fit

    return fit.train_deterministically(partial(_train, params, run, seed))


def _train(params: Params, run: str, seed: int) -> Predicted:
    from cnnstudy.training import checkpoint, fit, inference

    unkept = checkpoint.Checkpoint(Path("none.npz"), math.inf)
    phase = fit.base(params, run)
    with fit.user_errors(phase):
        fitted = fit.fit_seed(params, run, phase, seed, unkept)
    ids = fitted.dataset.ids("test")
    found = inference.predict_one_split(fitted.model, fitted.dataset, fitted.data, "test", fitted.schedule)
    return Predicted(ids, fitted.dataset.labels[ids], found)
