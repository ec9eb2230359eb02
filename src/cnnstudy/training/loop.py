"""Train a net."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from cnnstudy.config.schema import BatchNormMode, ClassWeight, Training
from cnnstudy.data.samples import Dataset
from cnnstudy.errors import UserError
from cnnstudy.training import precision, selection
from cnnstudy.training.augment import Augmentation
from cnnstudy.training.checkpoint import Checkpoint
from cnnstudy.training.optimizer import Adam, Muon
from cnnstudy.training.pipeline import TrainingSet, at_once, labelled_batches, steps_of, training_batches

# Of a schedule: the share of the steps in which the rate rises, and what it starts from, as a share of its peak.
WARM_UP, WARM_START = 0.1, 0.05
# Of a trapezoid: the share of the steps in which it falls.
COOL_DOWN = 0.4


@dataclass(frozen=True)
class Schedule:
    """How long, in what portions and with which class weights a phase trains; its order's and augmentation's seed.

    `policy` is the policy that the model was built under (see cnnstudy.nets.build), `batchnorm` the mode that it will
    predict in, `is_compiled` says whether XLA compiles the steps, and `moves_images` whether the device that trains
    also moves the images.
    """

    batch_size: int
    epochs: int
    class_weight: ClassWeight
    seed: int
    policy: str = "float32"
    batchnorm: BatchNormMode = "moving"
    is_compiled: bool = False
    moves_images: bool = False


def fit(
    model: keras.Sequential,
    data: TrainingSet,
    dataset: Dataset,
    settings: Training,
    schedule: Schedule,
    checkpoint: Checkpoint,
) -> pd.DataFrame:
    """Train in place on `data`, with a fresh optimizer or from what `checkpoint` holds, following the split `val`.

    Returns:
        One row an epoch: epoch, accuracy, loss, val_accuracy, val_loss. The losses are cross-entropies with the labels
        themselves, however these are smoothed for training; accuracy and loss are means over the epoch's batches while
        they train (with dropout; classes weighted in the loss), val_accuracy and val_loss follow it, with BatchNorm's
        moving statistics and every image alike. Where epochs are compared, also selection_accuracy and selection_loss:
        what they are compared by (see `selection`).

    Raises:
        FloatingPointError: the loss is no longer a number.
        UserError: batches are too small for so many devices.
    """
    steps = steps_of(len(data), schedule.batch_size)
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    smallest = len(data) // replicas // steps * replicas
    if replicas > 1 and smallest < 2 * replicas:
        allowed = f"two images for each of {replicas} GPUs"
        raise UserError(f"batch_size: a batch of {smallest} images found; allowed: {allowed}")
    twin, checkpoint.metrics, sources = _compiled(_augmented(model, data, schedule), settings, schedule, steps)
    weights = balanced_weights(data.labels) if schedule.class_weight == "balanced" else None
    # Keras would share out the batches of a validation, of which a small last one may leave a replica without an image.
    validation = labelled_batches(dataset, selection.SPLIT, at_once(model)) if replicas == 1 else None
    validated = selection.validator(model, dataset)
    is_compared = selection.compares(settings)
    score_of = selection.scorer(model, dataset, schedule.batchnorm, schedule.seed)
    for epoch in range(checkpoint.progress.epoch, schedule.epochs):
        if selection.is_over(epoch, checkpoint.progress.best, settings.patience):
            print(f"stops: no better epoch in {settings.patience}", flush=True)
            break
        checkpoint.begin_epoch(steps)
        logs = twin.fit(
            training_batches(
                data,
                schedule.batch_size,
                schedule.seed,
                epoch,
                checkpoint.progress.batch,
                is_moved=not schedule.moves_images,
                multiple=replicas,
            ),
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=validation,
            class_weight=weights,
            callbacks=[checkpoint],
            shuffle=False,
            verbose=0,
        ).history
        row = {"epoch": epoch + 1, **{name: logs[source][0] for name, source in sources.items() if source in logs}}
        if validation is None:
            row["val_accuracy"], row["val_loss"] = validated()
        shown = ", ".join(f"{name} {row[name]:.3f}" for name in sources)
        if is_compared:
            score = score_of(row)
            row |= {"selection_accuracy": score.accuracy, "selection_loss": score.loss}
            if score.is_better(checkpoint.progress.best):
                checkpoint.keep(score, model.get_weights() if settings.selection == "best" else [])
                shown += "; the best so far"
        print(f"epoch {epoch + 1}/{schedule.epochs}: {shown}", flush=True)
        # Before it is stored, or the same again would take it for done.
        if not np.isfinite(row["loss"]):
            raise FloatingPointError(f"the loss is {row['loss']} after epoch {epoch + 1}")
        # The loss is that before the last update, and by the batches' statistics.
        if not _is_finite(model):
            raise FloatingPointError(f"a weight is no number after epoch {epoch + 1}")
        checkpoint.end_epoch(row)
    # No epoch took it up where the last one had ended before the training was stopped.
    checkpoint.set_model(twin)
    checkpoint.take_up()
    if checkpoint.best_weights:
        model.set_weights(checkpoint.best_weights)
    return pd.DataFrame(checkpoint.progress.rows)


def _is_finite(model: keras.Sequential) -> bool:
    """Whether weights and statistics are numbers all; a sum is none where one of its terms is none."""
    sums = [tf.reduce_sum(each.value) for each in model.weights if tf.as_dtype(each.dtype).is_floating]
    return bool(np.isfinite(sums).all())


def _augmented(model: keras.Sequential, data: TrainingSet, schedule: Schedule) -> keras.Model:
    """A model of the pipeline's batches that shares the layers, whose weights can be saved without the optimizer's."""
    side = model.input_shape[1]
    images, transforms = keras.Input((side, side, 3), dtype="uint8"), keras.Input((8,))
    outputs = Augmentation(data.is_random and schedule.moves_images, schedule.is_compiled)([images, transforms])
    for layer in model.layers:
        outputs = layer(outputs)
    return (Compiled if schedule.is_compiled else keras.Model)([images, transforms], outputs)


class Compiled(keras.Model):
    """A model whose training steps XLA compiles.

    Keras compiles nothing where operations must be deterministic, since not all can be; those of the nets that
    `devices.compiles` chooses can.
    """

    @tf.function(jit_compile=True, reduce_retracing=True)
    def train_step(self, data: Any) -> Any:
        """Take a step."""
        return super().train_step(data)


def _compiled(
    twin: keras.Model, settings: Training, schedule: Schedule, steps: int
) -> tuple[keras.Model, list[keras.metrics.Metric], dict[str, str]]:
    """The model, its metrics, and what Keras calls each of the history's columns; `steps` are those of an epoch."""
    # What training makes small is no cross-entropy with the labels where these are smoothed.
    exact = [_cross_entropy(twin)] if settings.label_smoothing else []
    accuracy = _accuracy(twin)
    twin.compile(
        precision.scaled(_optimizer(settings, schedule.epochs * steps, schedule.policy), schedule.policy),
        loss=_loss(twin, settings.label_smoothing),
        metrics=[accuracy],
        weighted_metrics=exact or None,
        jit_compile=False,  # see `Compiled`
    )
    # So that there are moments to take up before the first step.
    twin.optimizer.build(twin.trainable_variables)
    loss = exact[0].name if exact else "loss"
    sources = {"accuracy": "accuracy", "loss": loss, "val_accuracy": "val_accuracy", "val_loss": f"val_{loss}"}
    return twin, [twin.metrics[0], accuracy, *exact], sources  # the first is the loss


