"""The training loop of a net: batches, epochs, learning-rate schedules and the comparison of epochs."""

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
from cnnstudy.training import objectives, precision, selection
from cnnstudy.training.augmentation import Augmentation
from cnnstudy.training.checkpoint import Checkpoint
from cnnstudy.training.optimizers import Adam, Muon
from cnnstudy.training.pipeline import TrainingSet, inference_batch_size, labelled_batches, steps_of, training_batches
from cnnstudy.workspace.terminal import say

# The share of a schedule's steps in which the learning rate rises, and its initial value as a share of the peak.
WARM_UP, WARM_START = 0.1, 0.05
# The share of the steps of warmup-stable-decay in which the learning rate falls.
COOL_DOWN = 0.4


@dataclass(frozen=True)
class Schedule:
    """Batch size, epochs and class weights of a phase, and the seed of the images' order and augmentation.

    `policy` is the dtype policy that the model was built under (see cnnstudy.models.assemble), `batchnorm` the mode
    that it will predict in. `is_compiled` says whether XLA compiles the steps, `augments_on_device` whether the
    training device also transforms the images, and `holds_images` whether it keeps all images in its memory.
    `steps_at_once` is the number of steps that the device runs without waiting for Python.
    """

    batch_size: int
    epochs: int
    class_weight: ClassWeight
    seed: int
    policy: str = "float32"
    batchnorm: BatchNormMode = "moving"
    is_compiled: bool = False
    augments_on_device: bool = False
    holds_images: bool = False
    steps_at_once: int = 1


