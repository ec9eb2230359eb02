"""Broken and hostile files: no crash, nothing read outside the source, nothing unpickled. Examples are generated."""

import ast
import io
import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnstudy.data import ingest, sources
from cnnstudy.data.decode import Decoded, UnreadableError
from cnnstudy.data.sources import Candidate
from cnnstudy.errors import UserError

SRC = Path(__file__).parents[2] / "src"
SETTINGS = settings(
    max_examples=200,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def encoded(form: str, mode: str, **options: object) -> bytes:
    """A small image as a file."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 4), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


IMAGES = [
    encoded("JPEG", "RGB"), encoded("JPEG", "CMYK", progressive=True), encoded("PNG", "RGBA"), encoded("PNG", "P"),
    encoded("PNG", "I;16"), encoded("GIF", "P"), encoded("BMP", "RGB"), encoded("TIFF", "F"), encoded("WEBP", "RGBA"),
    encoded("TIFF", "RGB", compression="tiff_lzw"), encoded("JPEG2000", "RGB"), encoded("PPM", "RGB"),
    encoded("JPEG", "L", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """The content after some bytes were changed, cut out, doubled or put in."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(changed)))
        length = draw(st.integers(0, 40))
        kind = draw(st.sampled_from(["change", "cut", "double", "insert", "truncate"]))
        if kind == "change":
            changed[at : at + 4] = draw(st.binary(max_size=4))
        elif kind == "cut":
            del changed[at : at + length]
        elif kind == "double":
            changed[at:at] = changed[at : at + length]
        elif kind == "insert":
            changed[at:at] = draw(
                st.one_of(st.binary(max_size=9), st.sampled_from([b"\xff\xff\xff\xff", b'"', b",\n"]))
            )
        else:
            del changed[at:]
    return bytes(changed)


@SETTINGS
@given(st.sampled_from(IMAGES).flatmap(mutated), st.sampled_from([None, (-5.0, 3.0, float("inf"), float("nan"))]))
def test_a_broken_picture_is_read_or_rejected(
    tmp_path: Path, content: bytes, box: tuple[float, float, float, float] | None
) -> None:
    (tmp_path / "image").write_bytes(content)
    read = ingest._decode(Candidate("image", box=box), root=tmp_path, size=16)
    if isinstance(read, UnreadableError):
        assert str(read)
        assert "\n" not in str(read)
    else:
        assert read.pixels.shape == (16, 16, 3)
        assert read.pixels.dtype == np.uint8


PARTS = st.one_of(
    st.sampled_from(
        ["train", "Testing", "test_old", "masks", "covid", "NORMAL", "@eaDir", "images", "0", "patient1", "..."]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)


@SETTINGS
@given(
    st.lists(st.lists(PARTS, min_size=1, max_size=4), min_size=1, max_size=6),
    st.sampled_from(["folders", "radiography"]),
)
def test_folders_of_any_name_are_listed_once_each_or_refused(paths: list[list[str]], form: str) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "source"
        root.mkdir()
        for parts in paths:
            with suppress(OSError):  # a name that is a file already
                (root / "/".join(parts)).parent.mkdir(parents=True, exist_ok=True)
                (root / "/".join(parts)).write_bytes(IMAGES[2])
        with suppress(UserError):
            found = sources.find(form, root, {"covid", "normal"})
            assert len(found) == sum(path.is_file() for path in root.rglob("*"))
            assert not [each for each in found if not each.reason and "masks" in each.path.split("/")[:-1]]


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


class Payload:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("unpickled",)


ZIPPED = io.BytesIO()
np.savez(ZIPPED, a=np.zeros(1))
HUGE = saved(np.zeros(1)).replace(b"(1,)", b"(1" + b"0" * 15 + b",)").replace(b"\x76\x00{", b"\x85\x00{")
ANNOTATIONS = [
    saved(np.array("1")), saved(np.array(5)), saved(np.arange(3)), saved(np.array(np.nan)), HUGE, ZIPPED.getvalue(),
    pickle.dumps(Payload()), saved(np.array(["x" * 5000])),
    b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(128, b" ")
    + pickle.dumps(np.array([Payload()], object)),
]  # fmt: skip
NAMES = [
    "a.png", "b.png", "1/c.png", "../outside/secret.png", "1/../../outside/secret.png", "link/secret.png",
    "secret.png", "/etc/hostname", "", ".", "..", "\0", "a" * 300, "%00", "\ud800", "<b>.png", "CON", "a.png/",
]  # fmt: skip
CELLS = st.one_of(
    st.sampled_from(NAMES), st.integers().map(str), st.floats().map(str), st.just("9" * 5000), st.just("1 2 3 4"),
    st.sampled_from(["happy", "COVID-19", "PA", "X-ray", "Training"]), st.text(max_size=5),
)  # fmt: skip
COLUMNS = {
    "affectnet": ("subDirectory_filePath", "expression", "face_x", "face_y", "face_width", "face_height"),
    "kaggle_affectnet": ("pth", "label"),
    "fer2013": ("emotion", "pixels", "Usage"),
    "ieee8023": ("patientid", "finding", "view", "modality", "folder", "filename"),
    "csv": ("file", "label", "split", "patient"),
}
TABLES = {
    "affectnet": ("Manually_Annotated_file_lists/training.csv", "Manually_Annotated_file_lists/validation.csv"),
    "kaggle_affectnet": ("labels.csv",),
    "fer2013": ("fer2013.csv",),
    "ieee8023": ("metadata.csv",),
    "legend": ("data/legend.csv",),
    "csv": ("table.csv",),
}
COLUMNS["legend"] = ("user.id", "image", "emotion")
FOLDERS = {"affectnet": "Manually_Annotated_Images", "ieee8023": "images", "legend": "images"}


@contextmanager
def only_inside(root: Path) -> Iterator[None]:
    """Fail where a file beside `root` is opened, or a folder beside it listed, meanwhile."""
    opened: list[str] = []
    outside = os.fspath(root.parent / "outside")

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if (
            watching
            and event in ("open", "os.listdir", "os.scandir")
            and isinstance(arguments[0], str | bytes | os.PathLike)
        ):
            opened.append(os.path.realpath(os.fsdecode(arguments[0])))

    watching = True
    sys.addaudithook(look)  # it can't be taken away again
    yield
    watching = False
    parents = {os.fspath(folder) for folder in root.parents}
    assert not [path for path in opened if path.startswith((outside, "/etc/hostname")) or path in parents]


def build(root: Path, form: str) -> None:
    """A source's folder with images, a link out of it, and a bait beside it."""
    images = root / FOLDERS.get(form, "")
    (images / "1").mkdir(parents=True)
    for name in ("a.png", "b.png", "1/c.png"):
        (images / name).write_bytes(IMAGES[2])
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(IMAGES[2])
    (images / "link").symlink_to(outside)
    (images / "secret.png").symlink_to(outside / "secret.png")
    for table in TABLES.get(form, ()):
        (root / table).parent.mkdir(parents=True, exist_ok=True)


def take(form: str, root: Path) -> None:
    """List a source and read what can be read of it, as ingest does; all that may be raised is a UserError."""
    with only_inside(root), suppress(UserError):
        for candidate in sources.find(form, root, {"happy", "sad", "covid", "1"}):
            assert candidate.path or candidate.reason
            assert "\r" not in candidate.path
            if not candidate.reason:
                read = ingest._decode(candidate, root=root, size=16)
                assert isinstance(read, Decoded | UnreadableError)


@SETTINGS
@given(data=st.data())
@pytest.mark.parametrize("form", sorted(TABLES))
def test_a_hostile_table(form: str, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "source"
        build(root, form)
        for table in TABLES[form]:
            columns = COLUMNS[form]
            rows = data.draw(st.lists(st.lists(CELLS, min_size=1, max_size=len(columns)), max_size=5))
            text = "\n".join([",".join(columns), *(",".join(row) for row in rows)])
            content = text.encode("utf-8", "surrogatepass")
            (root / table).write_bytes(data.draw(st.one_of(st.just(content), mutated(content))))
        take(form, root)


@SETTINGS
@given(content=st.sampled_from(ANNOTATIONS).flatmap(lambda one: st.one_of(st.just(one), mutated(one))))
def test_a_hostile_annotation(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with TemporaryDirectory() as folder, monkeypatch.context() as patch:
        root = Path(folder).resolve() / "source"
        for name in ("images", "annotations"):
            (root / "train_set" / name).mkdir(parents=True)
        (root / "train_set/images/0.png").write_bytes(IMAGES[2])
        (root / "train_set/annotations/0_exp.npy").write_bytes(content)
        patch.chdir(root)
        take("affectnet", root)
        assert not (root / "unpickled").exists()


INNER = {"radiography": "COVID/images", "chest_xray": "train/NORMAL", "mixed": "folders/happy"}


@pytest.mark.parametrize("form", ["folders", "radiography", "chest_xray", "mixed"])
def test_links_out_of_a_folder_are_not_followed(tmp_path: Path, form: str) -> None:
    root = tmp_path / "source"
    inner = root / INNER.get(form, "happy")
    build(inner, form)
    (tmp_path / "outside").mkdir(exist_ok=True)
    (tmp_path / "outside" / "secret.png").write_bytes(IMAGES[2])
    (inner / "second.png").symlink_to(tmp_path / "outside" / "secret.png")
    take(form, root)
    found = {candidate.path: candidate.reason for candidate in sources.find(form, root, {"happy", "covid"})}
    assert [path for path, reason in found.items() if not reason and ("second" in path or "link" in path)] == []


def test_nothing_is_unpickled_and_models_are_opened_safely() -> None:
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "joblib", "dill", "cloudpickle", "shelve"} & {name.split(".")[0] for name in imported}
            if isinstance(node, ast.Call):
                named = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert named.get("allow_pickle", "False") == "False", path
                if ast.unparse(node.func).endswith("load_model"):
                    assert named.get("safe_mode", "True") == "True", path
