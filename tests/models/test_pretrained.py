"""A start from a file: of what kinds, that all layers but the head are the file's, and what does not fit is refused."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import built
import h5py
import keras
import numpy as np
import pytest

from cnnstudy.config.checks import contradictions
from cnnstudy.errors import UserError
from cnnstudy.models import assemble, pretrained
from cnnstudy.models.assemble import Design

SMALL = Design("resnet18", (("width", 0.05),), 32, 3)
PIXELS = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)

Write = Callable[[keras.Model, Path], Path]


def whole(model: keras.Model, folder: Path) -> Path:
    model.save(folder / "net.keras")
    return folder / "net.keras"


def weights(model: keras.Model, folder: Path) -> Path:
    model.save_weights(folder / "net.weights.h5")
    return folder / "net.weights.h5"


def legacy(model: keras.Model, folder: Path) -> Path:
    """HDF5 as keras.applications has it: weights by the layers' names, in the file's root."""
    model.save(folder / "whole.h5")
    with h5py.File(folder / "whole.h5") as source, h5py.File(folder / "net.h5", "w") as target:
        for name in source["model_weights"]:
            source.copy(f"model_weights/{name}", target)
        target.attrs.update(source["model_weights"].attrs)
    return folder / "net.h5"


def legacy_whole(model: keras.Model, folder: Path) -> Path:
    model.save(folder / "whole.h5")
    return folder / "whole.h5"


KINDS = pytest.mark.parametrize("write", [whole, weights, legacy, legacy_whole])


def random_weights(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return model


def started(design: Design, file: Path) -> tuple[keras.Model, str]:
    """A net built as a training builds it, its starting weights from a file, and what is said of that."""
    keras.backend.clear_session()
    plain = assemble.build_plain(design)
    keras.backend.clear_session()
    model = assemble.build(design, seed=5)
    return model, pretrained.load(model, plain, file)


@KINDS
def test_all_layers_but_the_last_are_the_file_s(write: Write, tmp_path: Path) -> None:
    keras.backend.clear_session()
    source = random_weights(assemble.build_plain(SMALL))
    file = write(source, tmp_path)
    model, said = started(SMALL, file)
    untouched = assemble.build(SMALL, seed=5)
    expected = source.get_weights()[:-2] + untouched.get_weights()[-2:]
    for found, one in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, one)
    count = sum(each.size for each in expected[:-2])
    assert said == f"{file}: 40 of 41 layers, {count:,} numbers; dense starts at random"


@KINDS
def test_a_file_of_other_classes_and_other_noise_fits(write: Write, tmp_path: Path) -> None:
    keras.backend.clear_session()
    source = random_weights(assemble.build_plain(Design("resnet18", (("width", 0.05),), 64, 7)))
    model, _ = started(Design("resnet18", (("width", 0.05),), 32, 3, head_dropout=0.3), write(source, tmp_path))
    for found, one in zip(model.get_weights()[:-2], source.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(found, one)


@KINDS
def test_a_net_of_two_heads_starts_from_a_file_of_classes(write: Write, tmp_path: Path) -> None:
    """The file's net has other classes; both heads of the new net start at random."""
    keras.backend.clear_session()
    source = random_weights(assemble.build_plain(dataclasses.replace(SMALL, classes=5)))
    model, said = started(dataclasses.replace(SMALL, values=2), write(source, tmp_path))
    body = source.get_weights()[:-2]  # without its only head
    for found, one in zip(model.get_weights(), body, strict=False):
        np.testing.assert_array_equal(found, one)
    assert len(model.get_weights()) == len(body) + 4
    assert said.endswith("dense, values start at random")


def published(name: str, folder: Path, write: Write) -> tuple[keras.Model, Path]:
    """A net of keras.applications with random weights, with its 1,000 classes, in a file."""
    keras.backend.clear_session()
    source = random_weights(getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3)))
    return source, write(source, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "write"),
    [
        *(("MobileNetV3Small", write) for write in (whole, weights, legacy, legacy_whole)),
        ("EfficientNetB0", whole),
        ("ResNet50", weights),
        ("DenseNet121", legacy),
    ],
)
def test_a_net_of_keras_applications_starts_from_its_file(name: str, write: Write, tmp_path: Path) -> None:
    source, file = published(name, tmp_path, write)
    model, _ = started(Design("applications", (("name", name),), 32, 3), file)
    theirs = {layer.name: layer for layer in source.layers}
    ours = [layer for layer in model.layers[:-1] if layer.get_weights()]
    assert len(ours) > 50
    for layer in ours:
        same = theirs[layer.name] if layer.name in theirs else theirs[layer.name.rpartition("_")[0]]
        for found, one in zip(layer.get_weights(), same.get_weights(), strict=True):
            if found.dtype.kind == "f":  # not the number of batches that a Normalization has seen
                np.testing.assert_array_equal(found, one, err_msg=layer.name)


