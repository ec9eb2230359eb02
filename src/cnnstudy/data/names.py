"""Meanings of file and folder names: system files, masks and splits."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from types import MappingProxyType

from cnnstudy.config.labels import folded, loosened

# Folders of operating systems and programs, with their contents.
SYSTEM = {
    "@eadir": "thumbnails of a Synology NAS", ".@__thumb": "thumbnails of a QNAP NAS", "@recycle": "a recycle bin",
    "#recycle": "a recycle bin", "$recycle.bin": "a recycle bin", "recycler": "a recycle bin", "@tmp": "a NAS's files",
    "#snapshot": "snapshots of a NAS", "@recently-snapshot": "snapshots of a NAS", "@snapshot": "snapshots of a NAS",
    ".trash": "a recycle bin", ".trashes": "a recycle bin", "thumbnails": "thumbnails", "thumbnail": "thumbnails",
    "thumbs": "thumbnails", "thumb": "thumbnails",
    ".picasaoriginals": "Picasa's copies", "_thumbs": "thumbnails", ".ipynb_checkpoints": "copies of a notebook",
    "ipynb_checkpoints": "copies of a notebook", "__macosx": "files that macOS adds to a ZIP",
    "system volume information": "Windows's files", "lost+found": "files saved by a disk check",
    "__pycache__": "compiled Python",
}  # fmt: skip
TRASH = re.compile(r"\.trash-\d+")
# Names of mask folders, in lower case and with blanks for `_` and `-`.
MASKS = re.compile(
    r"(.*\b)?(masks?|maskpng|segmentations?|segs?|ground ?truths?|gt|annotations?|contours?|overlays?|heat ?maps?"
    r"|label ?maps?|bounding ?boxes|lung(s)? segmented)( (images?|imgs?|png|files))?|\w*masks?"
)
# Names of derived files: the name of another file, followed by one of these words.
BESIDE = re.compile(
    r"(?P<stem>.+?)[ _.-]+\(?(?P<what>masks?|seg|segmentation|gt|groundtruth|ground_truth|contour|overlay|heatmap"
    r"|thumb|thumbnail|checkpoint)\)?([ _.-]*\(?\d+\)?)?",
    re.IGNORECASE,
)
SUSPECT = re.compile(r"mask|seg|gt|ground|contour|overlay|heatmap|thumb|checkpoint", re.IGNORECASE)
WITHOUT = ("thumb", "thumbnail", "checkpoint")

# Meaningless folders between those of the split, the class and the images.
CONTAINERS = frozenset(
    ("images", "image", "imgs", "img", "pictures", "photos", "pngs", "png", "jpgs", "jpg", "jpeg", "jpegs", "data",
     "dataset", "original", "originals", "raw")
)  # fmt: skip

SPLIT_WORDS = {
    "train": "train", "training": "train", "trn": "train", "val": "val", "valid": "val", "validation": "val",
    "validate": "val", "validating": "val", "dev": "val", "devel": "val", "development": "val", "eval": "val",
    "evaluation": "val", "publictest": "val", "tune": "tune", "tuning": "tune", "finetune": "tune",
    "finetuning": "tune", "test": "test", "testing": "test", "tst": "test", "holdout": "test", "heldout": "test",
    "privatetest": "test",
}  # fmt: skip
# Words without meaning in the name of a split: train_set, TrainingData, test images.
FILLERS = frozenset(
    ("set", "sets", "data", "dataset", "images", "image", "imgs", "img", "split", "folder", "files", "file", "samples",
     "the", "png", "jpg")
)  # fmt: skip
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
FOLD = re.compile(r"(k ?)?folds? ?\d*|\d+ ?folds?|cross ?val(idation)?|cv ?\d+")
GLUED = re.compile(rf"({'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))})({'|'.join(FILLERS)})?")


@lru_cache(maxsize=4096)
def in_system_folder(name: str) -> str:
    """Return what a system's folder of this name holds; '' if no system has such a folder."""
    plain = folded(name)
    return "a recycle bin" if TRASH.fullmatch(plain) else SYSTEM.get(plain, "")


@lru_cache(maxsize=4096)
def holds_masks(name: str) -> bool:
    """Return whether a folder of this name holds masks, such as `lung masks`, `infection_masks` or `ManualMask`."""
    return bool(MASKS.fullmatch(loosened(name)))


def problem(folders: Sequence[str], known: Collection[str]) -> str:
    """Return why files below `folders` can't be images of a study; '' where the names give no reason.

    `known` are the folded labels in the parameters: a folder named after a label is not a mask folder.
    """
    for folder in folders:
        if what := in_system_folder(folder):
            return f"in {folder}: {what}"
        if holds_masks(folder) and folded(folder) not in known and loosened(folder) not in known:
            return f"a mask: in {folder}"
    return ""


def beside(name: str, others: Collection[str]) -> str:
    """Return why a file is a mask, thumbnail or copy of another file; '' where the name gives no reason.

    `others` are the folded names, without extension, of the files in the same folder.
    """
    found = BESIDE.fullmatch(PurePosixPath(name).stem) if SUSPECT.search(name) else None
    if found is None or folded(found["stem"]) not in others:
        return ""
    what = found["what"].casefold()
    kind = "a thumbnail" if what.startswith("thumb") else "a notebook's copy" if what in WITHOUT else "a mask"
    return f"{kind} of {found['stem']}"


def split_of(name: str) -> str:
    """Return the split that a folder or a table cell is named after; '' for none."""
    words = [word for word in _words(name) if word not in FILLERS] or [""]
    joined = "".join(words)
    glued = GLUED.fullmatch(joined)
    return SPLIT_WORDS.get(joined) or (SPLIT_WORDS[glued[1]] if glued else "")


def resembles_split(name: str) -> bool:
    """Return whether a name looks like a split's with an addition, such as `test_old`, `val2` or `fold3`."""
    if FOLD.fullmatch(loosened(name)):
        return True
    return any(word in SPLIT_WORDS or GLUED.fullmatch(word) for word in _words(name))


@lru_cache(maxsize=4096)
def _words(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case; a capital begins a word, except in a name of capitals alone."""
    return tuple(word.casefold() for word in WORD.findall(name))


def evaluation_as_test(splits: Iterable[str]) -> bool:
    """Return whether `eval` means test among names of splits: another name means validation, and none means test."""
    names = {folded(name) for name in splits}
    evaluation = {name for name in names if _is_evaluation(name)}
    others = {split_of(name) for name in names - evaluation}
    return bool(evaluation) and "val" in others and "test" not in others


def _is_evaluation(name: str) -> bool:
    return any(word.startswith("eval") for word in _words(name))


def splits_of(names: Iterable[str], given: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return the split of each folder (or table, or cell) of a source that is named after a split or is in `given`.

    A name that `given` maps to "none" stays "none".
    """
    whole = list(names)
    found = {name: split for name in whole if (split := split_of(name))}
    if evaluation_as_test(found):
        found |= {name: "test" for name in found if _is_evaluation(name)}
    told = {folded(name): split for name, split in given.items()}
    return found | {name: told[folded(name)] for name in whole if folded(name) in told}
