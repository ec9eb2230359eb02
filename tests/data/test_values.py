"""Values from sources: where each format has them, what is missing, and images of no class."""

from pathlib import Path
from typing import Any

import built
import numpy as np
import pandas as pd
import pytest
from data.test_ingest import ingested
from data.test_sources import FIRST, table, write_image
from PIL import Image

from cnnstudy.config.checks import contradictions
from cnnstudy.config.schema import TASKS, Params
from cnnstudy.data import samples, splits
from cnnstudy.data.audit import findings
from cnnstudy.data.sources import require_source, synthetic
from cnnstudy.data.synth import faces
from cnnstudy.errors import UserError
from cnnstudy.workspace import paths

VALUES = {"valence": [-1.0, 1.0], "arousal": [-1.0, 1.0]}


def params(form: str, path: Path, **settings: Any) -> Params:
    settings = {"values": VALUES, "unclassed": ["none"], "source": {"format": form, "path": str(path)}} | settings
    return built.params(**{f"studies__faces__{key}": value for key, value in settings.items()})


def of_samples(found: pd.DataFrame) -> dict[str, tuple[Any, ...]]:
    """The label and the values of each image, by file name; None for a missing value."""
    numbers = found.reindex(columns=["label", "value_valence", "value_arousal"]).astype(object)
    rows = numbers.where(numbers.notna(), None).itertuples(index=False, name=None)
    return dict(zip(found["path"].map(lambda path: path.rpartition("/")[2]), rows, strict=True))


def reasons(tables: pd.DataFrame) -> dict[str, str]:
    return {path.rpartition("/")[2]: reason for path, reason in tables.itertuples(index=False, name=None)}


def test_affectnet_s_first_release(tmp_path: Path) -> None:
    lists, images = tmp_path / "s/Manually_Annotated_file_lists", tmp_path / "s/Manually_Annotated_Images"

    def row(name: str, expression: int, valence: object, arousal: object) -> dict[str, Any]:
        write_image(images / name)
        return {"subDirectory_filePath": name, "expression": expression, "valence": valence, "arousal": arousal}

    table(
        lists / "training.csv", FIRST,
        row("1/happy.jpg", 1, 0.5, 0.25), row("1/none.jpg", 8, -0.5, -2), row("1/nothing.jpg", 8, -2, -2),
        row("1/class.jpg", 0, -2, -2), row("1/wide.jpg", 1, 1.5, 0), row("1/word.jpg", 1, "high", 0),
        row("1/uncertain.jpg", 9, 0.1, 0.1),
    )  # fmt: skip
    table(lists / "validation.csv", FIRST, row("2/sad.jpg", 2, -0.75, 0))
    _, tables, _ = ingested(params("affectnet", tmp_path / "s"), "faces", tmp_path / "out/images.npy")
    assert of_samples(tables.samples) == {
        "happy.jpg": ("happy", 0.5, 0.25),
        "none.jpg": ("", -0.5, None),
        "class.jpg": ("neutral", None, None),
        "sad.jpg": ("sad", -0.75, 0.0),
    }
    assert reasons(tables.rejects) == {
        "nothing.jpg": "'none' is no class, and the image has no values",
        "wide.jpg": "valence '1.5' is not a number from -1 to 1",
        "word.jpg": "valence 'high' is not a number from -1 to 1",
        "uncertain.jpg": "label 'uncertain' is not in studies.faces.classes",
    }


def test_affectnet_s_newer_release(tmp_path: Path) -> None:
    numbers: dict[str, dict[str, object]] = {
        "0": {"exp": "1", "val": "0.5", "aro": 0.25},
        "1": {"exp": "2"},
        "2": {"exp": "3", "val": "x", "aro": 0.1},
    }
    for name, annotations in numbers.items():
        write_image(tmp_path / f"s/train_set/images/{name}.jpg")
        (tmp_path / "s/train_set/annotations").mkdir(exist_ok=True)
        for kind, value in annotations.items():
            np.save(tmp_path / f"s/train_set/annotations/{name}_{kind}.npy", np.array(value))
    _, tables, _ = ingested(params("affectnet", tmp_path / "s"), "faces", tmp_path / "out/images.npy")
    assert of_samples(tables.samples) == {"0.jpg": ("happy", 0.5, 0.25), "1.jpg": ("sad", None, None)}
    assert reasons(tables.rejects) == {"2.jpg": "valence 'x' is not a number from -1 to 1"}


def test_class_folders_beside_a_table(tmp_path: Path) -> None:
    for name in ("train/happy/a.png", "train/none/b.png", "test/sad/c.png", "test/none/d.png"):
        write_image(tmp_path / "s" / name)
    rows = [("train/happy/a.png", 0.5, 0.25), ("train/none/b.png", -0.5, ""), ("gone.png", 0, 0)]
    table(tmp_path / "s/valence_arousal.csv", ("path", "valence", "arousal"), *rows)
    _, tables, _ = ingested(params("folders", tmp_path / "s"), "faces", tmp_path / "out/images.npy")
    assert of_samples(tables.samples) == {
        "a.png": ("happy", 0.5, 0.25),
        "b.png": ("", -0.5, None),
        "c.png": ("sad", None, None),
    }
    assert reasons(tables.rejects)["d.png"] == "'none' is no class, and the image has no values"


