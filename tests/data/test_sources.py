"""Each format's layout, as its copies have it: what is taken, under which label, split, group and part of the image."""

import csv
from pathlib import Path
from typing import Any

import built
import numpy as np
import pytest
from PIL import Image

from cnnstudy.data import sources, synth
from cnnstudy.data.sources import Candidate
from cnnstudy.errors import UserError

FIRST = ("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
         "valence", "arousal")  # fmt: skip
EARLY = ("Patientid", "offset", "sex", "age", "finding", "survival", "view", "date", "location", "filename", "doi",
         " url", "license", "notes")  # fmt: skip
APRIL = ("patientid", "offset", "sex", "age", "finding", "survival", "view", "modality", "date", "location", "filename",
         "doi", "url", "license", "clinical notes", "other notes", "")  # fmt: skip
LATE = ("patientid", "offset", "sex", "age", "finding", "RT_PCR_positive", "survival", "view", "modality", "date",
        "location", "folder", "filename", "doi", "url", "license", "clinical_notes", "other_notes", "")  # fmt: skip


def write_image(path: Path, grey: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (12, 9), grey).save(path, format="PNG")


def table(path: Path, header: tuple[str, ...] | None, *rows: dict[str, Any] | tuple[Any, ...]) -> None:
    """A CSV file; a row is a tuple of cells, or the cells of some columns of the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if header:
            writer.writerow(header)
        for row in rows:
            writer.writerow([row.get(name, "") for name in header or FIRST] if isinstance(row, dict) else row)


def found(form: str, root: Path, *names: str) -> dict[str, Candidate]:
    candidates = sources.find(form, root, set(names))
    assert candidates == sources.find(form, root, set(names))
    assert len({each.path for each in candidates}) == len(candidates)
    return {each.path: each for each in candidates}


def reasons(candidates: dict[str, Candidate]) -> dict[str, str]:
    return {path: each.reason for path, each in candidates.items() if each.reason}


def test_every_module_is_a_format() -> None:
    assert {"affectnet", "chest_xray", "csv", "fer2013", "folders", "ieee8023", "kaggle_affectnet", "legend",
            "mixed", "radiography", "synthetic"} == set(sources.formats())  # fmt: skip


@pytest.mark.parametrize("header", [FIRST, None])
def test_affectnet_s_first_release(tmp_path: Path, header: tuple[str, ...] | None) -> None:
    def row(name: str, expression: object, width: object = 5) -> dict[str, Any]:
        return {"subDirectory_filePath": name, "face_x": 1, "face_y": 2, "face_width": width, "face_height": 6,
                "facial_landmarks": "1.0;2.0;3.0", "expression": expression, "valence": -2, "arousal": -2}  # fmt: skip

    lists, images = tmp_path / "Manually_Annotated_file_lists", tmp_path / "Manually_Annotated_Images"
    both = row("1/both.jpg", 3)
    table(lists / "training.csv", FIRST, row("1/a.JPG", 1), row("1/none.jpg", 8), row("2/wide.jpg", 7, -3), both)
    table(lists / "validation.csv", header, row("3/v.jpg", 0), row("3/gone.jpg", 6), both)
    for name in ("1/a.JPG", "1/none.jpg", "1/both.jpg", "2/wide.jpg", "3/v.jpg", "9/extra.jpg"):
        write_image(images / name)
    candidates = {path.split("/", 1)[1]: each for path, each in found("affectnet", tmp_path).items()}
    assert candidates["1/a.JPG"].label == "happy"
    assert candidates["1/a.JPG"].source_split == "train"
    assert candidates["1/a.JPG"].box == (1.0, 2.0, 6.0, 8.0)
    assert candidates["1/none.jpg"].label == "none"
    assert candidates["2/wide.jpg"].box is None
    assert "whole image" in candidates["2/wide.jpg"].note
    assert (candidates["3/v.jpg"].label, candidates["3/v.jpg"].source_split) == ("neutral", "val")
    assert reasons(candidates) == {
        "1/both.jpg": "under several labels or splits: surprise in train, surprise in val",
        "3/gone.jpg": "no such file",
        "9/extra.jpg": "no row of Manually_Annotated_file_lists names it",
    }


@pytest.mark.parametrize("folder", ["val_set", "valid_set"])
def test_affectnet_s_newer_release(tmp_path: Path, folder: str) -> None:
    annotations: list[tuple[str, Any]] = [("train_set/{}/0", np.array("1")), ("train_set/{}/1", np.array(5)),
                                          (folder + "/{}/2", np.array("7.0"))]  # fmt: skip
    for name, value in annotations:
        write_image(tmp_path / (name.format("images") + ".jpg"))
        (tmp_path / name.format("annotations")).parent.mkdir(exist_ok=True)
        np.save(tmp_path / (name.format("annotations") + "_exp.npy"), value)
    write_image(tmp_path / "train_set/images/3.jpg")
    write_image(tmp_path / "train_set/images/4.jpg")
    np.save(tmp_path / "train_set/annotations/4_exp.npy", np.array([{"a": 1}]), allow_pickle=True)
    write_image(tmp_path / "train_set/images/5.jpg")
    np.save(tmp_path.parent / "outside.npy", np.array(5))
    (tmp_path / "train_set/annotations/5_exp.npy").symlink_to(tmp_path.parent / "outside.npy")
    candidates = found("affectnet", tmp_path)
    assert [(each.label, each.source_split) for each in candidates.values() if not each.reason] == [
        ("happy", "train"),
        ("disgust", "train"),
        ("contempt", "val"),
    ]
    assert reasons(candidates) == {
        "train_set/images/3.jpg": "annotation 3_exp.npy: no such file",
        "train_set/images/4.jpg": "annotation 4_exp.npy: not a single NumPy value",
        "train_set/images/5.jpg": "annotation 5_exp.npy: a link out of the folder",
    }


def test_neither_release_of_affectnet_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither release of AffectNet"):
        sources.find("affectnet", tmp_path, set())
    table(tmp_path / "Manually_Annotated_file_lists/training.csv", ("a", "expression"), ("x", 1))
    with pytest.raises(UserError, match=r"training.csv: columns a, expression found; allowed: at least subdirectory"):
        sources.find("affectnet", tmp_path, set())


def test_kaggle_s_labels_must_agree_with_its_folders(tmp_path: Path) -> None:
    for name in ("anger/a.png", "anger/b.png", "happy/c.png", "happy/d.png", "sad/unlisted.png"):
        write_image(tmp_path / name)
    rows = [(0, "anger/a.png", "anger", 0.8), (1, "anger/b.png", "disgust", 0.8), (2, "happy/c.png", "happy", 0.8),
            (3, "happy/gone.png", "happy", 0.8), (4, "happy/d.png", "sad", 0.8),
            (5, "happy/d.png", "happy", 0.8)]  # fmt: skip
    table(tmp_path / "labels.csv", ("", "pth", "label", "relFCs"), *rows)
    candidates = found("kaggle_affectnet", tmp_path, "anger", "happy", "sad")
    assert [(each.path, each.label) for each in candidates.values() if not each.reason] == [
        ("anger/a.png", "anger"),
        ("happy/c.png", "happy"),
    ]
    assert reasons(candidates) == {
        "anger/b.png": "under several labels: anger by its folder, disgust in labels.csv",
        "happy/d.png": "under several labels: happy by its folder, happy, sad in labels.csv",
        "happy/gone.png": "no such file",
        "sad/unlisted.png": "no row of labels.csv names it",
    }


def test_fer2013_s_rows_are_images(tmp_path: Path) -> None:
    rows = [(0, "0 1 2 3", "Training"), (6, "9 9 9 9", "PublicTest"), (3, "9 9 9 9", "PrivateTest"), (1, "1 2 3", ""),
            (1, "1 2 x 4", "Training"), (1, "1 2 256 4", "Training"), (9, "1 2 3 4", "Training")]  # fmt: skip
    table(tmp_path / "fer2013.csv", ("emotion", " pixels", " Usage"), *rows)
    candidates = found("fer2013", tmp_path)
    assert [(each.label, each.source_split, each.grey) for each in candidates.values() if not each.reason] == [
        ("angry", "train", bytes((0, 1, 2, 3))),
        ("neutral", "val", bytes((9, 9, 9, 9))),
        ("happy", "test", bytes((9, 9, 9, 9))),
        ("9", "train", bytes((1, 2, 3, 4))),
    ]
    assert reasons(candidates) == {
        "fer2013.csv:000004": "3 pixels, not a square",
        "fer2013.csv:000005": "pixels that are not whole numbers from 0 to 255",
        "fer2013.csv:000006": "pixels that are not whole numbers from 0 to 255",
    }
    table(tmp_path / "fer2013.csv", ("emotion", "pixels"), (0, " ".join(["127"] * 256**2)))
    assert [len(each.grey) for each in found("fer2013", tmp_path).values()] == [256**2]
    (tmp_path / "second.csv").touch()
    with pytest.raises(UserError, match="2 CSV files; allowed: one"):
        sources.find("fer2013", tmp_path, set())


@pytest.mark.parametrize("header", [EARLY, APRIL, LATE])
def test_ieee8023_under_each_of_its_headers(tmp_path: Path, header: tuple[str, ...]) -> None:
    patient = header[0]
    new = header == LATE
    covid, other = ("Pneumonia/Viral/COVID-19", "No Finding") if new else ("COVID-19", "No Finding")

    def row(name: str, who: str, finding: str, view: str, modality: str = "X-ray") -> dict[str, Any]:
        return {patient: who, "finding": finding, "view": view, "modality": modality, "folder": "images",
                "filename": name}  # fmt: skip

    rows = [row("a.jpg", "7", covid, "PA"), row("b.jpg", "7", covid, "AP Supine"), row("c.png", "8", other, "AP"),
            row("side.jpg", "8", other, "L"), row("gone.jpg", "9", covid, "PA"), row("two.jpg", "3", covid, "PA"),
            row("two.jpg", "4", covid, "PA"), row("../x.jpg", "5", covid, "PA"),
            row("turned.jpg", "6", covid, "PA"), row("turned.jpg", "6", covid, "L")]  # fmt: skip
    ct = row("ct.jpg", "9", covid, "Axial", "CT") if header != EARLY else row("ct.jpg", "9", covid, "Axial CT")
    table(tmp_path / "metadata.csv", header, *rows, ct)
    for name in ("a.jpg", "b.jpg", "c.png", "side.jpg", "ct.jpg", "turned.jpg", "two.jpg", "extra.jpg"):
        write_image(tmp_path / "images" / name)
    candidates = found("ieee8023", tmp_path)
    assert [(each.path, each.label, each.group) for each in candidates.values() if not each.reason] == [
        ("images/a.jpg", covid, "7"),
        ("images/b.jpg", covid, "7"),
        ("images/c.png", other, "8"),
    ]
    assert reasons(candidates) == {
        "images/../x.jpg": "not a file name",
        "images/ct.jpg": "view 'Axial CT' is not frontal" if header == EARLY else "modality 'CT' is not X-ray",
        "images/extra.jpg": "no row of metadata.csv names it",
        "images/gone.jpg": "no such file",
        "images/side.jpg": "view 'L' is not frontal",
        "images/turned.jpg": "rows that differ: view L and PA",
        "images/two.jpg": "rows that differ: patientid 3 and 4",
    }


@pytest.mark.parametrize("inner", ["", "COVID-19_Radiography_Dataset/"])
@pytest.mark.parametrize("level", ["", "images/"])
def test_radiography_s_masks_are_not_xrays(tmp_path: Path, inner: str, level: str) -> None:
    root = tmp_path / inner
    for name in ("COVID", "Viral Pneumonia"):
        write_image(root / name / level / f"{name}-1.png")
        write_image(root / name / "masks" / f"{name}-1.png")
    (root / "COVID.metadata.xlsx").write_bytes(b"PK")
    candidates = found("radiography", tmp_path)
    assert [(each.path, each.label) for each in candidates.values() if not each.reason] == [
        (f"{inner}COVID/{level}COVID-1.png", "COVID"),
        (f"{inner}Viral Pneumonia/{level}Viral Pneumonia-1.png", "Viral Pneumonia"),
    ]
    assert set(reasons(candidates).values()) == {"a mask of the lungs", "not in a class folder"}


@pytest.mark.parametrize("inner", ["", "chest_xray/", "chest_xray/chest_xray/"])
def test_chest_xray_groups_by_patient(tmp_path: Path, inner: str) -> None:
    names = ("train/NORMAL/IM-0115-0001.jpeg", "train/NORMAL/NORMAL2-IM-1427-0001.jpeg",
             "train/PNEUMONIA/person1_bacteria_1.jpeg", "train/PNEUMONIA/person1_virus_6.jpeg",
             "test/PNEUMONIA/person1_virus_8.jpeg", "val/NORMAL/other.jpeg",
             "train/PNEUMONIA/BACTERIA-30629-0002.jpeg", "test/PNEUMONIA/VIRUS-30629-0001.jpeg")  # fmt: skip
    for name in names:
        write_image(tmp_path / inner / name)
    (tmp_path / inner / "train/.DS_Store").write_bytes(b"x")
    candidates = found("chest_xray", tmp_path)
    assert [
        (each.path.removeprefix(inner), each.source_split, each.group)
        for each in candidates.values()
        if not each.reason
    ] == [
        ("test/PNEUMONIA/VIRUS-30629-0001.jpeg", "test", "patient 30629"),
        ("test/PNEUMONIA/person1_virus_8.jpeg", "test", "test/PNEUMONIA/person1"),
        ("train/NORMAL/IM-0115-0001.jpeg", "train", "train/NORMAL/IM-0115"),
        ("train/NORMAL/NORMAL2-IM-1427-0001.jpeg", "train", "train/NORMAL/NORMAL2-IM-1427"),
        ("train/PNEUMONIA/BACTERIA-30629-0002.jpeg", "train", "patient 30629"),
        ("train/PNEUMONIA/person1_bacteria_1.jpeg", "train", "train/PNEUMONIA/person1"),
        ("train/PNEUMONIA/person1_virus_6.jpeg", "train", "train/PNEUMONIA/person1"),
        ("val/NORMAL/other.jpeg", "val", ""),
    ]
    assert [each.path.removeprefix(inner) for each in candidates.values() if each.note] == ["val/NORMAL/other.jpeg"]
    with pytest.raises(UserError, match="no folder train/"):
        sources.find("chest_xray", tmp_path / inner / "train", set())


def test_a_mixed_source_keeps_its_sources_and_their_patients_apart(tmp_path: Path) -> None:
    row = {"patientid": "1", "finding": "COVID-19", "view": "PA", "modality": "X-ray", "filename": "a.png"}
    table(tmp_path / "ieee8023/metadata.csv", APRIL, row)
    write_image(tmp_path / "ieee8023/images/a.png")
    write_image(tmp_path / "chest_xray/train/NORMAL/IM-1-0001.jpeg")
    write_image(tmp_path / "folders-b/covid/a.png")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "legend").symlink_to(tmp_path / "folders-b")
    candidates = found("mixed", tmp_path)
    assert [(each.path, each.label, each.source, each.group, each.source_split) for each in candidates.values()] == [
        ("legend", "", "", "", ""),
        ("notes.txt", "", "", "", ""),
        ("chest_xray/train/NORMAL/IM-1-0001.jpeg", "NORMAL", "chest_xray", "chest_xray/train/NORMAL/IM-1", "train"),
        ("folders-b/covid/a.png", "covid", "folders-b", "", ""),
        ("ieee8023/images/a.png", "COVID-19", "ieee8023", "ieee8023/1", ""),
    ]
    assert set(reasons(candidates)) == {"legend", "notes.txt"}


@pytest.mark.parametrize("name", ["kaggle", "synthetic", "mixed-2"])
def test_a_mixed_source_s_folders_name_their_format(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "folders" / "happy/a.png")
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=rf"folders '{name}' found; allowed: .*chest_xray.*radiography"):
        sources.find("mixed", tmp_path, set())


def test_a_linked_folder_of_affectnet_is_not_read(tmp_path: Path) -> None:
    write_image(tmp_path / "outside/images/0.jpg")
    (tmp_path / "outside/annotations").mkdir()
    np.save(tmp_path / "outside/annotations/0_exp.npy", np.array(5))
    (tmp_path / "source").mkdir()
    (tmp_path / "source/train_set").symlink_to(tmp_path / "outside")
    assert reasons(found("affectnet", tmp_path / "source")) == {"train_set/images/0.jpg": "a link out of the folder"}


SYNTHETIC = "params.yaml: studies.xray.synthetic"
TWO_CLASSES = {"normal": ["normal"], "flu": ["flu"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source__format": "jpeg"}, "params.yaml: studies.xray.source.format: 'jpeg' found; allowed: affectnet, "),
        ({"synthetic": None}, f"{SYNTHETIC}: None found; allowed: a section, since the source's format is synthetic"),
        ({"synthetic__generator": "films"}, f"{SYNTHETIC}.generator: 'films' found; allowed: faces, xrays"),
        (
            {"classes": TWO_CLASSES, "positive": "flu"},
            "params.yaml: studies.xray.classes.flu: ['flu'] found; allowed: with synthetic data: normal, covid",
        ),
        (
            {"synthetic__options": {"site": 0.5}},
            f"{SYNTHETIC}.options.site: 0.5 found; allowed: only the options site_label_correlation, "
            "test_site_label_correlation",
        ),
        (
            {"synthetic__options": {"site_label_correlation": -1.5}},
            f"{SYNTHETIC}.options.site_label_correlation: -1.5 found; allowed: -1 to 1",
        ),
        (
            {"synthetic__options": {"site_label_correlation": True}},
            f"{SYNTHETIC}.options.site_label_correlation: True found; allowed: -1 to 1",
        ),
    ],
)
def test_what_a_generator_does_not_have_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    sources.check_sources(built.params())
    with pytest.raises(UserError) as refused:
        sources.check_sources(built.params(**{f"studies__xray__{key}": value for key, value in changes.items()}))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_a_generator_without_options_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synth.generator("faces"), "OPTIONS", {})
    with pytest.raises(UserError, match=r"synthetic\.options\.age: 3 found; allowed: no options$"):
        sources.check_sources(built.params(studies__faces__synthetic__options={"age": 3}))


def test_a_generators_classes_and_options_bind_synthetic_sources_alone() -> None:
    changes = {"classes": TWO_CLASSES, "positive": "flu", "synthetic__options": {"site": 0.5}}
    own = {f"studies__xray__{key}": value for key, value in changes.items()}
    sources.check_sources(built.params(**own, studies__xray__source={"format": "folders", "path": "data/raw/x"}))
