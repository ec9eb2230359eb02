"""Train a net."""

from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd

from cnnstudy.data.samples import Dataset
from cnnstudy.params import ClassWeight, Training
from cnnstudy.training import precision
from cnnstudy.training.checkpoint import Checkpoint
from cnnstudy.training.pipeline import TrainingSet, labelled_batches, training_batches

VALIDATION_BATCH = 100
# Of a cosine schedule: the share of the steps in which the rate rises, and what it starts from, as a share of its peak.
WARM_UP, WARM_START = 0.1, 0.05
COLUMNS = ("accuracy", "loss", "val_accuracy", "val_loss")


@dataclass(frozen=True)
class Schedule:
    """How long, in what portions and with which class weights a phase trains; its order's and augmentation's seed.

    `policy` is the Keras policy that the model was built under.
    """

    batch_size: int
    epochs: int
    class_weight: ClassWeight
    seed: int
    policy: str = "float32"


def fit(
    model: keras.Sequential,
    data: TrainingSet,
    dataset: Dataset,
    settings: Training,
    schedule: Schedule,
    checkpoint: Checkpoint,
) -> pd.DataFrame:
    """Train in place on `data`, with a fresh Adam or from what `checkpoint` holds, following the split `val`.

    Returns:
        One row an epoch: epoch, accuracy, loss, val_accuracy, val_loss.

    Raises:
        FloatingPointError: the loss is no longer a number.
    """
    # The compiled twin shares the layers, so that the weights can be saved without the optimizer's.
    twin, accuracy = keras.Sequential(model.layers), _accuracy(model)
    steps = schedule.epochs * -(-len(data) // schedule.batch_size)
    twin.compile(
        precision.scaled(_adam(settings, steps), schedule.policy),
        loss="binary_crossentropy" if model.output_shape[-1] == 1 else "sparse_categorical_crossentropy",
        metrics=[accuracy],
        jit_compile=False,
    )
    # So that there are moments to take up before the first step.
    twin.optimizer.build(twin.trainable_variables)
    checkpoint.metrics = [twin.metrics[0], accuracy]  # the first is the loss
    weights = balanced_weights(data.labels) if schedule.class_weight == "balanced" else None
    validation = labelled_batches(dataset, "val", VALIDATION_BATCH)
    for epoch in range(checkpoint.progress.epoch, schedule.epochs):
        first = checkpoint.progress.batch
        checkpoint.begin_epoch(-(-len(data) // schedule.batch_size))
        logs = twin.fit(
            training_batches(data, schedule.batch_size, schedule.seed, epoch, first),
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=validation,
            class_weight=weights,
            callbacks=[checkpoint],
            shuffle=False,
            verbose=0,
        ).history
        checkpoint.end_epoch({"epoch": epoch + 1, **{name: logs[name][0] for name in COLUMNS}})
        shown = ", ".join(f"{name} {logs[name][0]:.3f}" for name in COLUMNS)
        print(f"epoch {epoch + 1}/{schedule.epochs}: {shown}", flush=True)
        if not np.isfinite(logs["loss"][0]):
            raise FloatingPointError(f"the loss is {logs['loss'][0]} after epoch {epoch + 1}")
    return pd.DataFrame(checkpoint.progress.rows)


def _adam(settings: Training, steps: int) -> keras.optimizers.Optimizer:
    rate: float | keras.optimizers.schedules.LearningRateSchedule = settings.learning_rate
    if settings.schedule == "cosine":
        rising = max(1, round(WARM_UP * steps))
        rate = keras.optimizers.schedules.CosineDecay(
            rate * WARM_START, max(1, steps - rising), warmup_target=rate, warmup_steps=rising
        )
    return keras.optimizers.Adam(rate, settings.beta_1, settings.beta_2, settings.epsilon)


def _accuracy(model: keras.Sequential) -> keras.metrics.Metric:
    is_binary = model.output_shape[-1] == 1
    return (keras.metrics.BinaryAccuracy if is_binary else keras.metrics.SparseCategoricalAccuracy)(name="accuracy")


def balanced_weights(labels: np.ndarray) -> dict[int, float]:
    """A weight a class, images / (classes * images of the class), so that every class weighs the same in the loss."""
    classes, counts = np.unique(labels, return_counts=True)
    weights = len(labels) / (len(classes) * counts)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))