@pytest.mark.parametrize("write", [whole, weights, legacy])
def test_statistics_of_the_input_are_used_that_were_loaded(write: Write, tmp_path: Path) -> None:
    """EfficientNet's Normalization layer keeps a copy of its weights, which must be updated too."""
    keras.backend.clear_session()
    design = Design("applications", (("name", "EfficientNetB0"),), 32, 3)
    source = assemble.build_plain(design)
    norm = next(layer for layer in source.layers if isinstance(layer, keras.layers.Normalization))
    norm.adapt_mean.assign([0.1, 0.2, 0.3])
    norm.adapt_variance.assign([0.4, 0.5, 0.6])
    norm.finalize_state()
    expected = keras.Model(source.input, norm.output)(PIXELS)
    model, _ = started(design, write(source, tmp_path))
    norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    np.testing.assert_allclose(keras.Model(model.input, norm.output)(PIXELS), expected, rtol=1e-6)


@KINDS
@pytest.mark.parametrize(
    ("options", "layer"),
    [({"width": 0.1}, r"conv2d \(\(3, 3, 3, 6\)\)"), (None, r"\w+ \([^\n]*\)")],
    ids=["width", "another net"],
)
def test_a_file_of_another_net_is_refused_with_the_first_layer_that_does_not_fit(
    write: Write, options: dict[str, Any] | None, layer: str, tmp_path: Path
) -> None:
    keras.backend.clear_session()
    file = write(assemble.build_plain(SMALL), tmp_path)
    design = Design("resnet18", tuple(options.items()), 32, 3) if options else Design("mobilenet", (), 32, 3)
    with pytest.raises(UserError, match=rf"^{file}: no weights for the layer {layer}; allowed: those of this net$"):
        started(design, file)


@pytest.mark.parametrize(
    ("name", "content"),
    [("net.keras", b"none"), ("net.weights.h5", b"none"), ("net.h5", b"none"), ("net.h5", b"")],
)
def test_a_broken_file_is_refused_in_a_line(name: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        started(SMALL, file)
    assert str(caught.value).startswith(f"{file}: ")
    assert str(caught.value).endswith(f"; allowed: {pretrained.KINDS}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_of_another_kind_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"net\.keras: no such file; allowed: \.keras, \.weights\.h5, or the \.h5 of"):
        started(SMALL, tmp_path / "net.keras")
    keras.backend.clear_session()
    file = weights(assemble.build_plain(SMALL), tmp_path)
    shutil.copy(file, tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"net\.pt: [^\n]+; allowed: \.keras, \.weights\.h5"):
        started(SMALL, tmp_path / "net.pt")


def test_a_whole_net_that_runs_code_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(
        keras.layers.Lambda(lambda each: 2 * each, output_shape=(32, 32, 3))(inputs)
    )
    keras.Model(inputs, keras.layers.Dense(3, "softmax")(x)).save(tmp_path / "net.keras")
    with pytest.raises(UserError, match=r"net\.keras: [^\n]*[Ll]ambda[^\n]*; allowed: \.keras"):
        started(SMALL, tmp_path / "net.keras")


def test_a_run_that_starts_from_a_file_may_be_fine_tuned_and_exported() -> None:
    run = built.content()["runs"]["alexnet"] | {"weights": "start.keras"}
    params = built.params(
        pretrained={"started": run},
        finetuned={"started": {"study": "faces", "policy": "augmented"}},
        exported={"started": {"study": "faces", "phase": "tuned"}},
        ablations={},
    )
    assert contradictions(params) == []
    assert params.phases("started") == ("base", "tuned")
    assert params.stage("train", "started") == "train-pretrained@started"
    assert params.stage("finetune", "started") == "finetune@started"


def test_a_run_starts_at_random_or_from_a_file() -> None:
    run = built.content()["runs"]["alexnet"] | {"weights": "start.keras"}
    assert ("pretrained.alexnet", "alexnet", "a run that is not under runs too") in contradictions(
        built.params(pretrained={"alexnet": run})
    )
