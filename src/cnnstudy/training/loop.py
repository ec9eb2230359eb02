"""Train a net."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from cnnstudy.data.samples import Dataset
from cnnstudy.params import BatchNormMode, ClassWeight, Training
from cnnstudy.training import precision, selection
from cnnstudy.training.checkpoint import Checkpoint
from cnnstudy.training.optimizer import Adam
from cnnstudy.training.pipeline import TrainingSet, labelled_batches, training_batches

VALIDATION_BATCH = 100
# Of a cosine schedule: the share of the steps in which the rate rises, and what it starts from, as a share of its peak.
WARM_UP, WARM_START = 0.1, 0.05


@dataclass(frozen=True)
class Schedule:
    """How long, in what portions and with which class weights a phase trains; its order's and augmentation's seed.

    `policy` is the Keras policy that the model was built under, `batchnorm` the mode that it will predict in.
    """

    batch_size: int
    epochs: int
    class_weight: ClassWeight
    seed: int
    policy: str = "float32"
    batchnorm: BatchNormMode = "moving"


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
        One row an epoch: epoch, accuracy, loss, val_accuracy, val_loss. The losses are cross-entropies with the labels
        themselves, however these are smoothed for training; accuracy and loss are means over the epoch's batches while
        they train (with dropout; classes weighted in the loss), val_accuracy and val_loss follow it, with BatchNorm's
        moving statistics and every image alike. Where epochs are compared, also selection_accuracy and selection_loss:
        what they are compared by (see `selection`).

    Raises:
        FloatingPointError: the loss is no longer a number.
    """
    steps = -(-len(data) // schedule.batch_size)
    twin, checkpoint.metrics, sources = _compiled(model, settings, schedule, steps)
    weights = balanced_weights(data.labels) if schedule.class_weight == "balanced" else None
    validation = labelled_batches(dataset, selection.SPLIT, VALIDATION_BATCH)
    is_compared = selection.compares(settings)
    score_of = selection.scorer(model, dataset, schedule.batchnorm, schedule.seed)
    for epoch in range(checkpoint.progress.epoch, schedule.epochs):
        if selection.is_over(epoch, checkpoint.progress.best, settings.patience):
            print(f"stops: no better epoch in {settings.patience}", flush=True)
            break
        checkpoint.begin_epoch(steps)
        logs = twin.fit(
            training_batches(data, schedule.batch_size, schedule.seed, epoch, checkpoint.progress.batch),
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=validation,
            class_weight=weights,
            callbacks=[checkpoint],
            shuffle=False,
            verbose=0,
        ).history
        row = {"epoch": epoch + 1, **{name: logs[source][0] for name, source in sources.items()}}
        shown = ", ".join(f"{name} {row[name]:.3f}" for name in sources)
        if is_compared:
            score = score_of(row)
            row |= {"selection_accuracy": score.accuracy, "selection_loss": score.loss}
            if score.is_better(checkpoint.progress.best):
                checkpoint.keep(score, model.get_weights() if settings.selection == "best" else [])
                shown += "; the best so far"
        checkpoint.end_epoch(row)
        print(f"epoch {epoch + 1}/{schedule.epochs}: {shown}", flush=True)
        if not np.isfinite(row["loss"]):
            raise FloatingPointError(f"the loss is {row['loss']} after epoch {epoch + 1}")
    # No epoch took it up where the last one had ended before the training was stopped.
    checkpoint.set_model(twin)
    checkpoint.take_up()
    if checkpoint.best_weights:
        model.set_weights(checkpoint.best_weights)
    return pd.DataFrame(checkpoint.progress.rows)


def _compiled(
    model: keras.Sequential, settings: Training, schedule: Schedule, steps: int
) -> tuple[keras.Sequential, list[keras.metrics.Metric], dict[str, str]]:
    """A model that shares the layers, its metrics, and what Keras calls each of the history's columns.

    The weights of the shared layers can then be saved without the optimizer's. `steps` are those of an epoch.
    """
    twin = keras.Sequential(model.layers)
    # What training makes small is no cross-entropy with the labels where these are smoothed.
    exact = [_cross_entropy(model)] if settings.label_smoothing else []
    accuracy = _accuracy(model)
    twin.compile(
        precision.scaled(_adam(settings, schedule.epochs * steps), schedule.policy),
        loss=_loss(model, settings.label_smoothing),
        metrics=[accuracy],
        weighted_metrics=exact or None,
        jit_compile=False,
    )
    # So that there are moments to take up before the first step.
    twin.optimizer.build(twin.trainable_variables)
    loss = exact[0].name if exact else "loss"
    sources = {"accuracy": "accuracy", "loss": loss, "val_accuracy": "val_accuracy", "val_loss": f"val_{loss}"}
    return twin, [twin.metrics[0], accuracy, *exact], sources  # the first is the loss


def _loss(model: keras.Sequential, smoothing: float) -> str | Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The cross-entropy that training makes small; labels are [B, 1], and Keras smooths no sparse ones."""
    classes = model.output_shape[-1]
    if not smoothing:
        return "binary_crossentropy" if classes == 1 else "sparse_categorical_crossentropy"
    if classes == 1:
        return keras.losses.BinaryCrossentropy(label_smoothing=smoothing)

    def smoothed(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        each = tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), classes)
        return keras.losses.categorical_crossentropy(each, probabilities, label_smoothing=smoothing)

    return smoothed


def _adam(settings: Training, steps: int) -> keras.optimizers.Optimizer:
    rate: float | keras.optimizers.schedules.LearningRateSchedule = settings.learning_rate
    if settings.schedule == "cosine":
        rising = max(1, round(WARM_UP * steps))
        rate = keras.optimizers.schedules.CosineDecay(
            rate * WARM_START, max(1, steps - rising), warmup_target=rate, warmup_steps=rising
        )
    return Adam(rate, settings.beta_1, settings.beta_2, settings.epsilon)


def _accuracy(model: keras.Sequential) -> keras.metrics.Metric:
    is_binary = model.output_shape[-1] == 1
    return (keras.metrics.BinaryAccuracy if is_binary else keras.metrics.SparseCategoricalAccuracy)(name="accuracy")


def _cross_entropy(model: keras.Sequential) -> keras.metrics.Metric:
    """The loss without smoothing."""
    kinds = keras.metrics.BinaryCrossentropy, keras.metrics.SparseCategoricalCrossentropy
    return kinds[model.output_shape[-1] > 1](name="cross_entropy")


def balanced_weights(labels: np.ndarray) -> dict[int, float]:
    """A weight a class, images / (classes * images of the class), so that every class weighs the same in the loss."""
    classes, counts = np.unique(labels, return_counts=True)
    weights = len(labels) / (len(classes) * counts)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))
