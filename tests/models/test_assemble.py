"""From a net's file to a model: its layers and initial weights are Keras's, and what is not supported is refused."""

from importlib import import_module
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from nets import design

from cnnstudy.errors import UserError
from cnnstudy.models import assemble, graph
from cnnstudy.models.table import layer_table

IMAGES = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
NETS: list[tuple[str, int, dict[str, Any]]] = [
    ("alexnet", 8, {}), ("vggnet", 7, {}), ("mobilenet", 8, {}), ("resnet18", 8, {"width": 0.25}),
    ("xraynet", 2, {"depth": 1, "widths": "reshi"}), ("xraynet", 2, {"depth": 4, "widths": "reshi"}),
]  # fmt: skip


@pytest.mark.parametrize(("net", "classes", "options"), NETS)
@pytest.mark.parametrize("side", [32, 43])
def test_a_net_is_trained_with_the_layers_and_the_weights_that_keras_gives_it(
    net: str, classes: int, options: dict[str, Any], side: int
) -> None:
    made = design(net, classes, side, **options)
    keras.backend.clear_session()
    model = assemble.build(made, seed=7)
    keras.backend.clear_session()
    keras.utils.set_random_seed(7)
    theirs = import_module(f"cnnstudy.models.{net}").build((side, side, 3), classes, **options)
    keras.backend.clear_session()
    plain = assemble.build_plain(made)
    assert all(type(layer).__module__.startswith("keras.") for layer in plain.layers)
    assert layer_table(model).equals(layer_table(theirs))
    assert layer_table(plain).equals(layer_table(theirs))
    assert [each.path for each in model.weights] == [each.path for each in plain.weights]
    if net == "resnet18":
        return  # its layers are copied in another order than they are written, and so have other random numbers
    for one, other in zip(model.variables, theirs.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    images = np.random.default_rng(0).random((4, side, side, 3), np.float32)
    np.testing.assert_allclose(model(images, training=False), theirs(images, training=False), atol=1e-6)


@pytest.mark.parametrize("net", ["alexnet", "vggnet", "mobilenet", "resnet18"])
def test_every_weight_gets_a_gradient(net: str) -> None:
    model = assemble.build(design(net, 8, 32), seed=0)
    with tf.GradientTape() as tape:
        outputs = model(IMAGES, training=True)
        loss = keras.losses.sparse_categorical_crossentropy(np.arange(4), outputs)
    assert all(gradient is not None for gradient in tape.gradient(loss, model.trainable_variables))
    np.testing.assert_allclose(outputs.numpy().sum(axis=1), 1, rtol=1e-5)


def test_mobilenet_trains_by_the_faster_operations() -> None:
    model = assemble.build(design("mobilenet", 8, 32), seed=0)
    step = tf.function(lambda images: model(images, training=True), jit_compile=False)
    used = [
        each.type for each in step.get_concrete_function(tf.TensorSpec((None, None, None, 3))).graph.get_operations()
    ]
    assert [used.count(name) for name in ("FusedBatchNormV3", "Conv2D", "MatMul")] == [27, 1, 13 + 1]


def test_a_sketch_has_no_values() -> None:
    keras.backend.clear_session()
    sketch = assemble.sketch(design("xraynet", 2, 4096, depth=1))  # half a terabyte
    assert layer_table(sketch)["parameters"].sum() > 1e11
    keras.backend.clear_session()


def test_another_dropout_changes_rates_and_nothing_else() -> None:
    made, halved = (
        assemble.build_plain(assemble.Design("alexnet", (), 32, 8, dropout=factor)) for factor in (1.0, 0.5)
    )
    assert layer_table(made).equals(layer_table(halved))
    rates = [
        (one.rate, other.rate) for one, other in zip(made.layers, halved.layers, strict=True) if hasattr(one, "rate")
    ]
    assert rates == [(0.2, 0.1)] * 5 + [(0.5, 0.25)] * 2


def test_a_dropout_before_the_head_adds_a_row_and_no_parameters() -> None:
    plain, noisy = (
        layer_table(assemble.build_plain(assemble.Design("mobilenet", (), 64, 8, 0.5, rate))) for rate in (0.0, 0.3)
    )
    assert noisy[["type", "shape"]].to_numpy().tolist()[-3:] == [
        ["GlobalAveragePooling2D", "1024"],
        ["Dropout", "1024"],
        ["Dense", "8"],
    ]
    assert noisy.drop(len(noisy) - 2).reset_index(drop=True).equals(plain)
    model = assemble.build(assemble.Design("mobilenet", (), 64, 8, 0.5, 0.3), seed=0)
    assert model.layers[-2].rate == 0.15


@pytest.mark.parametrize(
    ("net", "options", "first"),
    [
        ("alexnet", {}, "Flatten"), ("vggnet", {}, "Flatten"), ("mobilenet", {}, "GlobalAveragePooling2D"),
        ("xraynet", {"depth": 3, "widths": "reshi"}, "Flatten"), ("resnet18", {}, "GlobalAveragePooling2D"),
        ("applications", {"name": "EfficientNetB0"}, "GlobalAveragePooling2D"),
        ("applications", {"name": "MobileNetV3Small"}, "GlobalAveragePooling2D"),
    ],
)  # fmt: skip
def test_frozen_features_end_where_the_maps_end(net: str, options: dict[str, Any], first: str) -> None:
    model = assemble.sketch(design(net, 2, 32, **options))
    assemble.freeze(model, "features")
    found = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    trained = [layer.trainable for layer in found]
    assert type(found[trained.index(True)]).__name__ == first
    assert trained == sorted(trained)
    assert "BatchNormalization" not in [
        type(layer).__name__ for layer in found[trained.index(True) :] if len(layer.output.shape) == 4
    ]


def test_layers_are_frozen_by_number_and_by_name() -> None:
    for frozen in (3, "third"):
        model = functional(keras.layers.Conv2D(4, 3), keras.layers.ReLU(), keras.layers.Conv2D(4, 3, name="third"))
        assemble.freeze(model, frozen)
        assert [layer.trainable for layer in model.layers[1:]] == [False] * 3 + [True] * 2
    assemble.freeze(model := functional(), 0)
    assert all(layer.trainable for layer in model.layers)


@pytest.mark.parametrize("frozen", ["fourth", "last", 3, 100])
def test_what_cannot_be_frozen_is_said(frozen: int | str) -> None:
    model = functional(keras.layers.Conv2D(4, 3, name="first"))
    allowed = "none, features, a number below 3, or a layer: first, mean"
    with pytest.raises(UserError, match=rf"^params\.yaml: frozen: {frozen!r} found; allowed: {allowed}$"):
        assemble.freeze(model, frozen)


def test_a_net_without_maps_has_features_up_to_its_last_layer() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Dense(4)(keras.layers.Reshape((64, 3))(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))
    assemble.freeze(model, "features")
    assert [layer.trainable for layer in model.layers[1:]] == [False, False, False, True]


def test_features_may_end_with_an_operation() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.ops.mean(keras.layers.Conv2D(4, 3)(inputs), axis=(1, 2))
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))
    assemble.freeze(model, "features")
    assert [layer.trainable for layer in model.layers[1:]] == [False, True]