def fit(
    model: keras.Model,
    data: TrainingSet,
    dataset: Dataset,
    settings: Training,
    schedule: Schedule,
    checkpoint: Checkpoint,
) -> pd.DataFrame:
    """Train a model in place on `data`, from the start or resumed from `checkpoint`, and validate it on `val`.

    Returns:
        One row per epoch: epoch, accuracy, loss, val_accuracy, val_loss; for a net that predicts values also ccc and
        val_ccc (see cnnstudy.training.objectives), and without accuracies if it predicts nothing else. The losses are
        then those that training minimises, and otherwise cross-entropies with the unsmoothed labels, even if training
        smooths them. Accuracy and loss are means over the epoch's batches during training (with dropout, and with class
        weights in the loss); val_accuracy and val_loss are measured after the epoch, with BatchNorm's moving statistics
        and, without values, equal weights. If epochs are compared, selection_accuracy (or selection_ccc) and
        selection_loss are the numbers that they are compared by (see `selection`).

    Raises:
        FloatingPointError: the loss is no longer a number.
        UserError: the batches are too small for the number of devices.
    """
    steps = steps_of(len(data), schedule.batch_size)
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    smallest = len(data) // replicas // steps * replicas
    if replicas > 1 and smallest < 2 * replicas:
        allowed = f"two images for each of {replicas} GPUs"
        raise UserError(f"batch_size: a batch of {smallest} images found; allowed: {allowed}")
    held = dataset.images if schedule.holds_images and not data.changes_pixels else None
    weights = balanced_weights(data.labels) if schedule.class_weight == "balanced" else None
    objective = objectives.objective(dataset, settings, weights)
    twin, checkpoint.metrics, sources = _compiled(
        _augmented(model, data, schedule, held), settings, schedule, steps, data.is_mixed, objective
    )
    if objective:
        weights = None  # the objective has them: Keras's weights need one label for each image
    # Keras divides validation batches among the replicas, and a small last one may leave a replica without an image.
    outputs = model.output_shape[-1]
    shares = outputs if data.is_mixed else 1
    validation = labelled_batches(
        dataset, selection.SPLIT, inference_batch_size(model), shares, sends_ids=held is not None
    )
    validation = validation if replicas == 1 else None
    validated = selection.validator(model, dataset, objective)
    is_compared, quality = selection.compares(settings), objectives.quality(dataset)
    score_of = selection.scorer(model, dataset, schedule.batchnorm, schedule.seed, objective)
    for epoch in range(checkpoint.progress.epoch, schedule.epochs):
        if selection.is_over(epoch, checkpoint.progress.best, settings.patience):
            say(f"early stop: no better epoch in {settings.patience}")
            break
        checkpoint.begin_epoch(steps)
        logs = twin.fit(
            training_batches(
                data,
                schedule.batch_size,
                schedule.seed,
                epoch,
                checkpoint.progress.batch,
                applies_transforms=not schedule.augments_on_device,
                multiple=replicas,
                outputs=outputs,
                sends_ids=held is not None,
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
            row |= {f"val_{name}": value for name, value in validated().items()}
        shown = _in_words(row, list(sources), schedule)
        if is_compared:
            score = score_of(row)
            row |= {f"selection_{quality}": score.quality, "selection_loss": score.loss}
            if score.is_better(checkpoint.progress.best):
                checkpoint.set_best(score, model.get_weights() if settings.selection == "best" else [])
                shown += "; the best so far"
        say(f"epoch {epoch + 1}/{schedule.epochs}: {shown}")
        # This is checked before a checkpoint is saved, which would make the epoch count as completed.
        if not np.isfinite(row["loss"]):
            raise FloatingPointError(f"the loss is {row['loss']} after epoch {epoch + 1}")
        # The loss was computed before the last update and with batch statistics, so it may not show a bad weight.
        if not _is_finite(model):
            raise FloatingPointError(f"a weight is not a number after epoch {epoch + 1}")
        checkpoint.end_epoch(row)
    # If the training was stopped after its last epoch, no epoch has restored the checkpoint.
    checkpoint.set_model(twin)
    checkpoint.resume()
    if checkpoint.best_weights:
        model.set_weights(checkpoint.best_weights)
    return pd.DataFrame(checkpoint.progress.rows)


def _in_words(row: dict[str, float], names: list[str], schedule: Schedule) -> str:
    """Return an epoch's numbers in words; those on val are of moving statistics, which may not be those in the end."""
    told = [f"{name} {row[name]:.3f}" for name in names if not name.startswith("val_")]
    val = [f"{name.removeprefix('val_')} {row[name]:.3f}" for name in names if name.startswith("val_")]
    statistics = "" if schedule.batchnorm == "moving" else " with moving statistics"
    return f"{', '.join(told)}; val{statistics}: {', '.join(val)}"


def _is_finite(model: keras.Model) -> bool:
    """Return whether all weights and statistics are numbers; a sum is not a number if one of its terms is not."""
    sums = [tf.reduce_sum(weight.value) for weight in model.weights if tf.as_dtype(weight.dtype).is_floating]
    return bool(np.isfinite(sums).all())


def _augmented(
    model: keras.Model, data: TrainingSet, schedule: Schedule, held: np.ndarray | None = None
) -> keras.Model:
    """Return a model that takes the pipeline's batches and shares the layers of `model`.

    The optimizer belongs to the returned model, so that `model` can be saved without it. `held` are the images to keep
    in the device's memory, if the batches have ids.
    """
    side = model.input_shape[1]
    images = keras.Input((side, side, 3), dtype="uint8") if held is None else keras.Input((), dtype="int32")
    transforms = keras.Input((8,))
    is_augmenting = data.is_random and schedule.augments_on_device
    is_augmenting |= held is not None and (data.is_random or data.has_copies)
    outputs = model(Augmentation(is_augmenting, schedule.is_compiled, held)([images, transforms]))
    return (Compiled if schedule.is_compiled else keras.Model)([images, transforms], outputs)


class Compiled(keras.Model):
    """A model whose training steps XLA compiles.

    Keras turns XLA off when operations must be deterministic, since some can't be; cnnstudy.models.layers has layers
    without such operations.
    """

    @tf.function(jit_compile=True, reduce_retracing=True)
    def train_step(self, data: Any) -> Any:
        """Run one training step."""
        return super().train_step(data)


def _compiled(
    twin: keras.Model,
    settings: Training,
    schedule: Schedule,
    steps: int,
    is_mixed: bool,
    objective: objectives.Objective | None = None,
) -> tuple[keras.Model, list[keras.metrics.Metric], dict[str, str]]:
    """Compile a model; return it, its metrics, and Keras's name of each column of the history.

    `steps` is the number of steps in an epoch, and `objective` what a net that predicts values minimises.
    """
    optimizer = precision.scaled(_optimizer(settings, schedule.epochs * steps, schedule.policy), schedule.policy)
    if objective:
        shown = objectives.metrics(objective, twin.output_shape[-1])
        twin.compile(optimizer, loss=objective, metrics=shown, jit_compile=False,
                     steps_per_execution=schedule.steps_at_once)  # fmt: skip
        twin.optimizer.build(twin.trainable_variables)
        names = [*(metric.name for metric in shown), "loss"]
        return (
            twin,
            [twin.metrics[0], *shown],
            {f"{when}{name}": f"{when}{name}" for when in ("", "val_") for name in names},
        )
    # The loss that training minimises is not the cross-entropy with the labels if these are smoothed.
    exact = [_cross_entropy(twin, is_mixed)] if settings.label_smoothing else []
    accuracy = _accuracy(twin, is_mixed)
    twin.compile(
        optimizer,
        loss=_loss(twin, settings.label_smoothing, is_mixed),
        metrics=[accuracy],
        weighted_metrics=exact or None,
        jit_compile=False,  # see `Compiled`
        steps_per_execution=schedule.steps_at_once,
    )
    # The optimizer's moments must exist before the first step, to be restored from a checkpoint.
    twin.optimizer.build(twin.trainable_variables)
    loss = exact[0].name if exact else "loss"
    sources = {"accuracy": "accuracy", "loss": loss, "val_accuracy": "val_accuracy", "val_loss": f"val_{loss}"}
    return twin, [twin.metrics[0], accuracy, *exact], sources  # the first is the loss


def _loss(model: keras.Model, smoothing: float, is_mixed: bool) -> str | Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return the cross-entropy that training minimises; labels are [B, 1], and Keras can't smooth sparse ones."""
    classes = model.output_shape[-1]
    if is_mixed and classes > 1:
        return keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    if not smoothing:
        return "binary_crossentropy" if classes == 1 else "sparse_categorical_crossentropy"
    if classes == 1:
        return keras.losses.BinaryCrossentropy(label_smoothing=smoothing)

    def smoothed(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        one_hot = tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), classes)
        return keras.losses.categorical_crossentropy(one_hot, probabilities, label_smoothing=smoothing)

    return smoothed


def _optimizer(settings: Training, steps: int, policy: str = "float32") -> keras.optimizers.Optimizer:
    rate: float | keras.optimizers.schedules.LearningRateSchedule = settings.learning_rate
    if settings.schedule == "cosine":
        rising = max(1, round(WARM_UP * steps))
        rate = keras.optimizers.schedules.CosineDecay(
            rate * WARM_START, max(1, steps - rising), warmup_target=rate, warmup_steps=rising
        )
    if settings.schedule == "warmup-stable-decay":
        rate = WarmupStableDecay(settings.learning_rate, steps)
    adam = rate, settings.beta_1, settings.beta_2, settings.epsilon
    if settings.optimizer == "adam":
        return Adam(*adam)
    return Muon(*adam, settings.relative_update, precision.product_dtype(policy))


class WarmupStableDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly from 0 to its peak, stays there, and falls linearly to 0."""

    def __init__(self, peak: float, steps: int) -> None:
        self.peak, self.steps = peak, steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the learning rate of a step; steps count from 0."""
        done = tf.cast(step, tf.float32)
        rising = (done + 1) / max(1, round(WARM_UP * self.steps))
        falling = (self.steps - done) / max(1, round(COOL_DOWN * self.steps))
        return self.peak * tf.clip_by_value(tf.minimum(rising, falling), 0.0, 1.0)


def _accuracy(model: keras.Model, is_mixed: bool) -> keras.metrics.Metric:
    is_binary = model.output_shape[-1] == 1
    if is_mixed:  # the class with the larger share counts as the label
        return (
            keras.metrics.MeanMetricWrapper(_rounded_accuracy, name="accuracy")
            if is_binary
            else (keras.metrics.CategoricalAccuracy(name="accuracy"))
        )
    return (keras.metrics.BinaryAccuracy if is_binary else keras.metrics.SparseCategoricalAccuracy)(name="accuracy")


def _rounded_accuracy(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    return keras.metrics.binary_accuracy(tf.round(labels), probabilities)


def _cross_entropy(model: keras.Model, is_mixed: bool) -> keras.metrics.Metric:
    """Return the loss without smoothing, as a metric."""
    if is_mixed and model.output_shape[-1] > 1:
        return keras.metrics.CategoricalCrossentropy(name="cross_entropy")
    kinds = keras.metrics.BinaryCrossentropy, keras.metrics.SparseCategoricalCrossentropy
    return kinds[model.output_shape[-1] > 1](name="cross_entropy")


def balanced_weights(labels: np.ndarray) -> dict[int, float]:
    """Return each class's weight, images / (classes * images of the class): all classes weigh the same in the loss."""
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    weights = counts.sum() / (len(classes) * counts)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))
