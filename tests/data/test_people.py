"""Data as users have them: masks, thumbnails, patients, splits and labels under all their names."""

import csv
import gzip
import io
import os
import socket
import struct
import subprocess
import sys
import unicodedata
import zlib
from pathlib import Path
from typing import Any

import built
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnstudy.config import checks
from cnnstudy.config.schema import Params
from cnnstudy.data import decode, duplicates, ingest, names, sources, splits
from cnnstudy.data.audit import findings
from cnnstudy.data.sources import Candidate
from cnnstudy.errors import UserError

ROOT = Path(__file__).parents[2]
CLASSES: dict[str, list[str]] = {"normal": ["normal"], "covid": ["covid", "covid-19"]}
GROUP = {"pattern": "", "folder": False, "column": "", "recognise": True}
COLUMNS: dict[str, Any] = {"file": "", "label": "", "split": "", "keep": []}
FACES = {"anger": ["angry"], "happy": ["happiness"], "neutral": [], "contempt": []}


def params(form: str, path: Path, study: str = "xray", classes: Any = None, **source: Any) -> Params:
    content = built.content()["studies"][study] | {"image_size": 64, "classes": classes or CLASSES}
    if study == "faces" and classes is None:
        content["classes"] = FACES
    if len(content["classes"]) == 2:
        content["positive"] = list(content["classes"])[1]
    content["source"] = {"format": form, "path": str(path), "group": GROUP, "columns": COLUMNS} | {
        key: (GROUP if key == "group" else COLUMNS) | value if key in ("group", "columns") else value
        for key, value in source.items()
    }
    return built.params(
        studies={study: content}, runs={}, pretrained={}, finetuned={}, exported={}, ablations={}, external={}
    )


def write_image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).resize((24, 24)).save(path, format="PNG")


def write_images(root: Path, *paths: str) -> None:
    for path in paths:
        write_image(root / path, zlib.crc32(path.encode()))


def table(path: Path, *lines: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))


def found(form: str, root: Path, study: str = "xray", classes: Any = None, **source: Any) -> dict[str, Candidate]:
    candidates = ingest.find(params(form, root, study, classes, **source), study).candidates
    assert len({each.path for each in candidates}) == len(candidates)
    return {each.path: each for each in candidates}


def taken(candidates: dict[str, Candidate]) -> dict[str, str]:
    return {path: each.label for path, each in candidates.items() if not each.reason}


def reasons(candidates: dict[str, Candidate]) -> dict[str, str]:
    return {path: each.reason for path, each in candidates.items() if each.reason}


def ingested(settings: Params, folder: Path, study: str = "xray") -> tuple[pd.DataFrame, pd.DataFrame, ingest.Found]:
    its = ingest.find(settings, study)
    tables = ingest.write(its, "x", 64, folder / "images.npy")
    return tables.samples, tables.rejects, its


def audited(settings: Params, folder: Path, study: str = "xray", are_independent: bool = False) -> dict[str, Any]:
    samples, rejects, _ = ingested(settings, folder, study)
    images = np.load(folder / "images.npy", mmap_mode="r")
    copies = duplicates.copies(samples["sha256"], images)
    assigned = splits.assign(study, samples, copies, settings.studies[study].split, 0)
    full = samples.assign(**assigned.drop(columns="id"))
    return findings.audit(full, images, rejects, settings.studies[study].classes, are_independent)


def warned(content: dict[str, Any], check: str) -> list[dict[str, Any]]:
    its = content["findings"]["used"]
    return [each for each in its if each["check"] == check and each["severity"] == "warning"]


# Masks and thumbnails


@pytest.mark.parametrize("form", ["folders", "radiography", "chest_xray", "mixed"])
@pytest.mark.parametrize(
    "masks",
    ["masks", "lung masks", "infection_masks", "Lung-Mask", "Segmentation", "ground truth", "GT", "manualMask"],
)  # fmt: skip
def test_masks_beside_images_are_rejected_at_any_depth(tmp_path: Path, form: str, masks: str) -> None:
    root = tmp_path / "folders" if form == "mixed" else tmp_path
    for label in ("NORMAL", "COVID"):
        for i in range(3):
            write_images(root, f"train/{label}/images/{i}.png", f"train/{label}/{masks}/{i}.png")
            write_images(root, f"test/{label}/images/{i}.png", f"test/{label}/images/{masks}/{i}.png")
    candidates = found(form, tmp_path)
    assert set(taken(candidates).values()) == {"normal", "covid"}
    assert len(taken(candidates)) == 12
    assert all("a mask" in reason for reason in reasons(candidates).values())
    assert len(reasons(candidates)) == 12


def test_masks_in_a_sister_of_the_images_folder_are_rejected(tmp_path: Path) -> None:
    write_images(tmp_path, "images/covid/1.png", "images/normal/2.png", "masks/covid/1.png", "masks/normal/2.png")
    candidates = found("folders", tmp_path)
    assert taken(candidates) == {"images/covid/1.png": "covid", "images/normal/2.png": "normal"}
    assert reasons(candidates) == dict.fromkeys(("masks/covid/1.png", "masks/normal/2.png"), "a mask: in masks")


def test_masks_and_thumbnails_beside_their_image_are_rejected(tmp_path: Path) -> None:
    write_images(tmp_path, "normal/a (1).png", "normal/a (1)_mask.png", "normal/a (1)_mask_1.png", "normal/b.png",
             "covid/c.jpg", "covid/c_thumb.jpg", "covid/with_mask.png", "covid/c-checkpoint.jpg")  # fmt: skip
    candidates = found("folders", tmp_path)
    assert set(taken(candidates)) == {"normal/a (1).png", "normal/b.png", "covid/c.jpg", "covid/with_mask.png"}
    assert reasons(candidates) == {
        "normal/a (1)_mask.png": "a mask of a (1)",
        "normal/a (1)_mask_1.png": "a mask of a (1)",
        "covid/c_thumb.jpg": "a thumbnail of c",
        "covid/c-checkpoint.jpg": "a notebook's copy of c",
    }


