"""Keras agrees with the layer tables, row for row, at any input size."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnnstudy.nets import build, specs

NETS = [("alexnet", 8, None, None), ("vggnet", 7, None, None), ("mobilenet", 8, None, None)] + [
    ("xraynet", 2, depth, widths) for depth, widths in ((1, "reshi"), (3, "reshi"), (5, "report"), (6, "reshi"))
]


@pytest.mark.parametrize(("net", "classes", "depth", "widths"), NETS)
@pytest.mark.parametrize("size", [64, 75])
def test_keras_builds_what_the_table_says(net: str, classes: int, depth: int, widths: str, size: int) -> None:
    layers = specs.layers_of(net, classes, depth, widths)
    keras.backend.clear_session()
    model = build.build(layers, size)
    keras.backend.clear_session()
    plain = build.build_plain(layers, size)
    assert [layer.path for layer in model.weights] == [layer.path for layer in plain.weights]
    assert all(type(layer).__module__.startswith("keras.") for layer in plain.layers)
    rows = specs.layer_table(layers, size)
    assert [(type(layer).__name__, layer.output.shape[1:], layer.count_params()) for layer in model.layers] == [
        (row.type, row.shape, row.parameters) for row in rows
    ]
    trainable = [sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights) for layer in model.layers]
    assert trainable == [row.trainable for row in rows]


@pytest.mark.parametrize("net", ["alexnet", "vggnet", "mobilenet"])
def test_every_weight_gets_a_gradient(net: str) -> None:
    keras.utils.set_random_seed(0)
    model = build.build(specs.layers_of(net, 8), 32)
    with tf.GradientTape() as tape:
        outputs = model(np.random.default_rng(0).random((4, 32, 32, 3), np.float32), training=True)
        loss = keras.losses.sparse_categorical_crossentropy(np.arange(4), outputs)
    assert all(gradient is not None for gradient in tape.gradient(loss, model.trainable_variables))
    np.testing.assert_allclose(outputs.numpy().sum(axis=1), 1, rtol=1e-5)


def test_max_pooling_comes_before_batchnorm_in_the_xray_net() -> None:
    kinds = [row.type for row in specs.layer_table(specs.layers_of("xraynet", 2, 1, "report"), 64)]
    assert kinds[:5] == ["Conv2D", "MaxPooling2D", "BatchNormalization", "Activation", "Dropout"]


def test_mobilenet_trains_by_the_faster_operations() -> None:
    model = build.build(specs.layers_of("mobilenet", 8), 32)
    step = tf.function(lambda images: model(images, training=True), jit_compile=False)
    used = [
        each.type for each in step.get_concrete_function(tf.TensorSpec((None, None, None, 3))).graph.get_operations()
    ]
    assert [used.count(name) for name in ("FusedBatchNormV3", "Conv2D", "MatMul")] == [27, 1, 13 + 1]
