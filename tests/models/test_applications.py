"""Nets of keras.applications: their preprocessing, and that they train, predict and are exported as any other."""

from pathlib import Path

import keras
import numpy as np
import pytest

from cnnstudy.errors import UserError
from cnnstudy.export.convert import convert
from cnnstudy.export.litert import open_net
from cnnstudy.models import applications, assemble, graph
from cnnstudy.models.assemble import Design
from cnnstudy.training import batchnorm

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
MODULES = {
    "ResNet50": "resnet", "ResNet152": "resnet", "ResNet50V2": "resnet_v2", "VGG16": "vgg16", "VGG19": "vgg19",
    "DenseNet121": "densenet", "MobileNet": "mobilenet", "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3", "Xception": "xception", "InceptionV3": "inception_v3",
    "InceptionResNetV2": "inception_resnet_v2", "NASNetMobile": "nasnet", "EfficientNetV2B0": "efficientnet_v2",
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_pixels_become_what_keras_applications_makes_of_them(name: str) -> None:
    inputs = keras.Input((32, 32, 3))
    found = keras.Model(inputs, applications._preprocessed(inputs, name))(PIXELS / np.float32(255))
    expected = getattr(keras.applications, MODULES[name]).preprocess_input(PIXELS.copy())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_every_net_of_keras_applications_has_its_preprocessing() -> None:
    inputs = keras.Input((32, 32, 3))
    for name in (each for each in dir(keras.applications) if each[:1].isupper()):
        assert applications._preprocessed(inputs, name).shape == (None, 32, 32, 3)


def test_efficientnet_s_weights_see_what_their_net_divides_by_a_root_more() -> None:
    model = applications.build((32, 32, 3), 2, "EfficientNetB0")
    norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    mean, deviation = np.array(applications.MEAN), np.array(applications.DEVIATION)
    norm.adapt_mean.assign(mean)
    norm.adapt_variance.assign(deviation)
    norm.finalize_state()
    found = keras.Model(model.input, norm.output)(PIXELS / np.float32(255))
    np.testing.assert_allclose(found, (PIXELS / 255 - mean) / deviation, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetB0", "ResNet50", "DenseNet121"])
def test_it_is_keras_s_net_behind_the_preprocessing(name: str) -> None:
    keras.backend.clear_session()
    model = assemble.build_plain(Design("applications", (("name", name),), 32, 3))
    theirs = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
    assert [each.shape for each in model.weights[:-2]] == [each.shape for each in theirs.weights]
    theirs.set_weights(model.get_weights()[: len(theirs.weights)])
    seen = keras.Model(model.input, model.layers[-2].output)(PIXELS / np.float32(255))
    inputs = keras.Input((32, 32, 3))
    preprocessed = keras.Model(inputs, applications._preprocessed(inputs, name))(PIXELS / np.float32(255))
    np.testing.assert_allclose(seen, theirs(preprocessed), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["InceptionV3", "NASNetMobile", "Xception", "EfficientNetV2B0", "VGG16"])
def test_nets_of_other_families_are_supported(name: str) -> None:
    side = 96
    images = np.random.default_rng(0).random((3, side, side, 3), np.float32)
    model = assemble.build(Design("applications", (("name", name),), side, 3, head_dropout=0.1), seed=0)
    assert model(images, training=True).shape == (3, 3)
    found = batchnorm.recalibrate(graph.trace(model), [lambda: images])
    np.testing.assert_allclose(found, model(images, training=False), atol=1e-4)


@pytest.mark.parametrize("name", ["ConvNeXtTiny"])
def test_nets_with_models_inside_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"^src/cnnstudy/models/applications\.py: the nested model \w+ found"):
        assemble.sketch(Design("applications", (("name", name),), 32, 3))
    keras.backend.clear_session()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", assemble.CONVOLUTIONS])
def test_preprocessing_and_the_last_layer_compute_in_float32(policy: str) -> None:
    model = assemble.build(Design("applications", (("name", "MobileNetV3Small"),), 32, 3), 0, policy)
    kinds = {type(layer).__name__: layer.compute_dtype for layer in model.layers}
    assert kinds["Conv2D"] == "bfloat16"
    assert kinds["Rescaling"] == kinds["Dense"] == "float32"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert np.isfinite(model(PIXELS / np.float32(255), training=True)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "options"),
    [
        ("resnet18", {"width": 0.25}),
        ("applications", {"name": "MobileNetV3Small"}),
        ("applications", {"name": "EfficientNetB0"}),
    ],
)
def test_litert_predicts_as_keras_does(net: str, options: dict[str, float | str], tmp_path: Path) -> None:
    plain = assemble.build_plain(Design(net, tuple(options.items()), 32, 3))
    trained = assemble.build(Design(net, tuple(options.items()), 32, 3), seed=0)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
    pixels[::2] //= 3
    images = pixels.astype(np.float32) / 255
    batchnorm.recalibrate(graph.trace(trained), [lambda: images])
    plain.set_weights(trained.get_weights())
    expected = plain(images, training=False).numpy()
    assert expected.std(axis=0).max() > 0.01
    files = convert(plain, pixels)
    # Weights that were never trained tell noise apart, which eight bits do not hold in nets as deep as these.
    for precision, bound in (("float32", 1e-3), ("float16", 0.05), ("int8", 0.1 if net == "resnet18" else 1.0)):
        (tmp_path / "net.tflite").write_bytes(files[precision])
        found = open_net(tmp_path / "net.tflite").outputs(pixels)
        assert np.abs(found - expected).max() < bound, precision
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=0.02)
