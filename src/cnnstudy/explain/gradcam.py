"""Saliency: Grad-CAM (Selvaraju et al. 2017) for a net's most confident correct and wrong predictions.

A map is the sum of one layer's channels, each weighted by the mean gradient of the predicted class's score with respect
to that channel, without its negative part. The score is the logit before the softmax; for a single sigmoid output it is
the logit for class 1 and its negative for class 0.
"""

from functools import partial

import keras
import numpy as np
import tensorflow as tf

from cnnstudy.models import graph
from cnnstudy.models.graph import Graph, Step, Values
from cnnstudy.training import batchnorm
from cnnstudy.training.pipeline import inference_batch_size, scaled

# The last maps of these nets are 2 x 2 at 64 px, so that a cell is a quarter of the image. The layer is therefore the
# last whose map has at least this side: late enough to tell classes apart, fine enough to tell an eye from a mouth.
SIDE = 8
SHOWN, MISTAKES = 6, 24
ACTIVATIONS = (keras.layers.Activation, keras.layers.ReLU)
# The number of images whose maps are stored for measurements; more would cost time and add no information.
MEASURED = 400


def explain(
    model: keras.Model,
    images: np.ndarray,
    predictions: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> dict[str, np.ndarray]:
    """Return saliency maps of the predicted class for some images of a split.

    Args:
        model: a model in float32, with the BatchNorm statistics of the primary mode.
        images: the images of all samples, uint8 [N, H, W, 3].
        predictions: the split's ids and labels, int64 [n], and the probabilities that `model` gives, [n, classes].

    Returns:
        The arrays of gradcam.npz. `correct/<name>` are the `SHOWN` most confident correct predictions of each
        class, class after class, and `mistakes/<name>` the `MISTAKES` most confident wrong predictions, in descending
        order of confidence: `id`, `label` and `predicted`, int64 [k]; `probability` of the predicted class,
        float32 [k]; and `map`, uint8 [k, h, w], with 255 at its maximum. `measured/id` and `measured/map` are those of
        `MEASURED` images at most, evenly spaced.
    """
    ids, labels, probabilities = predictions
    predicted, surest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    order = np.lexsort((ids, -surest))
    right = order[predicted[order] == labels[order]]
    correct = np.concatenate([right[labels[right] == label][:SHOWN] for label in range(probabilities.shape[1])])
    groups = {"correct": correct, "mistakes": order[predicted[order] != labels[order]][:MISTAKES]}
    net = graph.trace(model)
    height, width = net.steps[feature_step(net)].shape[1:3]
    measured = np.arange(len(ids))[:: -(-len(ids) // MEASURED)]
    rows = np.union1d(np.concatenate(list(groups.values())), measured)
    map_of = dict(zip(rows.tolist(), maps(model, images, ids[rows], predicted[rows]), strict=True))
    arrays: dict[str, np.ndarray] = {}
    for name, group in groups.items():
        arrays |= {f"{name}/id": ids[group], f"{name}/label": labels[group], f"{name}/predicted": predicted[group]}
        arrays[f"{name}/probability"] = surest[group].astype(np.float32)
    arrays["measured/id"] = ids[measured]
    for name, group in (groups | {"measured": measured}).items():
        quantised = [_quantised(map_of[row]) for row in group.tolist()]
        arrays[f"{name}/map"] = np.array(quantised, np.uint8).reshape(-1, int(height or 1), int(width or 1))
    return arrays


def maps(model: keras.Model, images: np.ndarray, ids: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the saliency map of one class for each image: float32 [n, h, w], not negative."""
    net = graph.trace(model)
    # In a graph TensorFlow leaves out the gradients of kernels, which are not used.
    weighted = batchnorm.in_graph(
        partial(_weighted, net, feature_step(net)),
        tf.TensorSpec(model.inputs[0].shape),
        tf.TensorSpec((None,), tf.int64),
    )
    parts, batch_size = [], inference_batch_size(model)
    for start in range(0, len(ids), batch_size):
        batch = slice(start, start + batch_size)
        parts.append(weighted(scaled(images[ids[batch]]), classes[batch].astype(np.int64)).numpy())
    return np.concatenate(parts)


def feature_step(net: Graph) -> int:
    """Return the index of the last activation whose map has sides of at least `SIDE`, or else of the largest map.

    If a net has no activation layers with maps, all steps with maps are candidates.
    """
    maps = {index: step for index, step in enumerate(net.steps) if len(step.shape) == 4}
    active = {index: step for index, step in maps.items() if isinstance(step.operation, ACTIVATIONS)}
    sides = {index: min(side for side in step.shape[1:3] if side) for index, step in (active or maps).items()}
    large = [index for index, side in sides.items() if side >= SIDE]
    return max(large) if large else max(sides, key=lambda index: sides[index])


def _weighted(net: Graph, index: int, images: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Return the saliency maps, float32 [B, h, w], at the output of the step `index`."""
    step = net.steps[index]
    needed = net.needed(index + 1) | {step.output}
    values = graph.run(net.steps[: index + 1], {net.input: images}, needed)
    features = values[step.output]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(features)
        # The score of an image depends only on its own features, so the gradient of the sum holds that of each score.
        score = tf.gather(_logits(net.steps[index + 1 :], values), classes, axis=1, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))


def _logits(steps: tuple[Step, ...], values: Values) -> tf.Tensor:
    """Return the logits of all classes, [B, classes], from intermediate values; the last step is the dense layer."""
    *before, last = steps
    (number,) = last.inputs
    features = graph.run(before, values, {number})[number]
    logits = tf.matmul(features, last.operation.kernel)
    if last.operation.use_bias:
        logits += last.operation.bias
    return tf.concat([-logits, logits], axis=1) if logits.shape[1] == 1 else logits


def _quantised(values: np.ndarray) -> np.ndarray:
    greatest = values.max()
    return np.rint(values * (255 / greatest if greatest > 0 else 0)).astype(np.uint8)
