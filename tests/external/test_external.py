"""External test sets: which images are used, what is computed on them, and which results are of the present nets."""

import json
from pathlib import Path

import built
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from serving.promotable import write_net
from synthetic_runs import params_with

from cnnstudy import trained
from cnnstudy.config.checks import contradictions
from cnnstudy.config.schema import Params
from cnnstudy.data import ingest, samples
from cnnstudy.data.decode import Decoded
from cnnstudy.evaluation.intervals import gap_interval
from cnnstudy.external import results, run
from cnnstudy.tracking.keys import directory_md5
from cnnstudy.workspace import paths

SET, SIDE = "faces-elsewhere", 32
OWN = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}


def write(name: str, images: np.ndarray, labels: list[str], splits: list[str] | None = None) -> None:
    """Write the files of a study or a set; every image is a group of its own."""
    rows = [
        (i, label, "", "", "synthetic", f"{label}/{i}", f"{name}{i}", SIDE, SIDE, "RGB", 1)
        for i, label in enumerate(labels)
    ]
    paths.samples(name).parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=list(samples.COLUMNS)).to_csv(paths.samples(name), index=False)
    np.save(paths.images(name), images)
    if splits:
        pd.DataFrame({"id": range(len(splits)), "split": splits}).to_csv(paths.splits(name), index=False)


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of 40 images with an untrained net of two seeds, and a set with copies and an unknown class."""
    root = tmp_path_factory.mktemp("external")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        params = params_with(("alexnet",), seeds=[0, 1])
        own = noise(40, 0)
        labels = [built.FACES[i % 8] for i in range(40)]
        write("faces", own, labels, ["train", "val", "tune", "test", "dropped"] * 8)
        # 24 images from elsewhere, then copies of images in train, tune and test, and one of another class.
        images = np.concatenate([noise(24, 1), own[[0, 2, 3]], noise(1, 2)])
        write(SET, images, [*labels[:24], "anger", "disgust", "fear", "bored"])
        for phase in params.phases("alexnet"):
            for seed in params.seeds:
                file = paths.weights(paths.seed("alexnet", phase, seed))
                file.parent.mkdir(parents=True)
                write_net(params, "alexnet", file)
        paths.run_metrics("alexnet").parent.mkdir(parents=True)
        paths.run_metrics("alexnet").write_text(json.dumps({phase: {"test": OWN} for phase in ("base", "tuned")}))
        run.test_nets(params, SET)
    return root


@pytest.fixture
def params(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(workspace)
    return params_with(("alexnet",), seeds=[0, 1])


def test_copies_of_own_images_and_unknown_classes_are_left_out_and_counted(params: Params) -> None:
    found = results.read(SET)
    assert (found["study"], found["images"], found["without_class"], found["copies"]) == ("faces", 28, 1, 3)
    assert found["by_class"] == dict.fromkeys(built.FACES, 3)


def test_the_metrics_are_those_of_the_nets_predictions(params: Params) -> None:
    ids = [*range(24)]
    images, table = np.load(paths.images(SET))[ids], samples.read_samples(SET).iloc[ids]
    labels = np.array([built.FACES.index(name) for name in table["label"]])
    model = trained.load(params, "alexnet", paths.seed("alexnet", "tuned", 1))
    predicted = model.predict(images.astype(np.float32) / 255, verbose=0)
    for phase in ("base", "tuned"):
        found = results.read(SET)["runs"]["alexnet"][phase]
        assert found["n"] == 24
        assert found["accuracy_seeds"][1] == pytest.approx((predicted.argmax(axis=1) == labels).mean())
        assert found["drop"] == pytest.approx(0.5 - found["accuracy"])
        assert (found["drop_low"], found["drop_high"]) == pytest.approx(gap_interval(OWN, found))
    listed = pd.read_csv(paths.external_plots(SET) / "predictions.csv")
    assert listed.groupby(["run", "phase", "seed"]).size().tolist() == [24] * 4
    mine = listed[(listed["phase"] == "tuned") & (listed["seed"] == 1)]
    assert mine["predicted"].tolist() == [built.FACES[i] for i in predicted.argmax(axis=1)]
    np.testing.assert_allclose(mine["probability"], predicted.max(axis=1), atol=1e-5)
    assert (paths.external_plots(SET) / "samples.png").stat().st_size > 1000


def test_results_of_other_nets_are_not_those_of_a_run(params: Params) -> None:
    models = {phase: directory_md5(paths.phase("alexnet", phase)) for phase in ("base", "tuned")}
    tuned = results.read(SET)["runs"]["alexnet"]["tuned"]
    assert results.of_run(params, "alexnet", models) == {SET: tuned}
    assert results.of_run(params, "alexnet", models | {"tuned": "another"}) == {}
    assert results.of_run(params.model_copy(update={"external": {}}), "alexnet", models) == {}


def test_a_set_of_one_class_tests_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = params_with(("alexnet",))
    write("faces", noise(40, 0), [built.FACES[i % 8] for i in range(40)], ["train", "test"] * 20)
    write(SET, noise(5, 1), ["anger"] * 4 + ["bored"])
    run.test_nets(params, SET)
    found = results.read(SET)
    assert (found["runs"], found["by_class"]["anger"], found["without_class"]) == ({}, 4, 1)


def test_a_synthetic_set_shows_other_persons_than_the_study() -> None:
    params = built.params()
    found = ingest.find(params.of_external(SET), SET)
    assert [each.path for each in found.candidates[:3]] == [
        "train/anger/00000",
        "train/anger/00001",
        "train/contempt/00000",
    ]
    own = ingest.find(params, "faces")
    one, other = found.read(found.candidates[0]), own.read(own.candidates[0])
    assert isinstance(one, Decoded)
    assert isinstance(other, Decoded)
    assert not np.array_equal(one.pixels, other.pixels)


def test_a_synthetic_set_has_the_classes_that_its_generator_knows() -> None:
    changed = {"normal": ["normal"], "pneumonia": ["pneumonia"]}
    source = {"format": "synthetic", "path": "src/cnnstudy/data/synth"}
    external = {"other": {"study": "xray", "source": source, "synthetic": {"generator": "xrays", "images": 2}}}
    params = built.params(studies__xray__classes=changed, studies__xray__positive="pneumonia", external=external)
    found = ingest.find(params.of_external("other"), "other")
    assert {each.label for each in found.candidates} == {"normal"}


def test_a_set_may_spell_the_classes_in_its_own_way(tmp_path: Path) -> None:
    for folder in ("positive", "negative", "doubtful"):
        (tmp_path / folder).mkdir()
        Image.fromarray(noise(1, len(folder))[0]).save(tmp_path / folder / "a.png")
    source = {"format": "folders", "path": str(tmp_path)}
    spelt = {"covid": ["positive"], "normal": ["negative"]}
    external = {"other": {"study": "xray", "source": source, "classes": spelt}}
    params = built.params(external=external)
    found = ingest.find(params.of_external("other"), "other")
    assert {each.path: each.label for each in found.candidates if not each.reason} == {
        "negative/a.png": "normal",
        "positive/a.png": "covid",
    }
    assert found.unknown == {"doubtful": 1}


def test_a_set_has_no_classes_of_its_own() -> None:
    source = {"format": "synthetic", "path": "src/cnnstudy/data/synth"}
    external = {"other": {"study": "xray", "source": source, "classes": {"cold": ["cold"]}}}
    found = contradictions(built.params(external=external))
    assert ("external.other.classes", "cold", "classes of xray: normal, covid") in found
