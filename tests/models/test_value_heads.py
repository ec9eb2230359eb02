"""Nets with a head for values, alone or beside that of the classes."""

import keras
import numpy as np
import pytest

from cnnstudy.models import assemble
from cnnstudy.models.assemble import Design

# The numbers of parameters that the authors' nets have with two outputs (Hewitt and Gunes 2018).
PUBLISHED = {"alexnet": 3_458_802, "vggnet": 3_746_866, "mobilenet": 3_230_914}


@pytest.mark.parametrize("net", PUBLISHED)
def test_the_published_counts(net: str) -> None:
    alone = assemble.sketch(Design(net, (), 128, 8, values=2, has_classes=False))
    assert alone.count_params() == PUBLISHED[net]
    classes, joint = assemble.sketch(Design(net, (), 128, 8)), assemble.sketch(Design(net, (), 128, 8, values=2))
    assert joint.count_params() - classes.count_params() == 2 * classes.layers[-1].kernel.shape[0] + 2


def joint(net: str = "xraynet", head_dropout: float = 0.0) -> keras.Model:
    keras.backend.clear_session()
    options = (("depth", 1),) if net == "xraynet" else ()
    design = Design(net, options, 32, 2, head_dropout=head_dropout, values=2, value_activation="tanh")
    return assemble.build(design, seed=0)


def test_the_parts_predict_what_the_whole_does() -> None:
    model, images = joint(), np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    outputs = model(images, training=False).numpy()
    classes, values = assemble.separated(outputs, 2)
    assert classes.shape == values.shape == (4, 2)
    np.testing.assert_allclose(classes.sum(axis=1), 1, atol=1e-6)
    assert (np.abs(values) <= 1).all()
    part = assemble.class_probabilities(assemble.class_part(model)(images, training=False).numpy())
    np.testing.assert_array_equal(part, classes)
    first, second = assemble.parts(model)(images, training=False)
    np.testing.assert_array_equal(second.numpy(), values)
    np.testing.assert_array_equal(assemble.class_probabilities(first.numpy()), classes)


def test_a_net_of_one_head_is_its_own_part() -> None:
    keras.backend.clear_session()
    model = assemble.sketch(Design("alexnet", (), 32, 8, values=2, has_classes=False))
    assert assemble.class_part(model) is model
    assert assemble.parts(model) is model
    assert model.output_shape == (None, 2)


def test_both_heads_are_trained_whatever_is_frozen() -> None:
    model = joint("alexnet")
    assemble.freeze(model, "features")
    trained = {layer.name for layer in model.layers if layer.trainable_variables}
    assert assemble.VALUE_HEAD in trained
    assert {layer.name for layer in model.layers[-3:] if layer.trainable_variables} <= trained
    assert not any("conv2d" in name for name in trained)


def test_each_head_has_its_dropout() -> None:
    names = [layer.name for layer in joint(head_dropout=0.3).layers]
    assert {"head_dropout", "head_dropout_values"} <= set(names)


def test_heads_stay_in_float32() -> None:
    keras.backend.clear_session()
    model = assemble.build(Design("alexnet", (), 32, 8, values=2), 0, "mixed_bfloat16")
    assert {layer.name: layer.dtype_policy.name for layer in model.layers[-2:]} == {
        model.layers[-2].name: "float32",
        model.layers[-1].name: "float32",
    }
    assert model.output.dtype == "float32"