def test_a_class_may_be_called_mask(tmp_path: Path) -> None:
    write_images(tmp_path, "with_mask/a.png", "without_mask/b.png")
    classes = {"bare": ["without mask"], "masked": ["with_mask"]}
    assert taken(found("folders", tmp_path, classes=classes)) == {
        "with_mask/a.png": "masked",
        "without_mask/b.png": "bare",
    }


@pytest.mark.parametrize(
    "folder",
    ["@eaDir/1.png", "#recycle", ".thumbnails", ".ipynb_checkpoints", "__MACOSX", "$RECYCLE.BIN", ".Trash-1000",
     "Thumbs", ".@__thumb"],
)  # fmt: skip
@pytest.mark.parametrize("form", ["folders", "radiography", "chest_xray", "kaggle_affectnet", "csv"])
def test_what_systems_keep_beside_images_is_rejected(tmp_path: Path, form: str, folder: str) -> None:
    write_images(tmp_path, "train/NORMAL/1.png", "train/COVID/2.png", f"train/NORMAL/{folder}/1.png",
             f"{folder}/NORMAL/1.png")  # fmt: skip
    rows = ("pth,label", "train/NORMAL/1.png,normal", "train/COVID/2.png,covid")
    if form in ("kaggle_affectnet", "csv"):
        table(tmp_path / "labels.csv", *rows)
    candidates = found(form, tmp_path)
    assert set(taken(candidates)) == {"train/NORMAL/1.png", "train/COVID/2.png"}
    own = {path: reason for path, reason in reasons(candidates).items() if path != "labels.csv"}
    assert set(own) == {f"train/NORMAL/{folder}/1.png", f"{folder}/NORMAL/1.png"}
    assert all(reason.startswith(("a hidden file", "in ", "no row of")) for reason in own.values())


def test_files_called_alike_in_sister_folders_are_warned_of(tmp_path: Path) -> None:
    for i in range(12):
        for label in ("normal", "covid"):
            write_images(tmp_path / "d", f"{label}/scans/{i}.png")
            write_images(tmp_path / "d", f"{label}/lungs/{i}.png")
    content = audited(params("folders", tmp_path / "d"), tmp_path)
    (finding,) = warned(content, "masks")
    assert finding["count"] == 48
    assert "covid/lungs, covid/scans" in finding["advice"]


def test_persons_in_folders_are_no_twins(tmp_path: Path) -> None:
    write_images(tmp_path / "d", *(f"{label}/patient{label}{person}/{i}.png"
                               for label in ("normal", "covid") for person in range(4) for i in range(3)))  # fmt: skip
    group = {"folder": True}
    assert warned(audited(params("folders", tmp_path / "d", group=group), tmp_path), "masks") == []
    (finding,) = warned(audited(params("folders", tmp_path / "d"), tmp_path), "masks")
    assert finding["count"] == 24


def test_images_of_black_and_white_alone_are_warned_of(tmp_path: Path) -> None:
    for i in range(12):
        write_image(tmp_path / "d/normal" / f"{i}.png", i)
        shape = np.random.default_rng(i).integers(0, 2, (8, 8), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        (tmp_path / "d/covid").mkdir(exist_ok=True)
        Image.fromarray(255 * shape).save(tmp_path / "d/covid" / f"c{i}.png")
    (finding,) = warned(audited(params("folders", tmp_path / "d"), tmp_path), "masks")
    assert (finding["kind"], finding["count"]) == ("images of only black and white", 12)


# Patients


def groups(candidates: dict[str, Candidate]) -> dict[str, str]:
    return {path: each.group for path, each in candidates.items() if not each.reason}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("normal/00000001_000.png", "normal/00000001_001.png", "covid/00000002_000.png"),
         ["00000001", "00000001", "00000002"]),
        (("normal/patient7/a.png", "normal/patient7/b.png", "covid/patient8/a.png"),
         ["patient7", "patient7", "patient8"]),
        (("normal/patient_12_a.png", "normal/patient_12_b.png", "covid/patient_13.png"),
         ["patient_12", "patient_12", "patient_13"]),
        (("normal/sub-S01_ses-1.png", "normal/sub-S01_ses-2.png", "covid/sub-S02_ses-1.png"),
         ["sub-S01", "sub-S01", "sub-S02"]),
        (("normal/IM-0115-0001.jpeg", "normal/IM-0115-0002.jpeg", "covid/person12_bacteria_3.jpeg"),
         ["/normal/IM-0115", "/normal/IM-0115", "/covid/person12"]),
        (("normal/p10000032/s50414267/a.png", "normal/p10000032/s50000000/b.png", "covid/p10000033/s50414268/c.png"),
         ["p10000032", "p10000032", "p10000033"]),
        (("normal/S005_001_00000011.png", "normal/S005_002_00000012.png", "covid/S006_001_00000011.png"),
         ["S005", "S005", "S006"]),
        (("normal/AF01ANS.JPG", "normal/BF01HAFL.JPG", "covid/AM02SUS.JPG"), ["F01", "F01", "M02"]),
        (("normal/1.png", "normal/2.png", "covid/3.png"), ["", "", ""]),
        (("normal/normal_1.png", "normal/normal_2.png", "covid/covid_1.png"), ["", "", ""]),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_known_ways_of_naming_patients_are_recognised(
    tmp_path: Path, files: tuple[str, ...], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "cnnstudy")
    write_images(tmp_path, *files)
    told = groups(found("folders", tmp_path))
    assert [told[path] for path in files] == expected
    assert ("persons or things" in caplog.text) == any(expected)
    assert not any(groups(found("folders", tmp_path, group={"recognise": False})).values())


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ({"pattern": r"(?P<group>\d{4})_"}, "0007"),
        ({"pattern": r"/(\d+)_\d"}, "0007"),
        ({"pattern": r"\d{4}"}, "0007"),
        ({"folder": True}, "ward"),
    ],
)
def test_a_group_is_named_for_a_format_that_has_none(tmp_path: Path, group: dict[str, Any], expected: str) -> None:
    write_images(tmp_path, "train/normal/images/ward/0007_1.png", "train/covid/ward/0007_2.png")
    assert set(groups(found("folders", tmp_path, group=group)).values()) == {expected}


