"""Grad-CAM by hand, on a net whose one informative pixel is known; and what is kept of it."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnnstudy.explain import gradcam
from cnnstudy.models import assemble, graph
from cnnstudy.models.assemble import Design

SOFTMAX, SIGMOID = (2, "softmax"), (1, "sigmoid")


def small(last: tuple[int, str], *hidden: keras.Layer, side: int = 8) -> keras.Model:
    """Hidden layers, by default a convolution of single pixels, ReLU, and a dense layer."""
    layers = keras.layers
    inputs = x = keras.Input((side, side, 3))
    before = hidden or (layers.Conv2D(2, 1, use_bias=False),)
    for layer in (*before, layers.Activation("relu"), layers.Flatten(), layers.Dense(*last)):
        x = layer(x)
    return assemble.faster(keras.Model(inputs, x))


def net(last: tuple[int, str], dense: np.ndarray) -> keras.Model:
    """Channel 0 is the red of a pixel, channel 1 its green; `dense` [8 * 8 * 2, outputs] reads them."""
    model = small(last)
    kernel = np.zeros((1, 1, 3, 2), np.float32)
    kernel[0, 0, 0, 0] = kernel[0, 0, 1, 1] = 1
    model.set_weights([kernel, dense, np.zeros(dense.shape[1], np.float32)])
    return model


def images() -> np.ndarray:
    """One red pixel at (2, 5); one green pixel at (6, 1); both."""
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    pixels[[0, 2], 2, 5, 0] = 255
    pixels[[1, 2], 6, 1, 1] = 255
    return pixels


def test_a_map_lights_up_where_the_class_is_told() -> None:
    # Class 0 adds up the red channel, class 1 the green one.
    dense = np.zeros((64, 2, 2), np.float32)
    dense[:, 0, 0] = dense[:, 1, 1] = 3
    found = gradcam.maps(
        net(SOFTMAX, dense.reshape(128, 2)), images(), np.array([0, 1, 2, 2, 0]), np.array([0, 1, 0, 1, 1])
    )
    assert found.shape == (5, 8, 8)
    expected = np.zeros((5, 8, 8))
    # The mean gradient of a class's score is 3 in its own channel, and 0 in the other.
    expected[[0, 2], 2, 5] = expected[[1, 3], 6, 1] = 3
    np.testing.assert_allclose(found, expected)


def test_class_0_of_a_sigmoid_has_the_negative_logit() -> None:
    dense = np.zeros((64, 2, 1), np.float32)
    dense[:, 0], dense[:, 1] = 2, -4
    found = gradcam.maps(net(SIGMOID, dense.reshape(128, 1)), images(), np.array([2, 2]), np.array([1, 0]))
    expected = np.zeros((2, 8, 8))
    expected[0, 2, 5], expected[1, 6, 1] = 2, 4
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("name", "options", "size", "side", "layers_after"),
    [
        ("alexnet", {}, 64, 8, "MaxPooling2D"),
        ("vggnet", {}, 64, 8, "MaxPooling2D"),
        ("mobilenet", {}, 64, 8, "DepthwiseConv2D"),
        ("mobilenet", {}, 128, 8, "DepthwiseConv2D"),
        ("xraynet", {"depth": 1, "widths": "reshi"}, 64, 32, "Dropout"),
        ("xraynet", {"depth": 5, "widths": "reshi"}, 64, 8, "Dropout"),
        ("xraynet", {"depth": 5, "widths": "reshi"}, 150, 9, "Dropout"),
    ],
)
def test_the_layer_is_the_last_that_tells_places_apart(
    name: str, options: dict[str, Any], size: int, side: int, layers_after: str
) -> None:
    design = Design(name, tuple(options.items()), size, 2 if name == "xraynet" else 8)
    steps = graph.trace(assemble.sketch(design))
    index = gradcam.feature_step(steps)
    assert steps.steps[index].shape[1:3] == (side, side)
    assert type(steps.steps[index + 1].operation).__name__ == layers_after
    later = [step for step in steps.steps[index + 1 :] if isinstance(step.operation, keras.layers.Activation)]
    assert all(len(step.shape) == 2 or (step.shape[1] or 0) < 8 for step in later)


def test_where_no_map_is_fine_enough_the_first_stands() -> None:
    layers = keras.layers
    model = small(SOFTMAX, layers.Conv2D(2, 1, 2), layers.Activation("relu"), layers.Conv2D(2, 1, 2))
    assert gradcam.feature_step(graph.trace(model)) == 1


@pytest.fixture(scope="module")
def explained() -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """80 images of noise, ids 20 to 99."""
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Conv2D(4, 3, padding="same", use_bias=False), keras.layers.BatchNormalization()
    model = small(SOFTMAX, *hidden, side=12)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (100, 12, 12, 3), np.uint8)
    ids, labels = np.arange(20, 100), rng.integers(0, 2, 80)
    probabilities = model(pixels[ids].astype(np.float32) / 255, training=False).numpy()
    answers = (ids, labels, probabilities)
    arrays, again = (gradcam.explain(model, pixels, answers) for _ in range(2))
    assert list(arrays) == list(again)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
    return arrays, answers


def test_the_surest_answers_are_kept(
    explained: tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> None:
    arrays, (ids, labels, probabilities) = explained
    predicted, surest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    for label in range(2):
        rows = np.flatnonzero((predicted == labels) & (labels == label))
        best = rows[np.argsort(-surest[rows], kind="stable")][:6]
        kept = arrays["correct/label"] == label
        assert arrays["correct/id"][kept].tolist() == ids[best].tolist()
        np.testing.assert_array_equal(arrays["correct/probability"][kept], surest[best])
    assert len(arrays["mistakes/id"]) == min(24, (predicted != labels).sum())
    assert (arrays["mistakes/label"] != arrays["mistakes/predicted"]).all()
    assert (np.diff(arrays["mistakes/probability"]) <= 0).all()


def test_maps_are_bytes_up_to_255(
    explained: tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> None:
    arrays, _ = explained
    for name in ("correct", "mistakes", "measured"):
        assert arrays[f"{name}/map"].dtype == np.uint8
        assert arrays[f"{name}/map"].shape == (len(arrays[f"{name}/id"]), 12, 12)
        assert set(arrays[f"{name}/map"].max(axis=(1, 2)).tolist()) <= {0, 255}


@pytest.mark.parametrize(("most", "kept"), [(400, 80), (80, 80), (79, 40), (1, 1)])
def test_maps_of_evenly_spaced_images_are_kept_to_be_measured(
    most: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras.utils.set_random_seed(0)
    model = small(SOFTMAX)
    pixels = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3), np.uint8)
    probabilities = model(pixels.astype(np.float32) / 255).numpy()
    monkeypatch.setattr(gradcam, "MEASURED", most)
    arrays = gradcam.explain(model, pixels, (np.arange(80), probabilities.argmax(axis=1), probabilities))
    assert arrays["measured/id"].tolist() == list(range(0, 80, 80 // kept))
    assert arrays["measured/map"].shape == (kept, 8, 8)
    assert arrays["mistakes/map"].shape == (0, 8, 8)


@pytest.mark.parametrize(
    ("name", "options", "last"),
    [
        ("resnet18", {"width": 0.25}, "Activation"),  # with fewer channels, Keras's strided convolutions may crash
        ("applications", {"name": "MobileNetV3Small"}, "Activation"),
        ("applications", {"name": "EfficientNetB0"}, "Activation"),
    ],
)
def test_a_graph_is_explained_as_keras_differentiates_it(name: str, options: dict[str, Any], last: str) -> None:
    model = assemble.build(Design(name, tuple(options.items()), 64, 3), seed=0)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    net = graph.trace(model)
    layer = net.steps[gradcam.feature_step(net)].operation
    assert type(layer).__name__ == last
    assert layer.output.shape[1] >= 8
    found = gradcam.maps(model, pixels, np.arange(3), np.array([0, 1, 2]))
    two = keras.Model(model.input, [layer.output, model.layers[-1].input])
    dense = model.layers[-1]
    with tf.GradientTape() as tape:
        features, last_vector = two(pixels.astype(np.float32) / 255, training=False)
        scores = tf.linalg.diag_part(tf.matmul(last_vector, dense.kernel) + dense.bias)
    weights = tape.gradient(scores, features).numpy().mean(axis=(1, 2), keepdims=True)
    expected = np.maximum((weights * features.numpy()).sum(axis=-1), 0)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * max(expected.max(), 1e-6) + 1e-8)
    assert found.max() > 0
