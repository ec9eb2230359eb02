"""From sources to samples.csv, images.npy and rejects.csv; nothing is lost on the way."""

import os
from pathlib import Path
from typing import Any

import built
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnstudy.config.schema import Params
from cnnstudy.data import ingest, sources
from cnnstudy.errors import UserError

SPELLINGS = {name: [name] for name in built.FACES} | {"anger": ["angry"], "happy": ["happiness"], "sad": ["sadness"]}


def params(study: str, form: str, path: Path, **settings: Any) -> Params:
    settings = ({"classes": SPELLINGS} if study == "faces" else {}) | settings
    settings |= {"source": {"format": form, "path": str(path)}}
    return built.params(**{f"studies__{study}__{key}": value for key, value in settings.items()})


def write_image(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (12, 9), grey).save(path)


def ingested(settings: Params, study: str, target: Path) -> tuple[ingest.Found, ingest.Ingested, np.ndarray]:
    found = ingest.find(settings, study)
    tables = ingest.write(found, settings.studies[study].source.format, settings.studies[study].image_size, target)
    images = np.load(target, allow_pickle=False)
    assert len(found.candidates) == len(tables.samples) + len(tables.rejects)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    return found, tables, images


def test_folders_in_any_case_with_their_splits(tmp_path: Path) -> None:
    for grey, name in enumerate(
        ["TRAIN/Anger/a b#1.png", "TRAIN/happiness/ü.png", "Tune/ANGRY/c.png", "valid/sad/d.png"]
    ):
        write_image(tmp_path / "source" / name, 50 * grey)
    (tmp_path / "source/TRAIN/Anger/.DS_Store").write_bytes(b"x")
    (tmp_path / "source/TRAIN/Anger/page.jpg").write_text("<html>")
    write_image(tmp_path / "source/TRAIN/bored/e.png", 9)
    write_image(tmp_path / "source/stray.png", 9)
    write_image(tmp_path / "elsewhere.png", 9)
    (tmp_path / "source/TRAIN/Anger/link.png").symlink_to(tmp_path / "elsewhere.png")
    _, tables, images = ingested(params("faces", "folders", tmp_path / "source"), "faces", tmp_path / "out/images.npy")
    assert tables.samples[["label", "source_split", "path"]].to_numpy().tolist() == [
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
        ["TRAIN/bored/e.png", "label 'bored' is not in studies.faces.classes"],
        ["stray.png", "not in a class folder"],
    ]


def test_folders_without_splits(tmp_path: Path) -> None:
    for name in ("NORMAL/1.png", "COVID/2.png"):
        write_image(tmp_path / "source" / name, 0)
    _, tables, _ = ingested(params("xray", "folders", tmp_path / "source"), "xray", tmp_path / "out/images.npy")
    assert tables.samples[["label", "source_split"]].to_numpy().tolist() == [["covid", ""], ["normal", ""]]


def test_numbered_folders_are_refused_unless_named(tmp_path: Path) -> None:
    for name in ("0/a.png", "1/b.png"):
        write_image(tmp_path / "source" / name, 0)
    with pytest.raises(UserError, match="class folders 0, 1 are numbers"):
        ingest.find(params("faces", "folders", tmp_path / "source"), "faces")
    named = params("faces", "folders", tmp_path / "source", classes={"neutral": ["0"], "happy": ["1"]})
    assert [candidate.label for candidate in ingest.find(named, "faces").candidates] == ["neutral", "happy"]


def test_a_legend_counts_every_row_and_file(tmp_path: Path) -> None:
    root = tmp_path / "source"
    for name in ("one.jpg", "two.jpg", "both.jpg", "unnamed.jpg"):
        write_image(root / "images" / name, 0)
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
def test_synthetic_images_are_the_same_on_every_run_and_more_change_none(study: str, tmp_path: Path) -> None:
    counts = {"generator": study.replace("xray", "xrays"), "tune": 1, "test": 1, "options": {}}
    few, again, more = (
        ingested(
            params(study, "synthetic", tmp_path, synthetic=counts | {"train": count}),
            study,
            tmp_path / str(i) / "images.npy",
        )
        for i, count in enumerate((2, 2, 3))
    )
    assert few[1].samples.equals(again[1].samples)
    np.testing.assert_array_equal(few[2], again[2])
    assert len(set(few[1].samples["sha256"])) == len(few[2])
    assert (few[1].samples[["source", "width", "height", "mode", "bytes"]].nunique() == 1).all()
    assert set(few[1].samples["sha256"]) < set(more[1].samples["sha256"])


