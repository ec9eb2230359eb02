"""Grad-CAM by hand, on a net whose one informative pixel is known; and what is kept of it."""

import keras
import numpy as np
import pytest

from cnnstudy.nets import build, specs
from cnnstudy.training import gradcam

SOFTMAX = (specs.Conv(2, 1), specs.Relu(), specs.Flatten(), specs.Dense(2, activation="softmax"))
SIGMOID = (*SOFTMAX[:-1], specs.Dense(1, activation="sigmoid"))


def net(layers: tuple[specs.Layer, ...], dense: np.ndarray) -> keras.Sequential:
    """Channel 0 is the red of a pixel, channel 1 its green; `dense` [8 * 8 * 2, outputs] reads them."""
    model = build.build(layers, 8)
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
    ("name", "depth", "size", "side", "layers_after"),
    [
        ("alexnet", None, 64, 8, "MaxPooling2D"),
        ("vggnet", None, 64, 8, "MaxPooling2D"),
        ("mobilenet", None, 64, 8, "DepthwiseConv2D"),
        ("mobilenet", None, 128, 8, "DepthwiseConv2D"),
        ("xraynet", 1, 64, 32, "Dropout"),
        ("xraynet", 5, 64, 8, "Dropout"),
        ("xraynet", 5, 150, 9, "Dropout"),
    ],
)
def test_the_layer_is_the_last_that_tells_places_apart(
    name: str, depth: int | None, size: int, side: int, layers_after: str
) -> None:
    layers = specs.layers_of(name, 2 if name == "xraynet" else 8, depth, "reshi" if depth else None)
    model = build.build(layers, size)
    index = gradcam.feature_layer(model)
    assert model.layers[index].output.shape[1:3] == (side, side)
    assert type(model.layers[index + 1]).__name__ == layers_after
    later = [layer for layer in model.layers[index + 1 :] if isinstance(layer, keras.layers.Activation)]
    assert all(len(layer.output.shape) == 2 or layer.output.shape[1] < 8 for layer in later)


def test_where_no_map_is_fine_enough_the_first_stands() -> None:
    layers = (specs.Conv(2, 1, stride=2), specs.Relu(), specs.Conv(2, 1, stride=2), specs.Relu(), *SOFTMAX[2:])
    assert gradcam.feature_layer(build.build(layers, 8)) == 1


@pytest.fixture(scope="module")
def explained() -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """80 images of noise, ids 20 to 99."""
    keras.utils.set_random_seed(0)
    model = build.build((specs.Conv(4, 3), specs.BatchNorm(), *SOFTMAX[1:]), 12)
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
    model = build.build(SOFTMAX, 8)
    pixels = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3), np.uint8)
    probabilities = model(pixels.astype(np.float32) / 255).numpy()
    monkeypatch.setattr(gradcam, "MEASURED", most)
    arrays = gradcam.explain(model, pixels, (np.arange(80), probabilities.argmax(axis=1), probabilities))
    assert arrays["measured/id"].tolist() == list(range(0, 80, 80 // kept))
    assert arrays["measured/map"].shape == (kept, 8, 8)
    assert arrays["mistakes/map"].shape == (0, 8, 8)