def test_a_column_of_any_table_is_the_group(tmp_path: Path) -> None:
    write_images(tmp_path / "legend", "images/a.png", "images/b.png")
    table(tmp_path / "legend/legend.csv", "user.id,Image,emotion,Person", "1,a.png,ANGER,p1", "1,b.png,happy,p2")
    told = groups(found("legend", tmp_path / "legend", "faces", group={"column": "person"}))
    assert told == {"images/a.png": "p1", "images/b.png": "p2"}
    write_images(tmp_path / "ieee", "images/a.png", "images/b.png")
    table(tmp_path / "ieee/metadata.csv", "patientid,finding,view,filename,hospital",
          "1,covid-19,PA,a.png,north", "2,normal,AP,b.png,south")  # fmt: skip
    told = groups(found("ieee8023", tmp_path / "ieee", group={"column": "hospital"}))
    assert set(told.values()) == {"north", "south"}
    with pytest.raises(
        UserError, match=r"xray.source.group.column: 'ward' gives no person for any image.*allowed: a column.*hospital"
    ):
        found("ieee8023", tmp_path / "ieee", group={"column": "ward"})


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"pattern": r"(?P<group>\d{9})"}, r"studies.xray.source.group.pattern: .* gives no person for any image"),
        ({"folder": True}, r"studies.xray.source.group.folder: True gives no person for any image"),
        ({"folder": True, "pattern": "x"}, r"studies.xray.source.group: pattern and folder found; allowed: one"),
    ],
)
def test_a_group_that_tells_nothing_is_refused(tmp_path: Path, group: dict[str, Any], message: str) -> None:
    write_images(tmp_path, "normal/1.png", "covid/2.png")
    with pytest.raises(UserError, match=message):
        found("folders", tmp_path, group=group)


def test_a_pattern_that_is_none_is_a_contradiction(tmp_path: Path) -> None:
    settings = params("folders", tmp_path, group={"pattern": "(["})
    assert ("studies.xray.source.group.pattern", "([", "a regular expression") in checks.contradictions(settings)


def test_groups_keep_to_their_source_of_several(tmp_path: Path) -> None:
    write_images(tmp_path, "folders-a/normal/patient1_a.png", "folders-a/covid/patient2_a.png",
             "folders-b/normal/00000001_000.png", "folders-b/covid/00000002_000.png")  # fmt: skip
    assert set(groups(found("mixed", tmp_path)).values()) == {
        "folders-a/patient1", "folders-a/patient2", "folders-b/00000001", "folders-b/00000002"
    }  # fmt: skip
    told = groups(found("mixed", tmp_path, group={"pattern": r"(\d)(_a|_000)"}))
    assert set(told.values()) == {"folders-a/1", "folders-a/2", "folders-b/1", "folders-b/2"}


def test_the_audit_warns_where_nobody_is_known(tmp_path: Path) -> None:
    for i in range(16):
        write_images(tmp_path / "d", f"normal/{i}.png", f"covid/{i + 16}.png")
        write_image(tmp_path / "e/normal" / f"patient{i}.png", i)
        write_image(tmp_path / "e/covid" / f"patient{i + 16}.png", i + 16)
    content = audited(params("folders", tmp_path / "d"), tmp_path)
    (finding,) = warned(content, "groups")
    assert (finding["kind"], finding["count"]) == ("no groups (persons, patients or things) are known", 32)
    assert "intervals take these images as independent" in finding["advice"]
    assert content["persons"] == {"known": 0, "images_without": 32}
    assert warned(audited(params("folders", tmp_path / "d"), tmp_path, are_independent=True), "groups") == []
    known = audited(params("folders", tmp_path / "e"), tmp_path)
    assert warned(known, "groups") == []
    assert known["persons"] == {"known": 32, "images_without": 0}


# Splits


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("Training", "train"), ("TRAIN", "train"), ("train_set", "train"), ("TrainingData", "train"),
        ("trainset", "train"), ("train images", "train"), ("dev", "val"), ("valid", "val"), ("Validation", "val"),
        ("val_set", "val"),
        ("eval", "val"), ("Testing", "test"), ("holdout", "test"), ("hold-out", "test"), ("Test Set", "test"),
        ("PrivateTest", "test"), ("PublicTest", "val"), ("tuning", "tune"), ("fine-tune", "tune"),
        ("normal", ""), ("patient", ""), ("tester", ""), ("latest", ""), ("images", ""), ("contest", ""),
    ],
)  # fmt: skip
def test_names_of_splits(folder: str, split: str) -> None:
    assert names.splits_of([folder]) == ({folder: split} if split else {})
    assert split or not names.resembles_split(folder)


