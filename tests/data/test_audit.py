"""The audit finds what ruins a study, in the data as it came and as it is used, and says what to do."""

from pathlib import Path
from typing import Any

import built
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnstudy.config.schema import Params
from cnnstudy.data import duplicates, ingest, splits
from cnnstudy.data.audit import findings

RAW, USED = "raw", "used"


def parameters(study: str, source: Path, **settings: Any) -> Params:
    changes: dict[str, Any] = {f"studies__{study}__split__{key}": value for key, value in settings.items()}
    changes[f"studies__{study}__source"] = {"format": "folders", "path": str(source)}
    return built.params(**changes)


def audited(params: Params, study: str, folder: Path) -> dict[str, Any]:
    """Ingest, split and audit, as the stages do."""
    settings = params.studies[study]
    tables = ingest.write(ingest.find(params, study), "x", settings.image_size, folder / "images.npy")
    images = np.load(folder / "images.npy", mmap_mode="r")
    copies = duplicates.copies(tables.samples["sha256"], images)
    assigned = splits.assign(study, tables.samples, copies, settings.split, 0)
    table = tables.samples.assign(**assigned.drop(columns="id"))
    return findings.audit(table, images, tables.rejects, settings.classes)


def checks(content: dict[str, Any], view: str) -> dict[str, tuple[str, int]]:
    """{check: (severity, images)} of all findings but those of severity `info`."""
    found = content["findings"][view]
    return {each["check"]: (each["severity"], each["count"]) for each in found if each["severity"] != "info"}


def probed(content: dict[str, Any], target: str) -> dict[str, float]:
    """Return how well a model predicts the class or the split without the image, in the data as used."""
    (row,) = [each for each in content["metadata_probe"] if (each["data"], each["target"]) == (USED, target)]
    return {name: value for name, value in row.items() if name not in ("data", "target")}


class Folder:
    """Write images of noise into folders, each a different one."""

    def __init__(self, root: Path) -> None:
        self.root, self.rng = root, np.random.default_rng(0)

    def add(self, name: str, mode: str = "L") -> None:
        coarse = Image.fromarray(self.rng.integers(0, 256, (12, 12), dtype=np.uint8)).resize((80, 80))
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse.convert(mode).save(path, quality=95)

    def copy(self, name: str, target: str, again: bool = False) -> None:
        """A copy of a file, byte for byte, or saved again at another quality."""
        path = self.root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        if again:
            with Image.open(self.root / name) as image:
                image.save(path, quality=70)
        else:
            path.write_bytes((self.root / name).read_bytes())


@pytest.fixture
def faces(tmp_path: Path) -> Folder:
    """Forty training and twenty tuning images of two classes, without faults."""
    folder = Folder(tmp_path / "source")
    for split, count in (("TRAIN", 40), ("TUNE", 20)):
        for label in ("happy", "sad"):
            for i in range(count):
                folder.add(f"{split}/{label}/{i:02d}.jpg")
    return folder


def test_a_clean_set_has_nothing_to_warn_of(faces: Folder, tmp_path: Path) -> None:
    content = audited(parameters("faces", faces.root), "faces", tmp_path)
    # Six classes have no images, and nothing says who is on those there are.
    assert checks(content, USED) == {"balance": ("warning", 0), "groups": ("warning", 120)}
    assert "neutral (0)" in content["findings"][USED][0]["advice"]
    assert (content["images"], content["rejected"], content["dropped"]) == (120, 0, 0)
    assert content["balance"]["tune"]["happy"] == 20
    assert content["not_used"] == []


def test_copies_are_found_and_what_they_spoil_is_taken_out(faces: Folder, tmp_path: Path) -> None:
    """Copies in two splits, byte-identical and re-saved; under two classes; and twice in one split."""
    faces.copy("TUNE/happy/00.jpg", "TRAIN/happy/x.jpg")
    faces.copy("TUNE/sad/01.jpg", "TRAIN/sad/y.jpg", again=True)
    faces.copy("TRAIN/happy/00.jpg", "TRAIN/sad/x.jpg")
    faces.copy("TUNE/happy/02.jpg", "TUNE/happy/x.jpg")
    content = audited(parameters("faces", faces.root), "faces", tmp_path)
    assert checks(content, RAW)["leak"] == ("severe", 4)
    kind = next(each["kind"] for each in content["findings"][RAW] if each["check"] == "leak")
    assert kind == "the same image in two splits (2 of them byte-identical)"
    assert checks(content, RAW)["conflict"] == ("severe", 2)
    used = checks(content, USED)
    assert not {"leak", "conflict"} & set(used)
    assert used["copies"] == ("warning", 2)
    assert content["dropped"] == 4
    assert {each["kind"] for each in content["not_used"]} == {
        "dropped: a copy, or the same person, is in tune",
        "dropped: the same image is under another class too",
    }
    assert findings.failures(content, ["leak", "conflict"]) == []


def test_what_is_kept_on_request_can_stop_the_training(faces: Folder, tmp_path: Path) -> None:
    faces.copy("TUNE/happy/00.jpg", "TRAIN/happy/x.jpg")
    content = audited(parameters("faces", faces.root, leaks="keep"), "faces", tmp_path)
    assert findings.failures(content, ["leak"]) == [
        "leak: the same image in two splits (2 of them byte-identical), 2 images"
    ]
    assert findings.failures(content, ["shortcut", "conflict"]) == []


