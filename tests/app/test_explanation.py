"""Predictions that the app shows, computed without the interface."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from app.untrained import write_weights
from PIL import Image
from synthetic_runs import params_with, write_samples

from cnnstudy.app import explanation, interface
from cnnstudy.data.decode import UnreadableError
from cnnstudy.errors import UserError
from cnnstudy.models import assemble
from cnnstudy.training.pipeline import scaled


def red_or_green() -> explanation.LoadedNet:
    """A net that tells a red image from a green one."""
    layers = keras.layers
    hidden = layers.Conv2D(2, 1, use_bias=False), layers.Activation("relu"), layers.GlobalAveragePooling2D()
    inputs = x = keras.Input((8, 8, 3))
    for layer in (*hidden, layers.Dense(2, "softmax")):
        x = layer(x)
    model = assemble.faster(keras.Model(inputs, x))
    kernel = np.zeros((1, 1, 3, 2), np.float32)
    kernel[0, 0, 0, 0] = kernel[0, 0, 1, 1] = 1
    model.set_weights([kernel, 20 * np.eye(2, dtype=np.float32), np.zeros(2, np.float32)])
    return explanation.LoadedNet(model, ("red", "green"), 8)


def test_a_net_says_what_it_sees_and_where(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32, :32, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "red.png")
    found = explanation.predict(red_or_green(), tmp_path / "red.png")
    assert list(found.probabilities) == ["red", "green"]
    assert found.probabilities["red"] > 0.9
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.image.shape == found.gradcam.shape == (explanation.SHOWN, explanation.SHOWN, 3)
    colour = np.ptp(found.gradcam.astype(int), axis=2)  # the image is grey where nothing speaks for the prediction
    assert colour[:128, :128].min() > 100
    assert colour[-128:, -128:].max() == 0


def valued(has_classes: bool) -> explanation.LoadedNet:
    keras.backend.clear_session()
    design = assemble.Design("alexnet", (), 32, 3, values=2, value_activation="tanh", has_classes=has_classes)
    names = ("a", "b", "c") if has_classes else ()
    return explanation.LoadedNet(assemble.build(design, 0), names, 32, values=("valence", "arousal"))


@pytest.mark.parametrize("has_classes", [False, True])
def test_a_net_predicts_values(has_classes: bool, tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / "grey.png")
    found = explanation.predict(valued(has_classes), tmp_path / "grey.png")
    assert list(found.values) == ["valence", "arousal"]
    assert all(-1 <= value <= 1 for value in found.values.values())
    assert len(found.probabilities) == 3 * has_classes
    assert found.gradcam.shape == found.image.shape


def test_two_values_are_a_point_of_their_plane() -> None:
    drawn = interface.drawn_values({"valence": 0.5, "arousal": -3.0}, [[-1.0, 1.0], [-1.0, 1.0]])
    side = interface.PLANE
    assert "valence +0.50, arousal -3.00" in drawn
    assert f'cx="{0.75 * side:.1f}" cy="{side:.1f}"' in drawn  # within the plane
    assert "<svg" not in interface.drawn_values({"age": 30.0}, [[0.0, 100.0]])


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UnreadableError, match="not an image"):
        explanation.predict(red_or_green(), tmp_path / "text.png")


def test_a_run_is_opened_as_it_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = params_with(("alexnet", "xray-aug4"))
    write_samples(params, "xray")
    assert explanation.trained_runs(params) == []
    with pytest.raises(UserError, match=r"models/xray-aug4/base/seed0/model\.weights\.h5: no such file"):
        explanation.open_net(params, "xray-aug4")
    model = write_weights(params, "xray-aug4")
    assert explanation.trained_runs(params) == ["xray-aug4"]
    net = explanation.open_net(params, "xray-aug4")
    assert (net.classes, net.side) == (("normal", "covid"), 64)
    images = scaled(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8))
    # Of Keras's own layers, which round otherwise.
    np.testing.assert_allclose(net.model(images, training=False), model(images, training=False), rtol=1e-5)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = params_with(("xray-aug0",))
    with pytest.raises(UserError, match="no trained net; `make repro` trains them"):
        interface.serve(params, 7860)
    monkeypatch.setattr(interface, "trained_runs", lambda params: ["xray-aug0"])
    monkeypatch.setattr(interface.os, "environ", {})
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match="gradio: not in this environment; `make app` makes one that has it"):
        interface.serve(params, 7860)


@pytest.mark.parametrize(("study", "labels"), [("faces", 8), ("xray", 2)])
def test_examples_are_synthetic_and_new_to_every_net(
    study: str, labels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = params_with(("alexnet", "xray-aug4"))
    found = explanation.write_examples(params, study, tmp_path)
    assert len({file for file, _ in found}) == explanation.EXAMPLES
    assert len({label for _, label in found}) == labels
    side = params.studies[study].image_size
    with Image.open(found[0][0]) as image:
        assert (image.size, image.mode) == ((side, side), "RGB")
    others = params.studies["faces"].model_copy(update={"classes": {"calm": ["calm"], "loud": ["loud"]}})
    assert explanation.write_examples(params.model_copy(update={"studies": {"faces": others}}), "faces", tmp_path) == []
