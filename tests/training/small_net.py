"""A small net, two classes to tell apart, and how a test trains it."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from cnnstudy.config.schema import Policy, Training
from cnnstudy.data import augment
from cnnstudy.data.samples import Dataset
from cnnstudy.models import assemble
from cnnstudy.training import loop, pipeline
from cnnstudy.training.checkpoint import Checkpoint

ADAM = Training(
    optimizer="adam", relative_update=5.0, augmentation=1.0,
    learning_rate=0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-8, schedule="constant", dropout=1.0, head_dropout=0.0,
    label_smoothing=0.0, selection="last", patience=0,
)  # fmt: skip
Make = Callable[[], keras.Model]
SCHEDULE = loop.Schedule(16, 6, "none", 1)
RECALIBRATED = dataclasses.replace(SCHEDULE, batchnorm="recalibrated")


def small(
    noise: tuple[keras.Layer, ...] | None = None, last: tuple[int, str] = (2, "softmax"), side: int = 12
) -> keras.Model:
    """A convolution with BatchNorm, ReLU and noise, a mean, and a dense layer of some units and an activation."""
    inputs = x = keras.Input((side, side, 3))
    for layer in (
        keras.layers.Conv2D(4, 3, padding="same"), keras.layers.BatchNormalization(), keras.layers.Activation("relu"),
        *((keras.layers.Dropout(0.1),) if noise is None else noise),
        keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(last[0], last[1]),
    ):  # fmt: skip
        x = layer(x)
    return keras.Model(inputs, x)


def sigmoid() -> keras.Model:
    """The net `small` with one sigmoid output."""
    return small(last=(1, "sigmoid"))


def built(
    make: Make = small, policy: str = "float32", frozen: int | str = "none", is_compiled: bool = False
) -> keras.Model:
    """The net `small` with the faster layers, and weights from a seed."""
    keras.backend.clear_session()  # layers are named by number, and the names are in the weights' file
    plain = make()
    keras.utils.set_random_seed(1)
    model = assemble.faster(plain, policy, is_compiled=is_compiled)
    assemble.freeze(model, frozen)
    return model


def bright_or_dark() -> Dataset:
    """Dark and bright noise, half of each split."""
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 60)
    images = (rng.integers(0, 120, (120, 12, 12, 3)) + 120 * labels[:, None, None, None]).astype(np.uint8)
    return Dataset(images, labels, np.repeat(["train", "val", "test"], 40), ("dark", "bright"))


def doubtful() -> Dataset:
    """The data of `bright_or_dark` with a quarter of the validation labels wrong: confidence raises the loss there."""
    dataset = bright_or_dark()
    wrong = (dataset.splits == "val") & (np.arange(len(dataset.labels)) % 8 < 2)
    return dataclasses.replace(dataset, labels=np.where(wrong, 1 - dataset.labels, dataset.labels))


def training(dataset: Dataset, level: int = 0, rotation: int = 0, **changes: float) -> pipeline.TrainingSet:
    policy = Policy(level=level, rotation=rotation, shift=0.0, flip=bool(rotation), **changes)
    splits = pd.DataFrame({"id": range(len(dataset.labels)), "split": dataset.splits})
    return pipeline.training_set(dataset, augment.make(policy, splits), "train")


def unkept() -> Checkpoint:
    """A checkpoint that is never written."""
    return Checkpoint(Path("none.npz"), math.inf)


def trained(
    dataset: Dataset,
    data: pipeline.TrainingSet,
    make: Make = small,
    checkpoint: Checkpoint | None = None,
    settings: Training = ADAM,
    policy: str = "float32",
    schedule: loop.Schedule = SCHEDULE,
) -> tuple[keras.Model, pd.DataFrame]:
    model = built(make, policy, is_compiled=schedule.is_compiled)
    schedule = dataclasses.replace(schedule, policy=policy)
    return model, loop.fit(model, data, dataset, settings, schedule, checkpoint or unkept())