def functional(*hidden: keras.Layer) -> keras.Model:
    """Hidden layers, a mean over the image, and a dense layer of two classes."""
    inputs = x = keras.Input((8, 8, 3))
    for layer in (
        *hidden,
        keras.layers.GlobalAveragePooling2D(name="mean"),
        keras.layers.Dense(2, "softmax", name="last"),
    ):
        x = layer(x)
    return keras.Model(inputs, x)


def net_of(monkeypatch: pytest.MonkeyPatch, model: keras.Model, classes: int = 2) -> keras.Model:
    """Return the assembled form of a net whose build function returns `model`."""
    from cnnstudy.models import alexnet

    monkeypatch.setattr(alexnet, "build", lambda *_: model)
    return assemble.build(design("alexnet", classes, 8), seed=0)


def twice() -> keras.Model:
    norm, inputs = keras.layers.BatchNormalization(name="norm"), keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(norm(keras.layers.ReLU()(norm(inputs))))
    return keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))


def nested() -> keras.Model:
    inner = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)], name="inner")
    return functional(inner)


def two_inputs() -> keras.Model:
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()(inputs))
    return keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))


def two_outputs_inside() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    rows = keras.layers.Reshape((64, 3))(inputs)
    x, state = keras.layers.GRU(4, return_state=True, name="memory")(rows)
    return keras.Model(inputs, keras.layers.Dense(2, "softmax")(keras.layers.Add()([x, state])))