def test_an_evaluation_beside_a_validation_is_the_test() -> None:
    assert names.splits_of(["train", "dev", "eval"]) == {"train": "train", "dev": "val", "eval": "test"}
    assert names.splits_of(["train", "eval", "test"]) == {"train": "train", "eval": "val", "test": "test"}


@pytest.mark.parametrize(
    "layout",
    ["{split}/{label}", "{label}/{split}", "set/{split}/{label}", "a/b/{split}/{label}", "{split}/images/{label}",
     "{split}/{label}/images", "{label}/images/{split}"],
)  # fmt: skip
def test_splits_stand_anywhere_around_the_class(tmp_path: Path, layout: str) -> None:
    made = {layout.format(split=split, label=label) + "/1.png": (split, label)
            for split in ("Training", "Testing", "dev") for label in ("Normal", "COVID")}  # fmt: skip
    write_images(tmp_path, *made)
    candidates = found("folders", tmp_path)
    hints = {"Training": "train", "Testing": "test", "dev": "val"}
    assert {path: (each.source_split, each.label) for path, each in candidates.items()} == {
        path: (hints[split], label.lower()) for path, (split, label) in made.items()
    }


def test_two_wrappers_with_splits_in_them(tmp_path: Path) -> None:
    write_images(tmp_path, "Infection Data/Train/COVID-19/images/1.png", "Lung Data/Test/Normal/images/2.png",
             "Lung Data/Test/Other/images/2.png")  # fmt: skip
    candidates = found("folders", tmp_path)
    assert [(each.source_split, each.label) for each in candidates.values()] == [
        ("train", "covid"), ("test", "normal"), ("test", "Other")]  # fmt: skip


@pytest.mark.parametrize("folder", ["test_old", "val2", "fold1", "train-aug", "5-fold"])
@pytest.mark.parametrize("form", ["folders", "radiography"])
def test_a_folder_that_looks_like_a_split_is_refused(tmp_path: Path, form: str, folder: str) -> None:
    write_images(tmp_path, "train/normal/1.png", "train/covid/2.png", f"{folder}/normal/3.png", f"{folder}/covid/4.png")
    with pytest.raises(UserError, match=rf"the folder '{folder}' .* looks like a split.*\+studies.xray.source.splits"):
        found(form, tmp_path)
    hints = {
        each.source_split
        for path, each in found(form, tmp_path, splits={folder.upper(): "test"}).items()
        if "train/" not in path
    }
    assert hints == {"test"}
    candidates = found(form, tmp_path, splits={folder: "none"})
    assert {candidates[path].source_split for path in candidates if path.startswith(folder)} == {""}


def test_a_file_in_two_splits_or_in_no_class_is_not_taken(tmp_path: Path) -> None:
    write_images(tmp_path / "a", "train/normal/1.png", "train/covid/2.png", "test/3.png")
    assert reasons(found("folders", tmp_path / "a")) == {"test/3.png": "in a split's folder, but in no class folder"}
    write_images(tmp_path / "b", "train/normal/test/1.png", "train/covid/2.png")
    with pytest.raises(UserError, match=r"train/normal/test is in the folders of two splits"):
        found("folders", tmp_path / "b")


@pytest.mark.parametrize("folder", ["Train", "TRAINING", "train_set"])
def test_chest_xray_in_any_spelling_of_train(tmp_path: Path, folder: str) -> None:
    write_images(tmp_path, f"chest_xray/{folder}/NORMAL/IM-1-0001.jpeg", "chest_xray/Testing/COVID/IM-2-0001.jpeg")
    assert {each.source_split for each in found("chest_xray", tmp_path).values()} == {"train", "test"}


# What labels mean


PIXELS = "1 2 3 4"


def test_numbers_of_ck_are_refused_until_their_meaning_is_said(tmp_path: Path) -> None:
    table(tmp_path / "ckextended.csv", "emotion,pixels,Usage", *(f"{i},{PIXELS},Training" for i in range(8)))
    with pytest.raises(UserError, match=r"emotions 0, 1, .* are numbers.*allowed: studies.faces.source.numbers="):
        found("fer2013", tmp_path, "faces")
    order = ["anger", "disgust", "fear", "happy", "sadness", "surprise", "contempt", "neutral"]
    assert list(taken(found("fer2013", tmp_path, "faces", numbers=order)).items()) == [
        ("ckextended.csv:000001", "anger"), ("ckextended.csv:000004", "happy"), ("ckextended.csv:000007", "contempt"),
        ("ckextended.csv:000008", "neutral"),
    ]  # fmt: skip
    classes = {"neutral": ["6"], "anger": ["0"]} | {f"c{i}": [str(i)] for i in (1, 2, 3, 4, 5, 7)}
    assert taken(found("fer2013", tmp_path, "faces", classes=classes))["ckextended.csv:000007"] == "neutral"


@pytest.mark.parametrize("name", ["fer2013", "FER-2013 test", "icml_face_data"])
def test_numbers_of_fer2013_are_known_by_the_file_s_name(tmp_path: Path, name: str) -> None:
    table(tmp_path / f"{name}.csv", "emotion, Usage, pixels", f"6,PrivateTest,{PIXELS}", f"0,Training,{PIXELS}")
    assert [(each.label, each.source_split) for each in found("fer2013", tmp_path, "faces").values()] == [
        ("neutral", "test"), ("anger", "train")]  # fmt: skip


def test_a_usage_that_is_no_split_is_refused(tmp_path: Path) -> None:
    table(tmp_path / "fer2013.csv", "emotion,pixels,Usage", f"0,{PIXELS},Training", f"3,{PIXELS},Private")
    with pytest.raises(UserError, match=r"Usage 'Private' found, which is not a split; allowed: .*PrivateTest"):
        found("fer2013", tmp_path, "faces")
    hints = [each.source_split for each in found("fer2013", tmp_path, "faces", splits={"Private": "test"}).values()]
    assert hints == ["train", "test"]


