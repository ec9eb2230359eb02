"""Predictions of a trained net, in each BatchNorm mode."""

from collections.abc import Callable, Iterable
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from cnnstudy.data.samples import Dataset
from cnnstudy.models import graph
from cnnstudy.models.assemble import joined
from cnnstudy.training import batchnorm
from cnnstudy.training.loop import Schedule
from cnnstudy.training.pipeline import TrainingSet, exact_batches, inference_batch_size, sample_rows, scaled, steps_of

# The largest number of training images over which BatchNorm's statistics are re-estimated (PreciseBN: Wu and Johnson
# 2021). With 2048 instead of 6,000 images probabilities change by 0.0007 to 0.004 on average, and accuracies by 0.0015
# at most (LOG.md).
SAMPLE = 2048

# From a batch of images to predictions, [b, classes + values].
Infer = Callable[[tf.Tensor], np.ndarray]


def predict_splits(
    model: keras.Model, dataset: Dataset, data: TrainingSet, schedule: Schedule, headline: str
) -> dict[str, np.ndarray]:
    """Predict every split in the schedule's BatchNorm mode and the split `headline` in every mode.

    The modes are `batch` (batch statistics, as in training, but dropout off), `moving` (the moving statistics of
    training) and `recalibrated` (statistics re-estimated over `data`). The model keeps the statistics of the schedule's
    mode. If `data` has the same images of one split in every epoch, these are predicted too, as `<split>_augmented`.

    Returns:
        The arrays of predictions.npz: `<split>/id` and `<split>/label` int64 [n]; `<split>/<mode>`
        float32 [n, classes]. For a net that predicts k values, `<split>/values` float32 [n, k] are the true ones, and
        `<split>/<mode>` has k more columns, or only these.
    """
    infer, is_moving, batch = (
        _inference(model, len(dataset.value_names)),
        schedule.batchnorm == "moving",
        inference_batch_size(model),
    )
    splits = {split: dataset.ids(split) for split in dataset.present_splits}
    arrays: dict[str, np.ndarray] = {}
    for split, ids in splits.items():
        arrays |= {f"{split}/id": ids, f"{split}/label": dataset.labels[ids]}
        if dataset.values is not None:
            arrays[f"{split}/values"] = dataset.values[ids]
    arrays[f"{headline}/batch"] = _batch_statistics(model, dataset, splits[headline], schedule)
    for split in splits if is_moving else [headline]:
        arrays[f"{split}/moving"] = _infer(infer, _batches(dataset.images, splits[split], batch))
    moving = batchnorm.statistics(model)
    trained = recalibrated(model, data, schedule.seed)
    for split in [headline] if is_moving else splits:
        ids = splits[split]
        is_known = split == data.split
        arrays[f"{split}/recalibrated"] = (
            trained[data.originals(ids)] if is_known else _infer(infer, _batches(dataset.images, ids, batch))
        )
    if is_moving:
        batchnorm.set_statistics(model, moving)
    if not data.is_random and data.is_one_split:
        name = f"{data.split}_augmented"
        arrays |= {f"{name}/id": data.ids, f"{name}/label": data.labels}
        if data.values is not None:
            arrays[f"{name}/values"] = data.values
        augmented = (load() for load in exact_batches(data, batch))
        arrays[f"{name}/{schedule.batchnorm}"] = _infer(infer, augmented) if is_moving else trained
    return arrays


def predict_one_split(
    model: keras.Model, dataset: Dataset, data: TrainingSet, split: str, schedule: Schedule
) -> np.ndarray:
    """Predict a split in the schedule's BatchNorm mode: float32 [n, classes], in the order of the split's ids.

    The model keeps the statistics of that mode.
    """
    batch = inference_batch_size(model)
    if schedule.batchnorm == "recalibrated":
        recalibrated(model, data, schedule.seed)
    infer = _inference(model, len(dataset.value_names))
    return _infer(infer, _batches(dataset.images, dataset.ids(split), batch))


def recalibrated(model: keras.Model, data: TrainingSet, seed: int) -> np.ndarray:
    """Re-estimate BatchNorm's statistics over `SAMPLE` training images at most, each class in proportion.

    Returns:
        The net's predictions for all training images after that, float32 [n, classes].
    """
    batch, rows = inference_batch_size(model), sample_rows(data, SAMPLE, seed)
    outputs = batchnorm.recalibrate(graph.trace(model), exact_batches(data, batch, rows))
    if len(rows) == len(data):
        return joined(outputs, data.width - 1)
    return _infer(_inference(model, data.width - 1), (load() for load in exact_batches(data, batch)))


def _batches(images: np.ndarray, ids: np.ndarray, batch: int) -> Iterable[np.ndarray]:
    return (scaled(images[ids[start : start + batch]]) for start in range(0, len(ids), batch))


def _inference(model: keras.Model, values: int) -> Infer:
    """Return a function from a batch of images to the net's outputs, of which the last `values` are values."""
    infer = batchnorm.in_graph(lambda images: model(images, training=False), tf.TensorSpec(model.inputs[0].shape))
    return lambda batch: joined(infer(batch).numpy(), values)


def _infer(infer: Infer, batches: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([infer(tf.convert_to_tensor(batch)) for batch in batches])


def _batch_statistics(model: keras.Model, dataset: Dataset, ids: np.ndarray, schedule: Schedule) -> np.ndarray:
    """Return the predictions with batch statistics, in shuffled batches of the size in training.

    Batches sorted by class would give the labels away.
    """
    order = np.random.Generator(np.random.Philox(key=schedule.seed)).permutation(len(ids))
    parts = np.array_split(order, steps_of(len(order), schedule.batch_size))
    batches = (scaled(dataset.images[ids[part]]) for part in parts)
    forward = partial(batchnorm.forward_with_batch_statistics, graph.trace(model))
    infer, count = batchnorm.in_graph(forward, tf.TensorSpec(model.inputs[0].shape)), len(dataset.value_names)
    return _infer(lambda batch: joined(infer(batch).numpy(), count), batches)[np.argsort(order)]
