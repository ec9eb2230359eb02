"""Train a net."""

from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd

from cnnstudy.data.samples import Dataset
from cnnstudy.errors import UserError
from cnnstudy.params import ClassWeight, Training
from cnnstudy.training.pipeline import TrainingSet, labelled_batches, training_batches

VALIDATION_BATCH = 100
COLUMNS = ("accuracy", "loss", "val_accuracy", "val_loss")


@dataclass(frozen=True)
class Schedule:
    """How long, in what portions and with which class weights a phase trains; its order's and augmentation's seed."""

    batch_size: int
    epochs: int
    class_weight: ClassWeight
    seed: int


def fit(
    model: keras.Sequential, data: TrainingSet, dataset: Dataset, settings: Training, schedule: Schedule
) -> pd.DataFrame:
    """Train in place on `data` with a fresh Adam, following the split `val` of `dataset`.

    Returns:
        One row an epoch: epoch, accuracy, loss, val_accuracy, val_loss.

    Raises:
        UserError: the loss is no longer a number.
    """
    # The compiled twin shares the layers, so that the weights can be saved without the optimizer's.
    twin = keras.Sequential(model.layers)
    twin.compile(
        keras.optimizers.Adam(**settings.model_dump()),
        loss="binary_crossentropy" if model.output_shape[-1] == 1 else "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    weights = balanced_weights(data.labels) if schedule.class_weight == "balanced" else None
    validation = labelled_batches(dataset, "val", VALIDATION_BATCH)
    rows = []
    for epoch in range(schedule.epochs):
        logs = twin.fit(
            training_batches(data, schedule.batch_size, schedule.seed, epoch),
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=validation,
            class_weight=weights,
            shuffle=False,
            verbose=0,
        ).history
        rows.append({"epoch": epoch + 1, **{name: logs[name][0] for name in COLUMNS}})
        shown = ", ".join(f"{name} {logs[name][0]:.3f}" for name in COLUMNS)
        print(f"epoch {epoch + 1}/{schedule.epochs}: {shown}", flush=True)
        if not np.isfinite(logs["loss"][0]):
            rate = settings.learning_rate
            raise UserError(f"params.yaml: training.learning_rate: {rate} made the loss NaN; allowed: a smaller rate")
    return pd.DataFrame(rows)


def balanced_weights(labels: np.ndarray) -> dict[int, float]:
    """A weight a class, images / (classes * images of the class), so that every class weighs the same in the loss."""
    classes, counts = np.unique(labels, return_counts=True)
    weights = len(labels) / (len(classes) * counts)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))
