"""A net on several devices, compiled, and where an operation has no deterministic kind."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from training.small_net import bright_or_dark, trained, training

from cnnstudy.errors import UserError
from cnnstudy.models import layers
from cnnstudy.training import devices, environment, fit, loop

START = """
import sys
from cnnstudy.training import environment
environment.configure(1)
import keras, numpy as np, tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1]))
from training.small_net import ADAM, bright_or_dark, training, unkept
MUON = ADAM.model_copy(update={"optimizer": "muon"})
from cnnstudy.models import assemble
from cnnstudy.training import devices, loop
from cnnstudy.training.checkpoint import Checkpoint
from pathlib import Path
dataset = bright_or_dark()
data = training(dataset, rotation=20)

def net(*hidden):
    layers = keras.layers
    ends = layers.Activation("relu"), layers.GlobalAveragePooling2D(), layers.Dense(2, "softmax")
    return keras.Sequential([keras.Input((12, 12, 3)), layers.Conv2D(4, 3, padding="same"), *hidden, *ends])

def plain():
    return net()

def normed():
    return net(keras.layers.BatchNormalization())

def trained(make, strategy, settings=ADAM, schedule=loop.Schedule(8, 3, "none", 1), kept=None):
    keras.backend.clear_session()
    with strategy.scope():
        made = make()
        keras.utils.set_random_seed(1)
        model = assemble.faster(keras.Model(made.inputs[0], made.outputs[0]), schedule.policy)
        return model, loop.fit(model, data, dataset, settings, schedule, kept or unkept())

strategy = devices.strategy(tuple(tf.config.list_logical_devices("CPU")))
assert strategy.num_replicas_in_sync == int(sys.argv[1])
"""
EVEN = """
for make in (plain, normed):
    alone = trained(make, devices.strategy())
    both = trained(make, strategy)
    first = both[0].weights[0].value
    assert len(first.values) == 2
    np.testing.assert_array_equal(*(copy.numpy() for copy in first.values))
    if make is plain:  # BatchNorm's statistics are those of half a batch
        for one, other in zip(alone[0].get_weights(), both[0].get_weights(), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
        np.testing.assert_allclose(alone[1], both[1], atol=1e-4)
    else:
        assert all(np.isfinite(weight).all() for weight in both[0].get_weights())
        assert both[1]["loss"].iloc[-1] < both[1]["loss"].iloc[0]
one, other = (trained(plain, each, MUON)[0].get_weights() for each in (devices.strategy(), strategy))
for alone, both in zip(one, other, strict=True):
    np.testing.assert_allclose(alone, both, atol=1e-3)
print("the same")
"""
# A gradient that is no number on one of two copies only, under float16, whose loss is scaled.
OVERFLOW = """
from cnnstudy.training import precision
from cnnstudy.training.optimizers import Adam, Muon

for made in (lambda: Adam(0.01), lambda: Muon(0.01, 0.9, 0.99, 1e-3, 5.0)):
    for bad in (0, 1, None):
        with strategy.scope():
            kernel = keras.Variable(np.ones((4, 4), np.float32))
            optimizer = precision.scaled(made(), "mixed_float16")
            optimizer.build([kernel])

        @tf.function
        def step():
            def on_each():
                replica = tf.distribute.get_replica_context().replica_id_in_sync_group
                is_bad = tf.equal(replica, -1 if bad is None else bad)
                optimizer.apply([tf.where(is_bad, np.float32("inf"), tf.ones((4, 4)))], [kernel])
            strategy.run(on_each)

        step()
        first, second = (copy.numpy() for copy in kernel.value.values)
        np.testing.assert_array_equal(first, second)
        assert np.isfinite(first).all()
        assert (first == 1).all() == (bad is not None)
print("the same")
"""
# Neither 14 or 13 images nor a validation batch of 40 go alike to three copies; stopped, and taken up again.
UNEVEN = """
uneven = loop.Schedule(14, 3, "none", 1)
whole, rows = trained(normed, strategy, schedule=uneven)
for weight in whole.weights:
    first, *others = (copy.numpy() for copy in weight.value.values)
    assert all(np.array_equal(first, other) for other in others), weight.name

class Stopped(Exception): pass

def stop(row):
    raise Stopped

kept = Path(sys.argv[2], "kept.npz")
try:
    trained(normed, strategy, schedule=uneven, kept=Checkpoint(kept, 0, stop))
except Stopped:
    pass
again, later = trained(normed, strategy, schedule=uneven, kept=Checkpoint(kept, 0))
assert later.equals(rows)
for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
    np.testing.assert_array_equal(one, other)
print("the same")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "count"),
    [(EVEN, 2), (UNEVEN, 3), (OVERFLOW, 2)],
    ids=["even", "uneven", "overflow"],
)
def test_several_devices_train_as_one_does(script: str, count: int, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START + script, str(count), str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=600,
        env=os.environ | {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root / 'tests'}"},
    )  # fmt: skip
    assert done.stdout.endswith("the same\n"), done.stderr[-3000:]


