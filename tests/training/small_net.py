"""A small net, two classes to tell apart, and how a test trains it."""

import dataclasses
import math
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from cnnstudy.config.schema import Plan, Training
from cnnstudy.data import plans
from cnnstudy.data.samples import Dataset
from cnnstudy.nets import build, specs
from cnnstudy.training import loop, pipeline
from cnnstudy.training.checkpoint import Checkpoint

ADAM = Training(
    optimizer="adam", kernel_factor=5.0, augmentation=1.0,
    learning_rate=0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-8, schedule="constant", dropout=1.0,
    label_smoothing=0.0, selection="last", patience=0,
)  # fmt: skip
LAYERS = (
    specs.Conv(4, 3, bias=True), specs.BatchNorm(), specs.Relu(), specs.Dropout(0.1),
    specs.GlobalAveragePool(), specs.Dense(2, activation="softmax"),
)  # fmt: skip
SCHEDULE = loop.Schedule(16, 6, "none", 1)
RECALIBRATED = dataclasses.replace(SCHEDULE, batchnorm="recalibrated")


def bright_or_dark() -> Dataset:
    """Dark and bright noise, half of each split."""
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 60)
    images = (rng.integers(0, 120, (120, 12, 12, 3)) + 120 * labels[:, None, None, None]).astype(np.uint8)
    return Dataset(images, labels, np.repeat(["train", "val", "test"], 40), ("dark", "bright"))


def doubtful() -> Dataset:
    """The same with a quarter of the validation labels wrong, so that a net that gets surer gets worse there."""
    dataset = bright_or_dark()
    wrong = (dataset.splits == "val") & (np.arange(len(dataset.labels)) % 8 < 2)
    return dataclasses.replace(dataset, labels=np.where(wrong, 1 - dataset.labels, dataset.labels))


def training(dataset: Dataset, level: int = 0, rotation: int = 0) -> pipeline.TrainingSet:
    plan = Plan(level=level, rotation=rotation, shift=0.0, flip=bool(rotation))
    splits = pd.DataFrame({"id": range(len(dataset.labels)), "split": dataset.splits})
    return pipeline.training_set(dataset, plans.make(plan, splits), "train")


def unkept() -> Checkpoint:
    """A checkpoint that is never written."""
    return Checkpoint(Path("none.npz"), math.inf)


def trained(
    dataset: Dataset,
    data: pipeline.TrainingSet,
    layers: tuple[specs.Layer, ...] = LAYERS,
    checkpoint: Checkpoint | None = None,
    settings: Training = ADAM,
    policy: str = "float32",
    schedule: loop.Schedule = SCHEDULE,
) -> tuple[keras.Sequential, pd.DataFrame]:
    keras.backend.clear_session()  # layers are named by number, and the names are in the weights' file
    keras.utils.set_random_seed(1)
    model = build.build(layers, 12, policy)
    schedule = dataclasses.replace(schedule, policy=policy)
    return model, loop.fit(model, data, dataset, settings, schedule, checkpoint or unkept())
