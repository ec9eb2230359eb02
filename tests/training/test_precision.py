"""Numbers of half the size in training; variables, what is kept and what predicts stay float32."""

from pathlib import Path

import keras
import numpy as np
import pytest
from training.small_net import RECALIBRATED, bright_or_dark, built, trained, training

from cnnstudy.models import assemble
from cnnstudy.training import inference, pipeline, precision


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_net_learns_in_half_the_bits_and_its_weights_predict_in_float32(policy: str, tmp_path: Path) -> None:
    dataset = bright_or_dark()
    data = training(dataset)
    model, history = trained(dataset, data, policy=policy)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert {layer.compute_dtype for layer in model.layers[1:-1]} == {policy.removeprefix("mixed_")}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.layers[-1].compute_dtype == "float32"
    plain = built()
    plain.set_weights(model.get_weights())
    assemble.set_float32(model)
    images = pipeline.scaled(dataset.images[:10])
    np.testing.assert_array_equal(model(images, training=False), plain(images, training=False))
    arrays = inference.predict_splits(plain, dataset, data, RECALIBRATED, "test")
    assert {array.dtype for name, array in arrays.items() if name.endswith("recalibrated")} == {np.dtype(np.float32)}
    assert (arrays["test/recalibrated"].argmax(axis=1) == arrays["test/label"]).mean() > 0.9


def test_half_the_bits_give_other_numbers_and_the_same_ones_twice() -> None:
    dataset = bright_or_dark()
    data = training(dataset)
    policies = ("float32", "mixed_bfloat16", "mixed_bfloat16", assemble.CONVOLUTIONS, assemble.CONVOLUTIONS)
    losses = [trained(dataset, data, policy=policy)[1]["loss"].tolist() for policy in policies]
    assert losses[0] != losses[1] == losses[2] != losses[3] == losses[4] != losses[0]


def test_convolutions_alone_may_be_in_bfloat16() -> None:
    model = built(policy=assemble.CONVOLUTIONS)
    inside = {type(layer).__name__: layer.compute_dtype for layer in model.layers}
    assert {name for name, dtype in inside.items() if dtype == "bfloat16"} == {"Conv2D"}
    assert {weight.dtype for weight in model.weights} == {"float32"}


def test_a_setting_is_taken_as_it_is() -> None:
    assert precision.policy("float32") == "float32"
    assert precision.policy("bfloat16") == assemble.CONVOLUTIONS
    assert precision.policy("float16") == "mixed_float16"


@pytest.mark.parametrize(
    ("features", "policy", "products"),
    [
        (["avx2", "fma"], "float32", "float32"),
        (["avx512f", "avx512_bf16"], assemble.CONVOLUTIONS, "float32"),
        (["amx_bf16", "amx_tile", "avx512_bf16"], assemble.CONVOLUTIONS, "bfloat16"),
    ],
)
def test_auto_on_a_cpu_takes_bfloat16_where_it_is_faster(
    features: list[str], policy: str, products: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_features", lambda: features)
    assert precision.policy("auto") == policy
    assert precision.product_dtype(policy) == products
    assert precision.product_dtype("float32") == "float32"


def test_auto_on_a_gpu_follows_its_generation() -> None:
    policies = {capability: precision.gpu_policy(capability) for capability in ((6, 1), (7, 5), (8, 0), (9, 0))}
    assert list(policies.values()) == ["float32", "mixed_float16", "mixed_bfloat16", "mixed_bfloat16"]


def test_only_float16_needs_its_loss_scaled() -> None:
    adam = keras.optimizers.Adam()
    assert precision.scaled(adam, "mixed_bfloat16") is precision.scaled(adam, "float32") is adam
    assert isinstance(precision.scaled(adam, "mixed_float16"), keras.optimizers.LossScaleOptimizer)
