"""Where a net looks: Grad-CAM (Selvaraju et al. 2017) of what it is surest of and of its worst mistakes.

A map weighs the channels of one layer by the mean gradient of the predicted class's score with respect to them, adds
them up and keeps what is positive. The score is the one before the softmax; of a single sigmoid output it is the logit
for class 1 and its negative for class 0.
"""

from functools import partial

import keras
import numpy as np
import tensorflow as tf

from cnnstudy.training import batchnorm
from cnnstudy.training.pipeline import at_once, scaled

# The last maps of these nets are 2 x 2 at 64 px, where every place is a quarter of the image, so the layer is the last
# whose map has this side: late enough to tell classes apart, fine enough to tell an eye from a mouth.
SIDE = 8
SHOWN, MISTAKES = 6, 24
# How many images' maps are kept to be measured: more would cost time and tell no more.
MEASURED = 400


def explain(
    model: keras.Sequential,
    images: np.ndarray,
    answers: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> dict[str, np.ndarray]:
    """Return maps of the predicted class for some images of a split.

    Args:
        model: in float32, with the BatchNorm statistics that count.
        images: of all samples, uint8 [N, H, W, 3].
        answers: the split's ids and labels, int64 [n], and the probabilities that `model` gives, [n, classes].

    Returns:
        The arrays of gradcam.npz. `correct/<name>` are the `SHOWN` surest right answers of each class, class after
        class, and `mistakes/<name>` the `MISTAKES` surest wrong ones, each from the surest down: `id`, `label` and
        `predicted`, int64 [k]; `probability` of the predicted class, float32 [k]; and `map`, uint8 [k, h, w], 255 at
        its greatest. `measured/id` and `measured/map` are those of `MEASURED` images at most, evenly spaced.
    """
    ids, labels, probabilities = answers
    predicted, surest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    order = np.lexsort((ids, -surest))
    right = order[predicted[order] == labels[order]]
    correct = np.concatenate([right[labels[right] == label][:SHOWN] for label in range(probabilities.shape[1])])
    groups = {"correct": correct, "mistakes": order[predicted[order] != labels[order]][:MISTAKES]}
    side = int(model.layers[feature_layer(model)].output.shape[1])
    measured = np.arange(len(ids))[:: -(-len(ids) // MEASURED)]
    rows = np.union1d(np.concatenate(list(groups.values())), measured)
    found = dict(zip(rows.tolist(), maps(model, images, ids[rows], predicted[rows]), strict=True))
    arrays: dict[str, np.ndarray] = {}
    for name, some in groups.items():
        arrays |= {f"{name}/id": ids[some], f"{name}/label": labels[some], f"{name}/predicted": predicted[some]}
        arrays[f"{name}/probability"] = surest[some].astype(np.float32)
    arrays["measured/id"] = ids[measured]
    for name, some in (groups | {"measured": measured}).items():
        kept = [_quantised(found[row]) for row in some.tolist()]
        arrays[f"{name}/map"] = np.array(kept, np.uint8).reshape(-1, side, side)
    return arrays


def maps(model: keras.Sequential, images: np.ndarray, ids: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The map of a class for each of some images: float32 [n, h, w], not negative."""
    cut = feature_layer(model) + 1
    # In a graph gradients of kernels, which nothing asks for, are left out.
    weighted = batchnorm.in_graph(
        partial(_weighted, model.layers[:cut], model.layers[cut:]),
        tf.TensorSpec(model.inputs[0].shape),
        tf.TensorSpec((None,), tf.int64),
    )
    found, batch = [], at_once(model)
    for start in range(0, len(ids), batch):
        some = slice(start, start + batch)
        found.append(weighted(scaled(images[ids[some]]), classes[some].astype(np.int64)).numpy())
    return np.concatenate(found)


def feature_layer(model: keras.Sequential) -> int:
    """The index of the last activation between convolutions whose map is at least `SIDE` a side, else of the first."""
    sides = {
        index: min(layer.output.shape[1:3])
        for index, layer in enumerate(model.layers)
        if isinstance(layer, keras.layers.Activation) and len(layer.output.shape) == 4
    }
    return max((index for index, side in sides.items() if side >= SIDE), default=min(sides))


def _weighted(before: list[keras.Layer], after: list[keras.Layer], images: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """The maps, float32 [B, h, w], of the output of the last of the layers `before`."""
    features = batchnorm.forward(before, images)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(features)
        # One image's score depends on its own features alone, so that the sum's gradient is each score's.
        score = tf.gather(_logits(after, features), classes, axis=1, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))


def _logits(layers: list[keras.Layer], features: tf.Tensor) -> tf.Tensor:
    """The scores of every class, [B, classes], from a layer's output; `layers` end with the dense one."""
    *before, last = layers
    logits = tf.matmul(batchnorm.forward(before, features), last.kernel) + last.bias
    return tf.concat([-logits, logits], axis=1) if logits.shape[1] == 1 else logits


def _quantised(found: np.ndarray) -> np.ndarray:
    greatest = found.max()
    return np.rint(found * (255 / greatest if greatest > 0 else 0)).astype(np.uint8)