@pytest.mark.parametrize("form", ["folders", "csv", "legend"])
def test_labels_that_are_numbers_are_refused_in_every_format(tmp_path: Path, form: str) -> None:
    write_images(tmp_path, "images/0/a.png" if form == "folders" else "images/a.png",
             "images/1/b.png" if form == "folders" else "images/b.png")  # fmt: skip
    if form != "folders":
        table(tmp_path / "legend.csv", "image,emotion", "a.png,0", "b.png,1.0")
    with pytest.raises(UserError, match=r"0, 1.* are numbers, .* studies.xray.source.numbers="):
        found(form, tmp_path)
    assert set(taken(found(form, tmp_path, numbers=["normal", "covid"])).values()) == {"normal", "covid"}


def test_ingest_says_what_the_classes_are_and_what_was_not_taken(tmp_path: Path) -> None:
    write_images(tmp_path / "d", "NORMAL/1.png", "normal/2.png", "covid-19/3.png", "COVID/4.png", "bored/5.png",
             "bored/6.png", "other/7.png", "covid/masks/3.png", "covid/masks/4.png")  # fmt: skip
    (tmp_path / "d/covid/x.png").write_bytes(b"")
    _, rejects, its = ingested(params("folders", tmp_path / "d"), tmp_path)
    assert list(ingest.describe(its, rejects, "xray")) == [
        "class 0 is normal: 2 images, labels NORMAL (1), normal (1)",
        "class 1 is covid, the positive class: 3 images, labels COVID (1), covid (1), covid-19 (1)",
        "labels of no class: 'bored' (2), 'other' (1); `-S 'studies.xray.classes.normal=[normal,<label>]'` adds one to "
        "a class",
        "2 rejected: a mask: in masks",
        "1 rejected: empty file",
    ]


def test_a_positive_class_with_a_negative_name_is_warned_of(tmp_path: Path) -> None:
    for i in range(8):
        write_images(tmp_path / "d", f"normal/{i}.png", f"covid/{i + 8}.png")
    swapped = {"covid": ["covid"], "healthy": ["normal"]}
    (finding,) = warned(audited(params("folders", tmp_path / "d", classes=swapped), tmp_path), "positive")
    assert finding["kind"] == "the positive class is healthy"
    assert warned(audited(params("folders", tmp_path / "d"), tmp_path), "positive") == []


# Letters, separators, encodings


def test_both_unicode_forms_are_one_name(tmp_path: Path) -> None:
    both = [unicodedata.normalize(form, "Ärger") for form in ("NFC", "NFD")]
    for i, (folder, known) in enumerate(((both[0], both[1]), (both[1], both[0]))):
        write_images(tmp_path / str(i), f"{folder}/a.png", "froh/b.png")
        classes = {"anger": [known], "happy": ["froh"]}
        assert set(taken(found("folders", tmp_path / str(i), "faces", classes)).values()) == {"anger", "happy"}
    write_images(tmp_path / "t", f"images/{both[1]}.png", "images/b.PNG")
    table(tmp_path / "t/legend.csv", "image,emotion", f"{both[0]}.png,{both[0]}", "B.png,froh")
    assert taken(found("legend", tmp_path / "t", "faces", classes)) == {
        f"images/{both[1]}.png": "anger", "images/b.PNG": "happy"}  # fmt: skip
    settings = built.params(
        studies__faces__classes={"anger": [both[0]], "happy": [both[1]]}, studies__faces__positive="happy"
    )
    assert [key for key, _, _ in checks.contradictions(settings)] == ["studies.faces.classes.happy"]


def test_a_class_folder_in_the_other_form_is_no_shortcut(tmp_path: Path) -> None:
    for i in range(24):
        for label in ("No_findings", unicodedata.normalize("NFD", "Köln")):
            write_image(tmp_path / "d" / label / f"{i}.png", zlib.crc32(label.encode()) % 1000 + i)
    classes = {"normal": ["no findings"], "covid": ["Köln"]}
    content = audited(params("folders", tmp_path / "d", classes=classes), tmp_path)
    (probe,) = (each for each in content["metadata_probe"] if (each["data"], each["target"]) == ("used", "class"))
    assert probe["folder_alone"] < 0.8


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("user.id,image,emotion\n1, {0}, anger\n1,{1} ,happy\n", "utf-8"),
        ("user.id;image;emotion\n1;{0};anger\n1;{1};happy\n", "utf-8-sig"),
        ("user.id\timage\temotion\r\n1\t{0}\tanger\r\n1\t{1}\thappy\r\n", "utf-16"),
        ("user.id,image,emotion\n1,{0},anger\n1,{1},happy\n", "utf-16-le"),
        ("user.id,image,emotion\n1,{0},anger\n1,{1},happy\n", "cp1252"),
        ('user.id, image, emotion\n1, "{0}", "anger"\n1, "{1}", happy\n', "utf-8"),
        ("user.id,image,emotion\n1,images\\{0},anger\n1,images/{1},happy\n", "utf-8"),
        ("user.id,image,emotion\n1,TÜR,anger\n1,B,happy\n", "utf-8"),
        ("user.id,image,emotion\n1,tür.JPG,anger\n1,b.Png,happy\n", "utf-8"),
    ],
)
def test_tables_as_programs_write_them(
    tmp_path: Path, text: str, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "cnnstudy")
    write_images(tmp_path, "images/tür.jpeg", "images/b.png")
    (tmp_path / "legend.csv").write_bytes(text.format("tür.jpeg", "b.png").encode(encoding))
    assert taken(found("legend", tmp_path, "faces")) == {"images/tür.jpeg": "anger", "images/b.png": "happy"}
    assert ("is read as" in caplog.text) == (encoding in ("utf-16", "utf-16-le", "cp1252"))
    assert ("is read with" in caplog.text) == (";" in text or "\t" in text)


