"""From sources to samples.csv, images.npy and rejects.csv; nothing is lost on the way."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from cnnstudy.data import ingest
from cnnstudy.errors import UserError
from cnnstudy.params import Params

ROOT = Path(__file__).parents[2]
CONTENT: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


def params(study: str, form: str, path: Path, **settings: Any) -> Params:
    content = copy.deepcopy(CONTENT)
    content["sources"][study] = {"format": form, "path": str(path)}
    content[study] |= {"image_size": 64 if study == "xray" else 32, **settings}
    return Params.model_validate(content)


def picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (12, 9), grey).save(path)


def ingested(settings: Params, study: Any, target: Path) -> tuple[ingest.Found, ingest.Ingested, np.ndarray]:
    found = ingest.find(settings, study)
    tables = ingest.write(found, settings.source(study).format, settings.study(study).image_size, target)
    images = np.load(target, allow_pickle=False)
    assert len(found.candidates) == len(tables.samples) + len(tables.rejects)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    return found, tables, images


def test_folders_in_any_case_with_their_splits(tmp_path: Path) -> None:
    for grey, name in enumerate(
        ["TRAIN/Anger/a b#1.png", "TRAIN/happiness/ü.png", "Tune/ANGRY/c.png", "valid/sad/d.png"]
    ):
        picture(tmp_path / "source" / name, 50 * grey)
    (tmp_path / "source/TRAIN/Anger/.DS_Store").write_bytes(b"x")
    (tmp_path / "source/TRAIN/Anger/page.jpg").write_text("<html>")
    picture(tmp_path / "source/TRAIN/bored/e.png", 9)
    picture(tmp_path / "source/stray.png", 9)
    picture(tmp_path / "elsewhere.png", 9)
    (tmp_path / "source/TRAIN/Anger/link.png").symlink_to(tmp_path / "elsewhere.png")
    _, tables, images = ingested(params("faces", "folders", tmp_path / "source"), "faces", tmp_path / "out/images.npy")
    assert tables.samples[["label", "hint", "path"]].to_numpy().tolist() == [
        ["anger", "train", "TRAIN/Anger/a b#1.png"],
        ["happy", "train", "TRAIN/happiness/ü.png"],
        ["anger", "tune", "Tune/ANGRY/c.png"],
        ["sad", "val", "valid/sad/d.png"],
    ]
    assert images[:, 0, 0, 0].tolist() == [0, 50, 100, 150]
    assert tables.rejects.to_numpy().tolist() == [
        ["TRAIN/Anger/.DS_Store", "a hidden file"],
        ["TRAIN/Anger/link.png", "a link out of the folder"],
        ["TRAIN/Anger/page.jpg", "not an image"],
        ["TRAIN/bored/e.png", "label 'bored' is not in faces.classes"],
        ["stray.png", "not in a class folder"],
    ]


def test_folders_without_splits(tmp_path: Path) -> None:
    for name in ("NORMAL/1.png", "COVID/2.png"):
        picture(tmp_path / "source" / name, 0)
    _, tables, _ = ingested(params("xray", "folders", tmp_path / "source"), "xray", tmp_path / "out/images.npy")
    assert tables.samples[["label", "hint"]].to_numpy().tolist() == [["covid", ""], ["normal", ""]]


def test_numbered_folders_are_refused_unless_named(tmp_path: Path) -> None:
    for name in ("0/a.png", "1/b.png"):
        picture(tmp_path / "source" / name, 0)
    with pytest.raises(UserError, match="class folders 0, 1 are numbers"):
        ingest.find(params("faces", "folders", tmp_path / "source"), "faces")
    named = params("faces", "folders", tmp_path / "source", classes={"neutral": ["0"], "happy": ["1"]})
    assert [candidate.label for candidate in ingest.find(named, "faces").candidates] == ["neutral", "happy"]


def test_a_legend_counts_every_row_and_file(tmp_path: Path) -> None:
    root = tmp_path / "source"
    for name in ("one.jpg", "two.jpg", "both.jpg", "unnamed.jpg"):
        picture(root / "images" / name, 0)
    rows = ["a,one.jpg,HAPPINESS", "a,two.jpg,sadness", "b,two.jpg,SADNESS", "a,both.jpg,fear", "b,both.jpg,anger"]
    (root / "legend.csv").write_text(
        "\n".join(["user.id,image,emotion", *rows, "a,gone.jpg,anger", "a,../x.jpg,anger"])
    )
    _, tables, _ = ingested(params("faces", "legend", root), "faces", tmp_path / "out/images.npy")
    assert tables.samples[["label", "path"]].to_numpy().tolist() == [
        ["happy", "images/one.jpg"],
        ["sad", "images/two.jpg"],
    ]
    assert dict(tables.rejects.to_numpy().tolist()) == {
        "images/../x.jpg": "not a file name",
        "images/both.jpg": "under several labels: anger, fear",
        "images/gone.jpg": "no such file",
        "images/unnamed.jpg": "no row of legend.csv names it",
    }


@pytest.mark.parametrize("study", ["faces", "xray"])
def test_drawn_images_are_the_same_on_every_run_and_more_change_none(study: Any, tmp_path: Path) -> None:
    drawn = {"train": 2, "tune": 1, "test": 1}
    few, again, more = (
        ingested(
            params(study, "drawn", tmp_path, drawn={**drawn, "train": count}), study, tmp_path / str(i) / "images.npy"
        )
        for i, count in enumerate((2, 2, 3))
    )
    assert few[1].samples.equals(again[1].samples)
    np.testing.assert_array_equal(few[2], again[2])
    assert len(set(few[1].samples["sha256"])) == len(few[2])
    assert set(few[1].samples["sha256"]) < set(more[1].samples["sha256"])


def test_a_missing_folder_and_one_without_a_usable_image_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sources.faces.path: .* is no folder"):
        ingest.find(params("faces", "folders", tmp_path / "absent"), "faces")
    picture(tmp_path / "source/bored/a.png", 0)
    with pytest.raises(UserError, match=r"labels found: bored"):
        ingest.find(params("faces", "folders", tmp_path / "source"), "faces")
    (tmp_path / "broken/anger").mkdir(parents=True)
    (tmp_path / "broken/anger/a.png").write_text("no image")
    settings = params("faces", "folders", tmp_path / "broken")
    with pytest.raises(UserError, match="none of 1 files is a usable image"):
        ingest.write(ingest.find(settings, "faces"), "folders", 32, tmp_path / "out/images.npy")
    assert list((tmp_path / "out").iterdir()) == []