def _loss(model: keras.Model, smoothing: float) -> str | Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
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


def _optimizer(settings: Training, steps: int, policy: str = "float32") -> keras.optimizers.Optimizer:
    rate: float | keras.optimizers.schedules.LearningRateSchedule = settings.learning_rate
    if settings.schedule == "cosine":
        rising = max(1, round(WARM_UP * steps))
        rate = keras.optimizers.schedules.CosineDecay(
            rate * WARM_START, max(1, steps - rising), warmup_target=rate, warmup_steps=rising
        )
    if settings.schedule == "trapezoid":
        rate = Trapezoid(settings.learning_rate, steps)
    adam = rate, settings.beta_1, settings.beta_2, settings.epsilon
    if settings.optimizer == "adam":
        return Adam(*adam)
    return Muon(*adam, settings.kernel_factor, precision.of_products(policy))


class Trapezoid(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises from nothing to its peak, stays there, and falls to nothing, each time along a line."""

    def __init__(self, peak: float, steps: int) -> None:
        self.peak, self.steps = peak, steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate of a step, counted from 0."""
        done = tf.cast(step, tf.float32)
        rising = (done + 1) / max(1, round(WARM_UP * self.steps))
        falling = (self.steps - done) / max(1, round(COOL_DOWN * self.steps))
        return self.peak * tf.clip_by_value(tf.minimum(rising, falling), 0.0, 1.0)


def _accuracy(model: keras.Model) -> keras.metrics.Metric:
    is_binary = model.output_shape[-1] == 1
    return (keras.metrics.BinaryAccuracy if is_binary else keras.metrics.SparseCategoricalAccuracy)(name="accuracy")


def _cross_entropy(model: keras.Model) -> keras.metrics.Metric:
    """The loss without smoothing."""
    kinds = keras.metrics.BinaryCrossentropy, keras.metrics.SparseCategoricalCrossentropy
    return kinds[model.output_shape[-1] > 1](name="cross_entropy")


def balanced_weights(labels: np.ndarray) -> dict[int, float]:
    """A weight a class, images / (classes * images of the class), so that every class weighs the same in the loss."""
    classes, counts = np.unique(labels, return_counts=True)
    weights = len(labels) / (len(classes) * counts)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))