def test_fer2013_with_columns_of_values(tmp_path: Path) -> None:
    pixels = " ".join(["7"] * 4)
    table(
        tmp_path / "s/fer2013.csv", ("emotion", "pixels", "Usage", "Valence", "arousal"),
        (3, pixels, "Training", 0.5, 0.25), (4, pixels, "Training", "", ""),
    )  # fmt: skip
    _, tables, _ = ingested(params("fer2013", tmp_path / "s"), "faces", tmp_path / "out/images.npy")
    assert sorted(of_samples(tables.samples).values()) == [("happy", 0.5, 0.25), ("sad", None, None)]


def test_rows_of_a_table_that_give_a_file_two_values(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "s" / name)
    rows = [("a.png", "happy", 0.5), ("a.png", "happy", 0.7), ("b.png", "sad", 0.25), ("b.png", "sad", 0.25)]
    table(tmp_path / "s/labels.csv", ("file", "label", "valence"), *rows)
    _, tables, _ = ingested(params("csv", tmp_path / "s"), "faces", tmp_path / "out/images.npy")
    assert of_samples(tables.samples) == {"b.png": ("sad", 0.25, None)}
    assert reasons(tables.rejects)["a.png"] == "valence '0.5 and 0.7' is not a number from -1 to 1"


def test_without_values_nothing_changes(tmp_path: Path) -> None:
    for name in ("happy/a.png", "none/b.png"):
        write_image(tmp_path / "s" / name)
    settings = params("folders", tmp_path / "s", values={}, unclassed=[])
    _, tables, _ = ingested(settings, "faces", tmp_path / "out/images.npy")
    assert not [column for column in tables.samples if column.startswith("value_")]
    assert reasons(tables.rejects) == {"b.png": "label 'none' is not in studies.faces.classes"}


def test_faces_of_no_class_leave_the_others_alone(tmp_path: Path) -> None:
    made = {"generator": "faces", "train": 6, "tune": 0, "test": 4, "options": {}}
    plain = params("synthetic", Path("src/cnnstudy/data/synth"), synthetic=made, values={}, unclassed=[])
    more = params("synthetic", Path("src/cnnstudy/data/synth"), synthetic=made | {"unclassed": 0.25})
    tables, images = {}, {}
    for name, settings in (("plain", plain), ("more", more)):
        _, found, images[name] = ingested(settings, "faces", tmp_path / f"{name}/images.npy")
        copies = np.arange(len(found.samples))
        split = splits.assign("faces", found.samples, copies, settings.studies["faces"].split, 0)
        tables[name] = found.samples.assign(split=split["split"])
    count = len(tables["plain"])
    assert (tables["more"]["label"] == "").sum() == len(tables["more"]) - count == round(0.25 * count)
    classed = (tables["more"]["label"] != "").to_numpy()
    np.testing.assert_array_equal(images["more"][classed], images["plain"])
    assert tables["more"].loc[classed, "split"].tolist() == tables["plain"]["split"].tolist()
    assert set(tables["more"]["split"][~classed]) == {"train", "val", "tune", "test"}


def test_each_task_uses_the_images_that_it_can_learn_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = paths.samples("faces").parent
    folder.mkdir(parents=True)
    table = pd.DataFrame({"id": range(4), "label": ["sad", "", "happy", "sad"], "value_valence": [0.5, -0.5, None, 1]})
    samples.numbered(table, {"happy": [], "sad": []}).to_csv(paths.samples("faces"), index=False)
    pd.DataFrame({"id": range(4), "split": ["train", "train", "val", "test"]}).to_csv(
        paths.splits("faces"), index=False
    )
    np.save(paths.images("faces"), np.zeros((4, 2, 2, 3), np.uint8))
    used = {
        name: samples.load("faces", {"happy": [], "sad": []}, task, ("valence",) * task.has_values)
        for name, task in TASKS.items()
    }  # fmt: skip
    assert used["classification"].splits.tolist() == ["train", "", "val", "test"]
    assert used["regression"].splits.tolist() == ["train", "train", "", "test"]
    assert used["joint"].splits.tolist() == ["train", "train", "val", "test"]
    assert used["joint"].labels.tolist() == [1, samples.NO_CLASS, 0, 1]
    np.testing.assert_array_equal(used["joint"].targets(np.array([1, 3])), [[samples.NO_CLASS, -0.5], [1, 1]])
    assert used["classification"].values is None