def test_a_class_of_one_file_type_is_a_shortcut(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "source")
    for i in range(60):
        folder.add(f"happy/{i}.png")
        folder.add(f"sad/{i}.jpg")
        folder.add(f"anger/{i}.jpg")
    content = audited(parameters("faces", folder.root), "faces", tmp_path)
    assert checks(content, USED)["shortcut"][0] == "severe"
    probe = probed(content, "class")
    assert probe["file_type_alone"] > 0.6 > probe["chance"]
    assert findings.failures(content, ["shortcut"])[0].startswith("shortcut: ")


def test_a_class_in_colour_beside_a_grey_one_is_a_shortcut(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "source")
    for i in range(40):
        folder.add(f"normal/{i}.jpg")
        folder.add(f"covid/{i}.jpg", mode="RGB")
    content = audited(parameters("xray", folder.root), "xray", tmp_path)
    finding = next(each for each in content["findings"][USED] if each["check"] == "shortcut")
    assert finding["severity"] == "severe"
    assert "predicts the class: 1.000" in finding["kind"]
    assert probed(content, "class")["colour_mode_alone"] == 1.0


def test_a_patient_on_both_sides_of_a_source_s_split_is_found() -> None:
    rng = np.random.default_rng(0)
    count = 40
    samples = pd.DataFrame({
        "id": range(count), "label": ["normal", "covid"] * 20, "group": [f"p{i // 2}" for i in range(count)],
        "source_split": ["train"] * 30 + ["test"] * 10, "source": "x", "path": [f"{i}.png" for i in range(count)],
        "sha256": [str(i) for i in range(count)], "width": 9, "height": 9, "mode": "L", "bytes": 9,
    })  # fmt: skip
    samples.loc[35, "group"] = "p0"
    params = parameters("xray", Path("/"))
    assigned = splits.assign("xray", samples, np.arange(count), params.studies["xray"].split, 0)
    images = rng.integers(0, 256, (count, 9, 9, 3), dtype=np.uint8)
    table = samples.assign(**assigned.drop(columns="id"))
    content = findings.audit(table, images, pd.DataFrame({"path": []}), params.studies["xray"].classes)
    assert checks(content, RAW)["leak"] == ("severe", 3)
    assert "leak" not in checks(content, USED)
    assert content["dropped"] == 2


def test_what_a_source_puts_into_no_split_is_on_no_side_of_one() -> None:
    """One of two mixed sources has no splits: its images neither leak nor count as a split that features predict."""
    count = 80
    is_split = np.arange(count) >= 40
    table = pd.DataFrame({
        "id": range(count), "label": ["normal", "covid"] * 40, "group": "",
        "source_split": np.where(is_split, "train", ""), "source": np.where(is_split, "x", "y"),
        "path": [f"{'yx'[int(own)]}/{i}.png" for i, own in enumerate(is_split)],
        "sha256": [str(i) for i in range(count)], "width": np.where(is_split, 9, 8), "height": 9, "mode": "L",
        "bytes": 9, "split": "train", "reason": "", "copy": range(count), "family": range(count),
    })  # fmt: skip
    table.loc[60:, "source_split"] = "test"
    table.loc[40, ["sha256", "copy", "family"]] = table.loc[0, ["sha256", "copy", "family"]]
    images = np.random.default_rng(0).integers(0, 256, (count, 9, 9, 3), dtype=np.uint8)
    content = findings.audit(table, images, pd.DataFrame({"path": []}), built.params().studies["xray"].classes)
    assert {"leak", "drift"}.isdisjoint(checks(content, RAW))
    assert checks(content, RAW)["copies"] == ("warning", 2)
    table.loc[60, ["sha256", "copy", "family"]] = table.loc[0, ["sha256", "copy", "family"]]
    content = findings.audit(table, images, pd.DataFrame({"path": []}), built.params().studies["xray"].classes)
    assert checks(content, RAW)["leak"] == ("severe", 3)


@pytest.mark.slow
@pytest.mark.parametrize(("tie", "expected"), [(0.0, False), (1.0, True)])
def test_synthetic_xrays_tied_to_their_site_are_found(tmp_path: Path, tie: float, expected: bool) -> None:
    size = {"studies__xray__synthetic__train": 60, "studies__xray__synthetic__test": 20}
    tied = {"studies__xray__synthetic__options__site_label_correlation": tie}
    found = checks(audited(built.params(**size, **tied), "xray", tmp_path), USED)
    assert (found.get("shortcut", ("", 0))[0] == "severe") == expected


def test_the_copies_that_matter_most_are_shown_first() -> None:
    table = pd.DataFrame({
        "id": range(7), "copy": [0, 0, 1, 1, 2, 2, 3], "label": list("aaabaaa"),
        "split": ["train", "val", "train", "train", "train", "train", "train"],
    })  # fmt: skip
    assert findings.copies_shown(table, most=2) == [[2, 3], [0, 1]]


def test_the_balance_is_drawn(tmp_path: Path) -> None:
    table = findings.balance(pd.DataFrame({"label": list("abb")}), pd.DataFrame({"split": ["val", "train", "train"]}),
                          ("a", "b"))  # fmt: skip
    assert table.to_numpy().tolist() == [[0, 1], [2, 0]]
    findings.save_balance(table, tmp_path / "balance.png")
    assert (tmp_path / "balance.png").stat().st_size > 1000