def test_a_table_that_is_none_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, "images/a.png")
    (tmp_path / "legend.csv").write_bytes(bytes(5000))
    with pytest.raises(UserError, match=r"legend.csv: not a text file; allowed: a table, as UTF-8 or UTF-16"):
        found("legend", tmp_path, "faces")
    (tmp_path / "legend.csv").write_bytes(b"x" * (sources.LARGEST_LINE + 5))
    with pytest.raises(UserError, match=r"legend.csv: a line of more than \d+ characters"):
        found("legend", tmp_path, "faces")


def test_one_name_for_two_files_is_not_guessed(tmp_path: Path) -> None:
    write_images(tmp_path, "images/a.png", "images/A.jpg", "images/b.png")
    table(tmp_path / "legend.csv", "image,emotion", "a,anger", "b,happy", "A.jpg,happy")
    candidates = found("legend", tmp_path, "faces")
    assert taken(candidates) == {"images/b.png": "happy", "images/A.jpg": "happy"}
    assert candidates["images/a"].reason == "several files have this name: A.jpg, a.png"


# Other years' layouts, and any table


@pytest.mark.parametrize("root", ["", "COVID-19 Radiography Database/"])
def test_radiography_of_2020(tmp_path: Path, root: str) -> None:
    write_images(tmp_path, f"{root}COVID-19/COVID-19 (1).png", f"{root}NORMAL/NORMAL (1).png",
             f"{root}Viral Pneumonia/a.png")  # fmt: skip
    classes = {"normal": ["normal"], "covid": ["covid"]}
    assert taken(found("radiography", tmp_path, classes=classes)) == {
        f"{root}COVID-19/COVID-19 (1).png": "covid", f"{root}NORMAL/NORMAL (1).png": "normal"}  # fmt: skip


@pytest.mark.parametrize("view", ["AP semi erect", "PA", "AP Supine", "ap portable", "Frontal", "AP-Erect"])
def test_ieee8023_s_frontal_views(tmp_path: Path, view: str) -> None:
    write_images(tmp_path, "images/a.png", "images/b.png", "images/c.png", "images/d.png")
    table(tmp_path / "metadata.csv", "patientid,finding,view,modality,filename",
          f'1,"COVID-19, ARDS",{view},X-ray,a.png', f"2,No finding,{view},,b.png", f"3,COVID-19,{view} L,X-ray,c.png",
          f'4,"SARS, ARDS",{view},X-ray,d.png')  # fmt: skip
    candidates = found("ieee8023", tmp_path, classes={"normal": ["no finding"], "covid": ["covid-19"]})
    assert taken(candidates) == {"images/a.png": "covid", "images/b.png": "normal"}
    assert candidates["images/c.png"].reason == f"view '{view} L' is not frontal"


def test_a_hierarchy_of_findings_is_its_narrowest_known_one(tmp_path: Path) -> None:
    write_images(tmp_path, "images/a.png", "images/b.png")
    table(tmp_path / "metadata.csv", "patientid,finding,view,filename", "1,Pneumonia/Viral/COVID-19,PA,a.png",
          "2,Pneumonia/Bacterial/Klebsiella,PA,b.png")  # fmt: skip
    classes = {"pneumonia": ["pneumonia"], "covid": ["covid-19"]}
    assert taken(found("ieee8023", tmp_path, classes=classes)) == {"images/a.png": "covid", "images/b.png": "pneumonia"}


def test_figure1_s_and_actualmed_s_headers(tmp_path: Path) -> None:
    write_images(tmp_path / "f", "images/COVID-00003a.jpg", "images/COVID-00003b.jpg", "images/COVID-00004.png")
    header = "patientid,offset,sex,age,finding,survival,temperature,pO2 saturation,view,modality"
    table(tmp_path / "f/metadata.csv", f"{header},artifacts/distortion,notes",
          "COVID-00003a,8,M,28,COVID-19,,39.1,90,AP erect,X-ray,,", "COVID-00003b,8,M,28,COVID-19,,,,AP erect,X-ray,,",
          "COVID-00004,2,M,42,No finding,,,,PA,X-ray,,")  # fmt: skip
    classes = {"normal": ["no finding"], "covid": ["covid-19"]}
    candidates = found("ieee8023", tmp_path / "f", classes=classes)
    assert [(each.label, each.group) for each in candidates.values()] == [
        ("covid", "COVID-00003"), ("covid", "COVID-00003"), ("normal", "COVID-00004")]  # fmt: skip
    name = "CR.1.2.840.113564.1722810170.20200317090830828260.1003000225002.png"
    write_images(tmp_path / "a", f"images/{name}", "images/b.png")
    table(tmp_path / "a/metadata.csv", f"{header},imagename,artifacts/distortion,notes",
          f"ANON56,,,,No finding,,,,PA,X-ray,{name},,", "ANON7,,,,COVID-19,,,,AP,CR,b.png,,")  # fmt: skip
    candidates = found("ieee8023", tmp_path / "a", classes=classes)
    assert taken(candidates) == {f"images/{name}": "normal", "images/b.png": "covid"}