def test_the_values_of_synthetic_faces_follow_their_expressions() -> None:
    found = {
        label: np.array([list(faces.values(label, "train", i, 0).values()) for i in range(60)])
        for label in (*faces.CLASSES, faces.UNCLASSED)
    }
    for label, rows in found.items():
        assert (np.abs(rows) <= 1).all()
        if label != faces.UNCLASSED:
            assert np.abs(rows.mean(axis=0) - faces.CIRCUMPLEX[label]).max() < 0.3
            assert rows.std(axis=0).min() > 0.03
    assert found["happy"][:, 0].mean() > 0.4
    assert found["sad"][:, 1].mean() < -0.15
    assert faces.values("happy", "train", 3, 0) == faces.values("happy", "train", 3, 0)
    assert faces.values("happy", "train", 3, 0) != faces.values("happy", "train", 3, 1)


def test_a_face_of_no_class_shows_two_expressions(tmp_path: Path) -> None:
    face = faces.specify(faces.UNCLASSED, "train", 0, 0)
    assert face.kind == "unclassed"
    assert face.blend in faces.CLASSES
    assert faces.render(face, 32).shape == (32, 32, 3)
    settings = params("synthetic", Path("src/cnnstudy/data/synth"), values={"arousal": [-1.0, 1.0]})
    (first, *_) = synthetic.find(settings, "faces")
    assert set(first.values) == {"arousal"}


def test_a_copy_of_no_class_is_no_conflict(tmp_path: Path) -> None:
    """The audit and the splits agree that the image has one class."""
    for name in ("happy/a.png", "happy/b.png", "sad/c.png", "sad/d.png", "none/e.png"):
        write_image(tmp_path / "s" / name, {"a": 10, "e": 10}.get(name[-5], 20 * ord(name[-5]) % 256))
    rows = [("none/e.png", 0.5, 0.5)]
    table(tmp_path / "s/valence_arousal.csv", ("path", "valence", "arousal"), *rows)
    _, tables, images = ingested(params("folders", tmp_path / "s"), "faces", tmp_path / "out/images.npy")
    copies = pd.factorize(tables.samples["sha256"])[0]
    assert len(set(copies)) == 4
    settings = params("folders", tmp_path / "s").studies["faces"].split.model_copy(update={"leaks": "keep"})
    with pytest.raises(UserError, match="class"):  # too few images for every split
        splits.assign("faces", tables.samples, copies, settings, 0)
    whole = tables.samples.assign(split="train", copy=copies, family=copies, reason="")
    found = findings.audit(whole, images, pd.DataFrame(columns=["path", "reason"]), {"happy": [], "sad": []})
    assert not [each for each in found["findings"]["used"] if each["check"] == "conflict"]


def test_images_of_no_class_alone_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "s/none/a.png")
    table(tmp_path / "s/valence_arousal.csv", ("path", "valence", "arousal"), ("none/a.png", 0.5, 0.5))
    settings = params("folders", tmp_path / "s")
    _, tables, _ = ingested(settings, "faces", tmp_path / "out/images.npy")
    with pytest.raises(UserError, match="no image has a class; allowed: at least two classes"):
        splits.assign("faces", tables.samples, np.arange(1), settings.studies["faces"].split, 0)


def test_a_number_of_the_range_is_not_missing(tmp_path: Path) -> None:
    write_image(tmp_path / "s/happy/a.png")
    table(tmp_path / "s/valence_arousal.csv", ("path", "mood"), ("happy/a.png", -2))
    settings = params("folders", tmp_path / "s", values={"mood": [-5.0, 5.0]})
    _, tables, _ = ingested(settings, "faces", tmp_path / "out/images.npy")
    assert tables.samples["value_mood"].tolist() == [-2.0]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"values": {"valence": [1.0, -1.0]}}, "studies.faces.values.valence"),
        ({"values": {"split": [-1.0, 1.0]}}, "studies.faces.values"),
        ({"values": {}, "unclassed": ["none"]}, "studies.faces.unclassed"),
        (
            {"values": {"mood": [1.0, 9.0]}, "training": built.TRAINING | {"value_activation": "tanh"}},
            "studies.faces.training.value_activation",
        ),
    ],
)
def test_contradictions_are_found(changes: dict[str, Any], key: str) -> None:
    assert key in [found for found, *_ in contradictions(params("folders", Path("data/raw/faces"), **changes))]


def test_a_generator_must_know_the_values() -> None:
    settings = params("synthetic", Path("src/cnnstudy/data/synth"), values={"dominance": [-1.0, 1.0]})
    with pytest.raises(UserError, match=r"values.dominance: .* allowed: with synthetic data: valence, arousal"):
        require_source("studies.faces", settings.studies["faces"])


def test_images_of_grey_have_values_too(tmp_path: Path) -> None:
    (tmp_path / "s/happy").mkdir(parents=True)
    Image.new("L", (9, 9), 100).save(tmp_path / "s/happy/a.png")
    table(tmp_path / "s/happy/valence_arousal.csv", ("path", "valence"), ("a.png", 0.5))
    _, tables, _ = ingested(params("folders", tmp_path / "s"), "faces", tmp_path / "out/images.npy")
    assert of_samples(tables.samples) == {"a.png": ("happy", 0.5, None)}