def test_one_device_needs_no_strategy() -> None:
    assert devices.strategy() is tf.distribute.get_strategy()
    assert devices.strategy(tuple(tf.config.list_logical_devices("CPU"))).num_replicas_in_sync == 1


@pytest.mark.slow
@pytest.mark.parametrize("is_deterministic", [False, True])
def test_a_compiled_net_learns_the_same(is_deterministic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = bright_or_dark()
    data = training(dataset, rotation=20)
    asked: list[bool | None] = []
    function = tf.function

    def noted(*arguments: object, **settings: object) -> object:
        asked.append(settings.get("jit_compile"))  # type: ignore[arg-type]
        return function(*arguments, **settings)

    monkeypatch.setattr(tf, "function", noted)
    if is_deterministic:
        tf.config.experimental.enable_op_determinism()
    try:
        histories = [
            trained(dataset, data, schedule=loop.Schedule(16, 3, "none", 1, is_compiled=compiled))[1]
            for compiled in (False, True)
        ]
    finally:
        environment.allow_nondeterminism()
    assert True in asked
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=0.2)


def pooled() -> keras.Model:
    """A net with max pooling and depthwise convolutions, whose operations XLA could not make deterministic on a GPU."""
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.MaxPooling2D(2)(keras.layers.Activation("relu")(x))
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.MaxPooling2D(3, 2, padding="same")(x))
    return keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))


def test_a_compiled_net_with_pooling_learns_the_same_and_repeats_to_the_bit() -> None:
    dataset = bright_or_dark()
    data = training(dataset, level=1, rotation=20)
    plain = loop.Schedule(16, 2, "none", 1, augments_on_device=True, holds_images=True, steps_at_once=2)
    compiled = dataclasses.replace(plain, is_compiled=True)
    found = [trained(dataset, data, pooled, schedule=schedule) for schedule in (plain, compiled, compiled)]
    (_, first), (net, second), (again, third) = found
    ours = {layer.name.rstrip("_0123456789") for layer in net.layers if type(layer).__module__ == layers.__name__}
    assert ours >= {"max_pooling2d", "depthwise_conv2d"}
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=0.05)
    pd.testing.assert_frame_equal(second, third)
    for one, other in zip(net.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    file = tmp_path / "images.npy"
    file.write_bytes(b"1234")
    return file


def test_a_gpu_compiles_steps_holds_images_and_runs_several_steps(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [devices.compiles(setting) for setting in ("auto", "on", "off")] == [False, True, False]
    assert not devices.holds(images)
    assert devices.steps_at_once() == 1
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [SimpleNamespace(name="one")])
    assert [devices.compiles(setting) for setting in ("auto", "on", "off")] == [True, True, False]
    assert devices.holds(images)
    assert devices.steps_at_once() > 1
    monkeypatch.setattr(devices, "HELD", 3)
    assert not devices.holds(images)


def test_several_gpus_do_none_of_it(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["one", "another"])
    monkeypatch.setattr(devices, "strategy", lambda: SimpleNamespace(num_replicas_in_sync=2))
    assert [devices.compiles(setting) for setting in ("auto", "off")] == [False, False]
    assert not devices.holds(images)
    assert devices.steps_at_once() == 1
    with pytest.raises(UserError, match=r"compute\.jit: on found; allowed: auto or off on several GPUs"):
        devices.compiles("on")


def test_on_several_devices_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def train() -> None:
        raise tf.errors.UnimplementedError(None, None, "Graph\nA deterministic GPU implementation is not there.\n")

    monkeypatch.setattr(devices, "strategy", lambda: SimpleNamespace(num_replicas_in_sync=2))
    with pytest.raises(UserError, match=r"several GPUs: A deterministic GPU .*; allowed: one GPU"):
        fit.train_deterministically(train)


def test_where_an_operation_has_no_deterministic_kind_it_may_differ(capsys: pytest.CaptureFixture[str]) -> None:
    found: list[bool] = []

    def train() -> None:
        found.append(environment.is_deterministic())
        if found[-1]:
            raise tf.errors.UnimplementedError(None, None, "Graph\nA deterministic GPU implementation is not there.\n")

    tf.config.experimental.enable_op_determinism()
    try:
        fit.train_deterministically(train)
        assert found == [True, False]
        assert "warning: A deterministic GPU implementation is not there. Training without" in capsys.readouterr().err
    finally:
        environment.allow_nondeterminism()


def test_another_operation_that_is_not_there_is_an_error() -> None:
    def train() -> None:
        raise tf.errors.UnimplementedError(None, None, "no such thing")

    with pytest.raises(tf.errors.UnimplementedError):
        fit.train_deterministically(train)