def test_any_table_is_read_by_its_usual_columns(tmp_path: Path) -> None:
    write_images(tmp_path / "d", "pics/a.png", "pics/b.png", "pics/c.PNG", "pics/d.png", "extra.png")
    table(tmp_path / "d/data.csv", "Patient ID,Image Index,Finding Labels,Split,Sex,age",
          "p1,a.png,COVID,Training,F,30", "p2,pics/b.png,Normal,test,M,40",
          "p3,/kaggle/input/x/pics/c.png,covid-19,dev,F,50", "p4,C:\\data\\pics\\gone.png,normal,train,M,60",
          "p5,../d.png,normal,train,M,60")  # fmt: skip
    settings = params("csv", tmp_path / "d", columns={"keep": ["sex", "Age"]}, group={"column": "patient id"})
    samples, rejects, _ = ingested(settings, tmp_path)
    assert samples[["path", "label", "source_split", "group", "kept_sex", "kept_age"]].to_numpy().tolist() == [
        ["pics/a.png", "covid", "train", "p1", "F", "30"],
        ["pics/b.png", "normal", "test", "p2", "M", "40"],
        ["pics/c.PNG", "covid", "val", "p3", "F", "50"],
    ]
    assert dict(rejects.to_numpy().tolist()) == {
        "../d.png": "not a file name", "C:/data/pics/gone.png": "no such file",
        "extra.png": "no row of a table names it", "pics/d.png": "no row of a table names it",
    }  # fmt: skip


def test_columns_of_any_name_are_named(tmp_path: Path) -> None:
    write_images(tmp_path, "a.png", "b.png")
    table(tmp_path / "t.csv", "Bild;Befund;Gruppe", "a.png;covid;train", "b.png;normal;test")
    with pytest.raises(UserError, match=r"columns bild, befund, gruppe .*xray.source.columns.file, one of them"):
        found("csv", tmp_path)
    candidates = found("csv", tmp_path, columns={"file": "Bild", "label": "Befund", "split": "Gruppe"})
    assert [(each.label, each.source_split) for each in candidates.values()] == [("covid", "train"), ("normal", "test")]
    with pytest.raises(UserError, match=r"studies.xray.source.columns.label: 'x' found; allowed: bild, befund, gruppe"):
        found("csv", tmp_path, columns={"file": "Bild", "label": "x"})
    with pytest.raises(UserError, match=r"the split 'train' found|columns.keep: 'y' found; allowed"):
        found("csv", tmp_path, columns={"file": "Bild", "label": "Befund", "keep": ["y"]})


def test_a_table_a_split(tmp_path: Path) -> None:
    write_images(tmp_path, "images/a.png", "images/b.png", "images/both.png")
    table(tmp_path / "train_labels.csv", "filename,label", "a.png,covid", "both.png,covid")
    table(tmp_path / "Test.csv", "filename,label", "b.png,normal", "both.png,covid")
    with pytest.raises(UserError, match=r"2 tables, of which train_labels.csv is named after no split"):
        found("csv", tmp_path)
    candidates = found("csv", tmp_path, splits={"train_labels": "train"})
    assert {path: each.source_split for path, each in candidates.items() if not each.reason} == {
        "images/a.png": "train", "images/b.png": "test"}  # fmt: skip
    assert reasons(candidates) == {"images/both.png": "rows that differ: split test and train"}


def test_a_split_of_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path, "a.png", "b.png")
    table(tmp_path / "t.csv", "file,label,split", "a.png,covid,train", "b.png,normal,later")
    with pytest.raises(UserError, match=r"the split 'later' found, which is unknown; allowed: train, val, tune, test"):
        found("csv", tmp_path)
    assert found("csv", tmp_path, splits={"later": "tune"})["b.png"].source_split == "tune"


# Files


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    "text",
    [
        chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(b"x" * 2_000_000)),
        chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(b"x" * 2_000_000)),
        chunk(b"tEXt", b"a\0" + b"x" * 2_000_000),
        chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 60_000_000)),
    ],
    ids=("zTXt", "iTXt", "tEXt", "longer"),
)
def test_a_png_with_a_long_text_is_an_image(text: bytes) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 40, 30)).save(buffer, "PNG")
    content = buffer.getvalue()
    assert decode.read_content(content[:33] + text + content[33:], 4).pixels[0, 0].tolist() == [200, 40, 30]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a pointer of Git LFS; `git lfs pull`"),
        (b"/annex/objects/SHA256E-s1--00.png\n", "a pointer of git-annex; `git annex get`"),
        (b"../../.git/annex/objects/x/y/SHA256E-s1.png", "a pointer of git-annex"),
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1MiHE" + bytes(40), "a HEIC image; convert it"),
        (b"\x5c\1\0\0" + bytes(348), "a NIfTI volume; save its slices"),
        (gzip.compress(b"\x5c\1\0\0" + bytes(348), mtime=0), "a NIfTI volume; save its slices"),
        (gzip.compress(b"something else", mtime=0), "a gzip file"),
        (b"%PDF-1.4", "a PDF file"),
        (b"PK\3\4rest", "a ZIP file"),
        (b"\0\0\0\x20ftypisom", "a video"),
        (b"neither", "not an image"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_no_image_is_named_with_what_to_do(content: bytes, reason: str) -> None:
    with pytest.raises(decode.UnreadableError, match=reason):
        decode.read_content(content, 8)


def test_a_large_file_is_rejected_unread(tmp_path: Path) -> None:
    write_images(tmp_path / "d", "normal/a.png", "covid/b.png")
    with (tmp_path / "d/covid/huge.jpg").open("wb") as file:
        file.truncate(1 << 40)  # a hole: reading it would fill the memory
    _, rejects, _ = ingested(params("folders", tmp_path / "d", max_bytes=100_000), tmp_path)
    assert rejects.to_numpy().tolist() == [["covid/huge.jpg", f"{1 << 40} bytes, more than 100000"]]
    with pytest.raises(decode.UnreadableError, match="bytes, more than"):
        decode.read_image(tmp_path / "d/covid/huge.jpg", 8)


def test_special_files_are_named_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "d", "normal/a.png", "covid/b.png")
    settings = params("folders", tmp_path / "d")
    sources.refuse_special_files(settings)
    (tmp_path / "d/normal/gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "d/normal/loop").symlink_to(tmp_path / "d/normal/loop")
    sources.refuse_special_files(settings)
    (tmp_path / "d/normal/zero.png").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"xray.source.path: .* holds a link to a device, .*normal/zero.png; allowed"):
        sources.refuse_special_files(settings)
    (tmp_path / "d/normal/zero.png").unlink()
    os.mkfifo(tmp_path / "d/covid/pipe.png")
    with socket.socket(socket.AF_UNIX) as bound:
        monkeypatch.chdir(tmp_path / "d/covid")
        bound.bind("socket")
        with pytest.raises(UserError, match=r"holds a pipe, .*covid/pipe.png and 1 more of the kind"):
            sources.require_sources(settings.model_copy(update={"studies": {"xray": settings.studies["xray"]}}))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="holds a pipe"):
        sources.refuse_special_files(params("folders", tmp_path / "pipe"))


