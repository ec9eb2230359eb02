"""`cnnstudy new`: a study of one's own from a folder of classes or a table."""

import csv
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from built import content
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnnstudy import cli
from cnnstudy.config.checks import _class_contradictions
from cnnstudy.config.compose import composition
from cnnstudy.config.params import parse_params
from cnnstudy.config.schema import RESERVED
from cnnstudy.data.survey import class_names
from cnnstudy.errors import UserError

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "New":
    return New(monkeypatch, capsys)


class New:
    """The command, called as a user does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> str:
        """Return what the command prints."""
        self.monkeypatch.setattr(sys, "argv", ["cnnstudy", "new", *arguments])
        cli.main()
        return self.capsys.readouterr().out

    def refused(self, *arguments: str) -> str:
        """Return the line that the command refuses its arguments with."""
        with pytest.raises(SystemExit) as end:
            self(*arguments)
        assert end.value.code == 2
        (line,) = self.capsys.readouterr().err.splitlines()
        return line


def write_images(folder: Path, count: int, size: tuple[int, int] = (40, 50), name: str = "{:03d}.png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("L", size, number % 256).save(folder / name.format(number))


def study(name: str) -> dict:
    return composition([f"model={name}"]).model_dump()["studies"][name]


def test_a_folder_of_classes(new: New) -> None:
    root = Path("data/raw/leaves")
    for label, count in (("Oak tree", 30), ("ash", 8), ("elm", 5)):
        write_images(root / label, count)
    (root / "elm/notes.txt").write_text("none of these is an image")
    printed = new("leaves", "--data", "data/raw/leaves")
    composed = study("leaves")
    assert composed["source"]["path"] == "data/raw/leaves"
    assert composed["classes"] == {"ash": ["ash"], "elm": ["elm"], "oak-tree": ["oak tree"]}
    assert composed["positive"] is None
    assert (composed["image_size"], composed["class_weight"]) == (48, "balanced")
    assert (composed["split"]["val"], composed["split"]["test"]) == (0.2, 0.2)
    params = composition(["model=leaves", "profile=smoke"])
    assert (params.studies["leaves"].image_size, params.studies["leaves"].epochs) == (32, 1)
    assert {run.policy for run in params.runs.values()} == {"augmented"}
    assert len({run.net for run in params.runs.values()}) == len(params.runs) == 2
    assert params.exported.keys() == params.runs.keys() == params.ablations["leaves-nets"].runs.keys()
    text = Path("conf/model/leaves.yaml").read_text()
    assert "oak-tree: [oak tree]  # 30 images" in text
    assert "elm: [elm]  # 5 images" in text
    assert "43 images of 3 classes (folders): ash 8, elm 5, oak-tree 30" in printed
    assert "not an image: 1" in printed
    assert "dvc add data/raw/leaves" in printed
    assert "cnnstudy params model=leaves && cnnstudy repro" in printed
    assert len(printed.splitlines()) < 12


def test_splits_and_persons_of_the_source(new: New, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("outside")
    for split, count in (("Train", 12), ("Test", 4)):
        for label in ("NORMAL", "ill"):
            write_images(root / split / label, count, name=f"patient{split}" + "{:d}_1.png")
    write_images(root / "Train/ill/more", 2, name="patient5_{:d}.png")
    printed = new("lungs", "--data", str(root))
    composed = study("lungs")
    assert composed["source"]["path"] == str(root)
    assert composed["positive"] == "ill"
    assert "the positive class is ill" in printed
    assert "dvc add" not in printed
    assert "splits: Test 8" not in printed
    assert "splits: test 8, train 26; made at random: val 20%" in printed
    text = Path("conf/model/lungs.yaml").read_text()
    assert "split: {val: 0.2}" in text
    assert "18 images: test 4, train 14" in text


def test_folders_that_are_numbers_become_classes(new: New) -> None:
    for label in ("0", "1", "10", "2"):
        write_images(Path("numbers", label), 4)
    new("numbers", "--data", "numbers")
    assert study("numbers")["classes"] == {
        "class-0": ["0"], "class-1": ["1"], "class-2": ["2"], "class-10": ["10"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "positive"),
    [
        (("normal", "covid"), "covid"),
        (("Positive", "No finding"), "positive"),
        (("cat", "dog"), "dog"),
        (("no", "yes"), "yes"),
    ],
)
def test_the_positive_class_is_the_one_that_is_not_called_negative(
    new: New, labels: tuple[str, str], positive: str
) -> None:
    for label in labels:
        write_images(Path("two", label), 3)
    assert f"the positive class is {positive}" in new("two", "--data", "two")
    assert study("two")["positive"] == positive


def write_table(columns: tuple[str, ...], labels: tuple[str, ...], each: int) -> None:
    write_images(Path("table/images"), each * len(labels))
    with Path("table/list.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows([f"{i:03d}.png", labels[i % len(labels)]] for i in range(each * len(labels)))


def test_a_table(new: New) -> None:
    write_table(("file", "label"), ("on", "Off", "1e3"), 5)
    printed = new("switches", "--data", "table/list.csv")
    composed = study("switches")
    assert composed["source"]["format"] == "csv"
    assert composed["classes"] == {"1e3": ["1e3"], "off": ["off"], "on": ["on"]}
    assert "files by 'file', labels by 'label'" in printed


def test_columns_without_usual_names_are_named(new: New) -> None:
    write_table(("pic", "kind"), ("a", "b"), 5)
    line = new.refused("table", "--data", "table")
    assert "pic, kind" in line
    assert "--file-column, one of them" in line
    new("table", "--data", "table", "--file-column", "pic", "--label-column", "kind")
    assert study("table")["source"]["columns"]["label"] == "kind"
    assert "--label-column: 'sort' found" in new.refused(
        "b", "--data", "table", "--file-column=pic", "--label-column=sort"
    )
    assert "no CSV file" in new.refused("other", "--data", "table/images", "--label-column", "kind")


def test_a_table_beside_class_folders_that_says_less_is_passed_over(new: New) -> None:
    for label in ("a", "b"):
        write_images(Path("both", label), 6)
    Path("both/sizes.csv").write_text("width,height\n40,50\n")
    assert "(folders)" in new("both", "--data", "both")


def test_only_headers_are_read(new: New) -> None:
    for label in ("a", "b"):
        write_images(Path("cut", label), 1)
        beginning = (Path("cut") / label / "000.png").read_bytes()[:45]
        for number in range(300):
            (Path("cut") / label / f"{number:03d}.png").write_bytes(beginning)
    printed = new("cut", "--data", "cut")
    assert "600 images" in printed
    (count,) = re.findall(r"image sizes \((\d+) of 600 images measured\): all 40 x 50", printed)
    assert 0 < int(count) <= 200


def test_classes_called_like_masks(new: New) -> None:
    for label in ("with_mask", "without_mask"):
        write_images(Path("worn", label), 4)
    new("worn", "--data", "worn")
    assert study("worn")["classes"] == {"with-mask": ["with_mask"], "without-mask": ["without_mask"]}
    assert study("worn")["positive"] == "with-mask"


def test_folders_of_masks_are_no_class(new: New) -> None:
    for folder in ("a/images", "b/images", "a/masks"):
        write_images(Path("lungs", folder), 4)
    assert "8 images of 2 classes" in new("lungs", "--data", "lungs")


def test_a_class_with_too_few_images_is_left_out(new: New) -> None:
    for label, count in (("a", 9), ("b", 9), ("rare", 2)):
        write_images(Path("some", label), count)
    assert "left out: rare (2 images): at least 3 are needed" in new("some", "--data", "some")
    assert list(study("some")["classes"]) == ["a", "b"]


def test_one_net_is_compared_under_two_policies(new: New) -> None:
    for label in ("a", "b", "c"):
        write_images(Path("abc", label), 4)
    new("abc", "--data", "abc", "--net", "alexnet")
    params = composition(["model=[abc,mobilenet]"])
    assert {run: (its.net, its.policy) for run, its in params.runs.items() if its.study == "abc"} == {
        "abc-plain": ("alexnet", "plain"),
        "abc-augmented": ("alexnet", "augmented"),
    }
    assert "allowed: alexnet, " in new.refused("x", "--data", "abc", "--net", "lenet")


@pytest.mark.parametrize(
    "name", ["raw", "reference", "all", "alexnet", "resnet18", "faces", "base", "A", "a_b", "7", "a-", "null"]
)
def test_a_name_that_can_not_be_taken(new: New, name: str) -> None:
    assert f"NAME: '{name}' " in new.refused(name, "--data", "conf")


def test_a_file_that_is_there_stays(new: New) -> None:
    for label in ("a", "b"):
        write_images(Path("ab", label), 4)
    target = Path("conf/model/ab.yaml")
    target.write_text("mine")
    assert "exists already" in new.refused("ab", "--data", "ab")
    assert target.read_text() == "mine"
    new("ab", "--data", "ab", "--force")
    assert study("ab")["classes"] == {"a": ["a"], "b": ["b"]}


def test_what_does_not_compose_is_not_left_behind(new: New) -> None:
    for label in ("a", "b"):
        write_images(Path("data/ab", label), 4)
    assert "source.path" in new.refused("ab", "--data", "data/ab")
    assert not Path("conf/model/ab.yaml").exists()


def test_what_can_not_be_read_is_refused_in_one_line(new: New) -> None:
    assert "neither a folder nor a file" in new.refused("x", "--data", "nowhere")
    Path("images.zip").write_bytes(b"PK")
    assert "is a file" in new.refused("x", "--data", "images.zip")
    write_images(Path("one/a"), 4)
    assert "classes found: a; allowed: " in new.refused("x", "--data", "one")
    for label in ("a", "b"):
        (Path("texts") / label).mkdir(parents=True)
        for number in range(4):
            (Path("texts") / label / f"{number}.txt").write_text("no image")
    assert "none of 8 files looked at can be read" in new.refused("x", "--data", "texts")
    for folder in ("chest_xray/NORMAL", "ieee8023/images"):
        write_images(Path("sources", folder), 4)
    assert "a source of its own" in new.refused("x", "--data", "sources")
    write_images(Path("odd/a"), 4)
    write_images(Path("odd/test_old"), 4)
    assert "looks like a split" in new.refused("x", "--data", "odd")


@given(st.sets(st.text(min_size=1), min_size=2, max_size=8))
def test_every_label_gets_a_class_whose_name_is_allowed(labels: set[str]) -> None:
    names, spellings = class_names(labels)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) and name not in RESERVED for name in spellings)
    assert sorted(names) == sorted(each for its in spellings.values() for each in its)
    assert not _class_contradictions("studies.x", spellings)


def test_labels_that_make_the_same_name_are_classes_of_their_own() -> None:
    assert class_names(["C++", "C", "c_", "macro"])[1] == {"c": ["c", "c_"], "c-2": ["c++"], "class-macro": ["macro"]}


@pytest.mark.parametrize("name", ["raw", "reference"])
def test_no_study_is_called_like_a_folder_that_all_share(name: str) -> None:
    parameters = yaml.safe_load(yaml.safe_dump(content()))
    first = next(iter(parameters["studies"]))
    parameters["studies"][name] = {**parameters["studies"][first]}
    with pytest.raises(UserError, match=rf"studies\.{name}: '{name}' found; allowed: any other name"):
        parse_params(yaml.safe_dump(parameters), Path("params.yaml"))
