"""The audit does not depend on the rounding of a CPU."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from cnnstudy.data.audit import baselines
from cnnstudy.data.samples import Dataset

# Kernels of OpenBLAS, NumPy and OpenCV for a CPU of twenty years ago.
OLD_CPU = {
    "OPENBLAS_CORETYPE": "Prescott",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL",
    "OPENCV_CPU_DISABLE": "AVX2,FP16,AVX512-SKX",
}
# A program that prints what does not depend on the CPU.
PRINT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from data.test_other_cpus import smooth
from cnnstudy.data.audit import baselines, shortcuts
import numpy as np
import pandas as pd
data = smooth()
thumbnails = baselines.thumbnails(data.images, np.arange(len(data.images)))
table = {"id": np.arange(len(data.images)), "path": "a.png", "source": "", "mode": "L"}
table |= dict.fromkeys(("width", "height", "bytes"), 1)
features = shortcuts.features(pd.DataFrame(table), data.images, set())
linear = baselines.baselines(data, None)["linear"]
numbers = [thumbnails.sum(axis=0), features["border"], features["brightness"]]
print(json.dumps([[each.tolist() for each in numbers], linear]))
"""


def smooth() -> Dataset:
    """Blurred noise, of which neighbouring pixels are much alike, in eight classes that are hard to tell."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 8, 600)
    noise = random.normal(0, 1, (600, 40, 40, 3)) + 0.3 * random.normal(0, 1, (8, 40, 40, 3))[labels]
    images = np.stack([cv2.GaussianBlur(each, (0, 0), 3) for each in noise])
    images = np.clip(128 + 300 * images, 0, 255).astype(np.uint8)
    return Dataset(images, labels, np.array(["train"] * 400 + ["test"] * 200), tuple("abcdefgh"))


def printed(**environment: str) -> list[object]:
    """Return the program's output with a CPU's instruction set simulated."""
    command = [sys.executable, "-c", PRINT, os.fspath(__file__).rpartition("/data/")[0]]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def test_another_cpu_gives_the_same_numbers() -> None:
    assert printed() == printed(**OLD_CPU)


def test_a_closer_fit_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other bits that change the fit by less therefore change no answer either."""
    found = baselines.baselines(smooth(), None)
    monkeypatch.setattr(baselines, "TOLERANCE", 1e-9)
    assert baselines.baselines(smooth(), None) == found


@pytest.mark.parametrize("side", [64, 32, 50, 150, 8])
def test_a_thumbnail_s_pixels_are_means(side: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    found = baselines.thumbnails(images, np.array([1])).reshape(16, 16, 3)
    np.testing.assert_allclose(found.mean(axis=(0, 1)), images[1].mean(axis=(0, 1)))
    if side >= 16:
        area = cv2.resize(images[1].astype(np.float64), (16, 16), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(found, area, atol=1e-3)