def test_a_table_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    os.mkfifo(tmp_path / "legend.csv")
    with pytest.raises(UserError, match=r"legend.csv: not a regular file"):
        found("legend", tmp_path, "faces")


# DICOM


def film(values: np.ndarray, patient: str = "Smith", **tags: Any) -> bytes:
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=["x"])
    dataset = pydicom.dataset.Dataset()
    dataset.file_meta = meta
    dataset.PatientID, dataset.PatientName = patient, "Secret^Name"
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = values.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


RAMP = np.tile(np.linspace(0, 4095, 64).astype(np.uint16), (64, 1))


@pytest.mark.parametrize(
    ("tags", "left", "middle", "right"),
    [
        ({}, 0, 128, 255),
        ({"PhotometricInterpretation": "MONOCHROME1"}, 255, 128, 0),
        ({"WindowCenter": 1024, "WindowWidth": 512}, 0, 255, 255),
        ({"WindowCenter": 2048, "WindowWidth": 8192}, 64, 128, 191),
        ({"WindowCenter": 1048, "WindowWidth": 8192, "RescaleIntercept": -1000, "RescaleSlope": 1}, 64, 128, 191),
    ],
)
def test_dicom_through_its_window(tags: dict[str, Any], left: int, middle: int, right: int) -> None:
    pixels = decode.read_content(film(RAMP, **tags), 64).pixels[32, :, 0].astype(int)
    assert [abs(pixels[at] - value) <= 4 for at, value in ((0, left), (32, middle), (63, right))] == [True] * 3


def test_dicom_s_patient_is_the_group_and_nothing_else_is_kept(tmp_path: Path) -> None:
    for i, (label, patient) in enumerate((("normal", "77"), ("normal", "77"), ("covid", "78"), ("covid", ""))):
        (tmp_path / "d" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / label / f"{i}.dcm").write_bytes(film(np.roll(RAMP, i * 9, axis=1), patient))
    samples, _, _ = ingested(params("folders", tmp_path / "d"), tmp_path)
    assert samples[["path", "group", "mode", "width"]].to_numpy().tolist() == [
        ["covid/2.dcm", "patient 1", "L", 64], ["covid/3.dcm", "", "L", 64], ["normal/0.dcm", "patient 2", "L", 64],
        ["normal/1.dcm", "patient 2", "L", 64],
    ]  # fmt: skip
    buffer = io.StringIO()
    samples.to_csv(buffer, quoting=csv.QUOTE_ALL)
    assert not any(secret in buffer.getvalue() for secret in ("Secret", '"77"', "patient 77"))


def test_a_dicom_head_alone_is_told_by(monkeypatch: pytest.MonkeyPatch) -> None:
    head = bytes(128) + b"DICM" + b"\x02\0\0\0UL\x04\0\xb0\0\0\0" + bytes(400)
    with pytest.raises(decode.UnreadableError, match=r"DICOM|broken image"):
        decode.read_content(head, 8)
    monkeypatch.setattr("cnnstudy.data.dicom.find_spec", lambda name: None)
    with pytest.raises(decode.UnreadableError, match=r"a DICOM file; `pip install 'cnnstudy\[dicom\]'`"):
        decode.read_content(head, 8)


# DVC's links


def run_dvc(folder: Path, *command: str) -> None:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    subprocess.run(
        [sys.executable, "-m", "dvc", *command], cwd=folder, env=environment, check=True, capture_output=True
    )


def test_links_into_dvc_s_cache_are_data_and_other_links_are_not(tmp_path: Path) -> None:
    repository = tmp_path / "r"
    write_images(repository, "data/normal/a.png", "data/covid/b.png")
    write_images(tmp_path, "elsewhere/files/md5/ab/c.png", "shared/notes/secret.png")
    run_dvc(repository, "init", "--no-scm", "-q")
    run_dvc(repository, "cache", "dir", "--local", str(tmp_path / "shared"))
    run_dvc(repository, "config", "cache.type", "symlink")
    run_dvc(repository, "add", "-q", "data")
    assert (repository / "data/normal/a.png").is_symlink()
    (repository / "data/normal/out.png").symlink_to(tmp_path / "elsewhere/files/md5/ab/c.png")
    (repository / "data/normal/secret.png").symlink_to(tmp_path / "shared/notes/secret.png")
    candidates = found("folders", repository / "data")
    assert taken(candidates) == {"normal/a.png": "normal", "covid/b.png": "covid"}
    assert set(reasons(candidates).values()) == {"a link out of the folder"}
