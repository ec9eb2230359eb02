"""Parameters for tests, built here: what ships in params.yaml may change without a test noticing."""

import json
from typing import Any

from cnnstudy.config.schema import Params

FACES = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
TRAINING = {
    "optimizer": "muon",
    "relative_update": 5.0,
    "learning_rate": 0.005,
    "beta_1": 0.9,
    "beta_2": 0.99,
    "epsilon": 0.001,
    "schedule": "cosine",
    "dropout": 0.0,
    "head_dropout": 0.0,
    "augmentation": 1.0,
    "label_smoothing": 0.0,
    "selection": "last",
    "patience": 0,
}
STUDY: dict[str, Any] = {
    "title": "A study",
    "limits": "",
    "not_for": "",
    "paper": None,
    "paper_image_size": None,
    "source": {"format": "synthetic", "path": "src/cnnstudy/data/synth"},
    "data": None,
    "positive": None,
    "values": {},
    "unclassed": [],
    "image_size": 32,
    "split": {"val": 0.25, "tune": 0.2, "test": 0.2, "leaks": "drop", "conflicts": "drop"},
    "primary_split": "test",
    "options": {},
    "batch_size": 8,
    "epochs": 1,
    "class_weight": "none",
    "training": TRAINING,
    "finetune": None,
    "promotion": {"minimum": 0.0},
    "choices": {"profile": {}, "recipe": {}, "data": {}},
}
FACES_STUDY = STUDY | {
    "title": "Faces",
    "paper": "hewitt_gunes",
    "paper_image_size": 128,
    "data": "synthetic",
    "classes": {name: [name] for name in FACES},
    "synthetic": {"generator": "faces", "train": 8, "tune": 4, "test": 4, "options": {}},
    "policies": {"augmented": {"level": 0, "rotation": 20, "shift": 0.1, "flip": True}},
    "finetune": {"epochs": 1, "learning_rate": 0.001, "frozen": "none"},
}
XRAY_STUDY = STUDY | {
    "title": "X-rays",
    "paper": "reshi",
    "paper_image_size": 150,
    "data": "synthetic",
    "positive": "covid",
    "classes": {"normal": ["normal"], "covid": ["covid", "covid-19"]},
    "image_size": 64,
    "synthetic": {
        "generator": "xrays",
        "train": 8,
        "tune": 0,
        "test": 4,
        "options": {"site_label_correlation": 0.0, "test_site_label_correlation": 0.0},
    },
    "policies": {f"aug{level}": {"level": level, "rotation": 0, "shift": 0.0, "flip": False} for level in range(5)},
    "options": {"widths": "report"},
}
FACE_NETS = ("alexnet", "vggnet", "mobilenet")
DEPTHS = {f"xray-depth{depth}": depth for depth in (1, 2, 3, 4)} | {"xray-aug4": 5, "xray-depth6": 6}
LEVELS = {f"xray-aug{level}": level for level in range(5)}
PARAMS: dict[str, Any] = {
    "models": {"alexnet": "all", "vggnet": "all", "mobilenet": "all", "xraynet": "all"},
    "profile": "smoke",
    "recipe": "best",
    "faces_data": "synthetic",
    "xray_data": "synthetic",
    "seeds": [0],
    "data_seed": 0,
    "split_seed": 0,
    "batchnorm": "recalibrated",
    "audit": {"fail_on": []},
    "compute": {"threads": 1, "precision": "float32", "jit": "off", "checkpoint_seconds": 300.0},
    "tracking": {"live_after": 120.0},
    "studies": {"faces": FACES_STUDY, "xray": XRAY_STUDY},
    "runs": {
        **{net: {"study": "faces", "policy": "augmented", "net": net} for net in FACE_NETS},
        **{
            run: {"study": "xray", "policy": f"aug{level}", "net": "xraynet", "options": {"depth": 5}}
            for run, level in LEVELS.items()
        },
        **{
            run: {"study": "xray", "policy": "aug4", "net": "xraynet", "options": {"depth": depth}}
            for run, depth in DEPTHS.items()
        },
    },
    "pretrained": {},
    "finetuned": {net: {"study": "faces", "policy": "augmented"} for net in FACE_NETS},
    "exported": {net: {"study": "faces", "phase": "tuned"} for net in FACE_NETS},
    "ablations": {
        "nets": {"study": "faces", "axis": "net", "runs": {net: net for net in FACE_NETS}},
        "augmentation": {"study": "xray", "axis": "augmentation level", "runs": LEVELS},
        "depth": {"study": "xray", "axis": "convolution layers", "runs": DEPTHS},
    },
    "external": {
        "faces-elsewhere": {
            "study": "faces",
            "source": {"format": "synthetic", "path": "src/cnnstudy/data/synth"},
            "synthetic": {"generator": "faces", "images": 2, "options": {"site_shift": 0.5}},
        }
    },
}


def content(**changes: Any) -> dict[str, Any]:
    """Return the content of a params.yaml, with other values for some dotted keys, in which `__` stands for a dot.

    A value of `...` takes the key away: content(studies__faces__epochs=3, faces_data=...).
    """
    found: dict[str, Any] = json.loads(json.dumps(PARAMS))  # the studies share parts, which a deep copy would keep
    for name, value in changes.items():
        *sections, key = name.split("__")
        place = found
        for section in sections:
            place = place[section]
        if value is ...:
            del place[key]
        else:
            place[key] = value
    return found


def params(**changes: Any) -> Params:
    """Return the same, read."""
    return Params.model_validate(content(**changes))
