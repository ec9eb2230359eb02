"""A small trained net as LiteRT files: what they hold, and that they answer as Keras does."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from training.small_net import bright_or_dark, trained, training

from cnnstudy.errors import UserError
from cnnstudy.export import run as export
from cnnstudy.export.convert import _equalized, convert
from cnnstudy.export.litert import PRECISIONS, open_net
from cnnstudy.training.pipeline import scaled

DATA = bright_or_dark()
SRC = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the net in each precision, and what Keras answers to the images of val."""
    folder = tmp_path_factory.mktemp("exported")
    model, _ = trained(DATA, training(DATA))
    for precision, content in convert(model, DATA.images[DATA.ids("train")]).items():
        (folder / f"{precision}.tflite").write_bytes(content)
    np.save(folder / "keras.npy", model(scaled(DATA.images[DATA.ids("val")]), training=False).numpy())
    return folder


@pytest.fixture(scope="module")
def expected(files: Path) -> np.ndarray:
    """Return the Keras model's probabilities on val: float32 [n, 2]."""
    loaded: np.ndarray = np.load(files / "keras.npy")
    return loaded


@pytest.mark.parametrize(("precision", "difference"), [("float32", 1e-6), ("float16", 2e-3), ("int8", 0.03)])
def test_it_answers_as_keras_does(files: Path, expected: np.ndarray, precision: str, difference: float) -> None:
    found = open_net(files / f"{precision}.tflite").outputs(DATA.images[DATA.ids("val")])
    assert (found.dtype, found.shape) == (np.float32, expected.shape)
    assert np.abs(found - expected).max() < difference
    assert expected.std() > 0.1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_phone_finds_the_function_by_its_name(files: Path, precision: str) -> None:
    signatures = open_net(files / f"{precision}.tflite").interpreter.get_signature_list()
    assert signatures == {"serving_default": {"inputs": ["pixels"], "outputs": ["output_0"]}}


def test_what_it_is_worth_is_measured(files: Path, expected: np.ndarray) -> None:
    ids = DATA.ids("val")
    images, targets = DATA.images[ids], DATA.targets(ids)
    found = export.measure(files / "float32.tflite", images, targets, expected)
    assert found["bytes"] == (files / "float32.tflite").stat().st_size
    assert found["accuracy"] == (expected.argmax(axis=1) == DATA.labels[ids]).mean()
    assert found["agreement"] == 1
    swapped = export.measure(files / "float32.tflite", images, targets, expected[:, ::-1])
    assert swapped["agreement"] == 0
    assert swapped["largest_difference"] == pytest.approx(np.abs(expected[:, 0] - expected[:, 1]).max(), abs=1e-5)


def test_int8_takes_pixels_and_holds_integers_only(files: Path) -> None:
    interpreter = open_net(files / "int8.tflite").interpreter
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert source["dtype"] == target["dtype"] == np.uint8
    assert source["quantization"] == (1, 0)
    assert {each["dtype"] for each in interpreter.get_tensor_details()} <= {np.uint8, np.int8, np.int32}
    (kernel,) = [each for each in interpreter.get_tensor_details() if each["shape"].tolist() == [4, 3, 3, 3]]
    assert len(kernel["quantization_parameters"]["scales"]) == 4  # a channel each


def test_channels_reach_equally_far_before_a_depthwise_convolution_and_answers_stay() -> None:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    hidden = [layers.Conv2D(8, 1), layers.BatchNormalization(), layers.Activation("relu"), layers.DepthwiseConv2D(3)]
    model = keras.Sequential([keras.Input((12, 12, 3)), *hidden, layers.Flatten(), layers.Dense(2)])
    model.layers[1].gamma.assign(np.geomspace(0.5, 1, 8))
    model.layers[1].beta.assign(np.geomspace(0.5, 1, 8))
    images = scaled(DATA.images)
    equalized = _equalized(model, images)
    np.testing.assert_allclose(equalized(images), model(images), atol=1e-5)
    reach = [keras.Sequential(net.layers[:3])(images).numpy().max(axis=(0, 1, 2)) for net in (model, equalized)]
    assert reach[0].max() > 2 * reach[0].min() > 0
    np.testing.assert_allclose(reach[1], reach[0].max(), rtol=1e-5)


def separable(scale: bool, shares: bool, bound: float | None) -> keras.Model:
    """A depthwise convolution behind BatchNorm and ReLU; where it `shares`, an addition takes the ReLU's output too."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((12, 12, 3))
    x = layers.BatchNormalization(scale=scale)(layers.Conv2D(8, 1)(inputs))
    x = layers.ReLU(bound)(x)
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    y = layers.Add()([x, y]) if shares else y
    model = keras.Model(inputs, layers.Dense(2, "softmax")(layers.GlobalAveragePooling2D()(y)))
    model.layers[2].beta.assign(np.geomspace(0.5, 1, 8))
    return model


@pytest.mark.parametrize(
    ("scale", "shares", "bound", "changes"),
    [(True, False, None, True), (True, True, None, False), (False, False, None, False), (True, False, 6.0, False)],
)
def test_channels_stay_where_a_factor_would_not_cancel(
    scale: bool, shares: bool, bound: float | None, changes: bool
) -> None:
    model, images = separable(scale, shares, bound), scaled(DATA.images)
    equalized = _equalized(model, images)
    np.testing.assert_allclose(equalized(images), model(images), atol=1e-6)
    same = [np.array_equal(*pair) for pair in zip(equalized.get_weights(), model.get_weights(), strict=True)]
    assert all(same) is not changes


def test_adapted_statistics_of_the_input_are_exported() -> None:
    inputs = keras.Input((12, 12, 3))
    norm = keras.layers.Normalization()
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(norm(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))
    images = scaled(DATA.images)
    norm.adapt(images)
    np.testing.assert_allclose(_equalized(model, images)(images), model(images), atol=1e-6)


def test_weights_are_stored_in_float16(files: Path) -> None:
    kinds = {each["dtype"] for each in open_net(files / "float16.tflite").interpreter.get_tensor_details()}
    assert np.float16 in kinds


def test_a_file_runs_without_tensorflow(files: Path) -> None:
    code = (
        "import sys, numpy as np\nfrom pathlib import Path\nfrom cnnstudy.export.litert import open_net\n"
        "net = open_net(Path(sys.argv[1]))\nprint(net.outputs(np.zeros((2, 12, 12, 3), np.uint8)).shape)\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(files / "int8.tflite")], cwd=SRC, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "(2, 2)\n", "")


def test_what_is_no_litert_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        open_net(tmp_path / "int8.tflite")
    (tmp_path / "int8.tflite").write_text("something else")
    with pytest.raises(UserError, match=r"int8\.tflite: not a LiteRT file: [^\n]+$"):
        open_net(tmp_path / "int8.tflite")


def test_ranges_are_measured_on_images_of_every_class() -> None:
    labels = np.repeat(np.arange(8), 150)
    chosen = export.calibration(np.arange(1200) + 7) - 7
    assert (len(chosen), len(set(chosen))) == (export.CALIBRATION, export.CALIBRATION)
    assert np.bincount(labels[chosen]).min() >= export.CALIBRATION // 8 - 1
    assert export.calibration(np.array([3, 5, 9])).tolist() == [3, 5, 9]