def test_a_missing_folder_and_one_without_a_usable_image_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"studies.faces.source.path: .* is not a folder"):
        ingest.find(params("faces", "folders", tmp_path / "absent"), "faces")
    write_image(tmp_path / "source/bored/a.png", 0)
    with pytest.raises(UserError, match=r"labels found: bored"):
        ingest.find(params("faces", "folders", tmp_path / "source"), "faces")
    (tmp_path / "broken/anger").mkdir(parents=True)
    (tmp_path / "broken/anger/a.png").write_text("no image")
    settings = params("faces", "folders", tmp_path / "broken")
    with pytest.raises(UserError, match="none of 1 files is a usable image"):
        ingest.write(ingest.find(settings, "faces"), "folders", 32, tmp_path / "out/images.npy")
    assert list((tmp_path / "out").iterdir()) == []


def test_where_no_file_can_be_taken_the_error_says_why(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / f"store/{name}.png", 0)
        (tmp_path / "source/anger").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"source/anger/{name}.png").symlink_to(tmp_path / f"store/{name}.png")
    with pytest.raises(UserError, match=r"\(a link out of the folder: 2, such as anger/a.png\); allowed: "):
        ingest.find(params("faces", "folders", tmp_path / "source"), "faces")


def test_a_process_that_the_system_kills_is_too_little_memory() -> None:
    with pytest.raises(MemoryError, match="was killed"):
        list(ingest._read_all(os._exit, [1]))  # type: ignore[arg-type, list-item]


def test_odd_names_and_links_are_rejected_and_stop_nothing(tmp_path: Path) -> None:
    root = tmp_path / "source"
    for name in ("anger/ok.png", "anger/a\nb.png", "anger/c\rd.png", "anger/.thumbs/e.png"):
        write_image(root / name, 0)
    os.mkfifo(root / "anger/pipe.png")
    (root / "anger/loop.png").symlink_to(root / "anger/loop.png")
    (root / "anger/nowhere.png").symlink_to(root / "anger/absent.png")
    (root / "happy").symlink_to(tmp_path)
    expected = {
        "anger/c\\rd.png": "a name that is not UTF-8 or holds a carriage return",
        "anger/.thumbs/e.png": "a hidden file",
        "anger/pipe.png": "not a regular file",
        "anger/loop.png": "a name or link that can't be followed",
        "anger/nowhere.png": "no such file",
        "happy": "a link out of the folder",
    }
    if os.name == "posix" and os.uname().sysname == "Linux":  # macOS refuses such a name itself
        Path(os.fsdecode(os.fsencode(root / "anger") + b"/\xff.png")).write_bytes(b"x")
        expected["anger/\\udcff.png"] = "a name that is not UTF-8 or holds a carriage return"
    _, tables, _ = ingested(params("faces", "folders", root), "faces", tmp_path / "out/images.npy")
    assert tables.samples["path"].tolist() == ["anger/a\nb.png", "anger/ok.png"]
    assert dict(tables.rejects.to_numpy().tolist()) == expected
    tables.rejects.to_csv(tmp_path / "rejects.csv", index=False)
    assert len(pd.read_csv(tmp_path / "rejects.csv")) == len(expected)


def test_a_folder_that_cannot_be_read_is_a_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "source/anger/a.png", 0)
    write_image(tmp_path / "source/sad/b.png", 0)
    scan = os.scandir

    def closed(path: Any) -> Any:  # permissions do not bind the superuser, who may run this
        if Path(path).name == "sad":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    found = ingest.find(params("faces", "folders", tmp_path / "source"), "faces").candidates
    assert [(candidate.path, candidate.reason) for candidate in found] == [
        ("anger/a.png", ""),
        ("sad", "not a regular file"),
    ]


def test_a_legend_with_impossible_names_goes_on(tmp_path: Path) -> None:
    write_image(tmp_path / "source/images/ok.png", 0)
    legend = tmp_path / "source/legend.csv"
    legend.write_text(f"user.id,image,emotion\na,ok.png,anger\na,{'x' * 300}.png,anger\na,b\0.png,anger\n")
    settings = params("faces", "legend", tmp_path / "source")
    _, tables, _ = ingested(settings, "faces", tmp_path / "out/images.npy")
    assert tables.samples["path"].tolist() == ["images/ok.png"]
    assert set(tables.rejects["reason"]) == {"a name or link that can't be followed"}
    legend.write_text(f"user.id,image,emotion\na,{'x' * (sources.LARGEST_CELL + 1)},anger\n")
    with pytest.raises(UserError, match=r"legend\.csv: field larger than field limit"):
        ingest.find(settings, "faces")


def test_a_legend_does_not_follow_its_images_out_of_the_folder(tmp_path: Path) -> None:
    write_image(tmp_path / "elsewhere/ok.png", 0)
    (tmp_path / "source").mkdir()
    (tmp_path / "source/images").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "source/legend.csv").write_text("user.id,image,emotion\na,ok.png,anger\n")
    with pytest.raises(UserError, match="images: a link out of the folder"):
        ingest.find(params("faces", "legend", tmp_path / "source"), "faces")