def ends_with(*layers: keras.Layer) -> keras.Model:
    inputs = x = keras.Input((8, 8, 3))
    for layer in (keras.layers.Flatten(), *layers):
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (twice, "the BatchNormalization norm called twice found; allowed: a layer for each call"),
        (nested, "the nested model inner found; allowed: layers only"),
        (two_inputs, "2 inputs and 1 outputs found; allowed: one of each"),
        (two_outputs_inside, "several outputs of the layer memory found; allowed: one"),
        (
            lambda: functional(keras.layers.BatchNormalization(1, name="norm")),
            "the axis 1 of the BatchNormalization norm found; allowed: -1",
        ),
        (lambda: ends_with(keras.layers.Dense(2)), "Dense(2, 'linear') as the last layer found"),
        (lambda: ends_with(keras.layers.Dense(3, "softmax")), "Dense(3, 'softmax') as the last layer found"),
        (lambda: ends_with(keras.layers.Dense(2), keras.layers.Softmax()), "Softmax() as the last layer found"),
        (
            lambda: ends_with(keras.layers.Reshape((8, 8, 3)), keras.layers.Dense(2, "softmax")),
            "Dense(2, 'softmax') as the last layer found; allowed: Dense(2, 'softmax') or Dense(1, 'sigmoid'), of a",
        ),
    ],
)
def test_a_net_of_another_kind_is_refused_in_a_line(make: Any, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as caught:
        net_of(monkeypatch, make())
    assert str(caught.value).startswith(f"src/cnnstudy/models/alexnet.py: {problem}")
    assert "\n" not in str(caught.value)


def test_one_sigmoid_is_for_two_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    for classes in (2, 8):
        keras.backend.clear_session()
        made = ends_with(keras.layers.Dense(1, "sigmoid"))
        if classes == 2:
            assert net_of(monkeypatch, made).output_shape == (None, 1)
        else:
            with pytest.raises(
                UserError, match=r"Dense\(1, 'sigmoid'\) as the last layer .* Dense\(8, 'softmax'\), of"
            ):
                net_of(monkeypatch, made, classes)


def test_a_sequential_net_is_one_of_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")
    model = net_of(monkeypatch, keras.Sequential([keras.Input((8, 8, 3)), *layers]))
    assert len(graph.trace(model).steps) == 3
    assert model(IMAGES[:, :8, :8], training=False).shape == (4, 2)


@pytest.mark.parametrize(
    ("net", "classes", "options", "line"),
    [
        ("alexnet", 8, {"depth": 3}, "unexpected keyword argument 'depth'"),
        ("xraynet", 8, {}, "8 classes found; allowed: 2, since the net has one output"),
        ("xraynet", 2, {"depth": 7}, "depth: 7 found; allowed: 1 to 6"),
        ("xraynet", 2, {"widths": "other"}, "widths: 'other' found; allowed: report, reshi"),
        ("resnet18", 8, {"width": 0}, "width: 0 found; allowed: more than 0"),
        ("resnet18", 8, {"width": "wide"}, "width: 'wide' found; allowed: more than 0"),
        ("applications", 8, {"name": "ResNet5"}, "name: 'ResNet5' found; allowed: ConvNeXtBase, "),
        ("applications", 8, {"name": 5}, "name: 5 found; allowed: ConvNeXtBase, "),
        ("applications", 8, {"name": "InceptionV3"}, "Computed output size would be zero or negative"),
    ],
)
def test_options_that_a_net_refuses_are_said_in_a_line(
    net: str, classes: int, options: dict[str, Any], line: str
) -> None:
    made = assemble.Design(net, tuple(options.items()), 32, classes, key="runs.mine.options")
    with pytest.raises(UserError) as caught:
        assemble.build_plain(made)
    assert str(caught.value).startswith("params.yaml: runs.mine.options: ")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
