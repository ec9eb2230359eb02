"""Training reads the memory map a batch at a time: what it keeps does not grow with the number of images."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SIDE = 32
EPOCH = """
import sys
from pathlib import Path
import numpy as np, pandas as pd
from cnnstudy.training import environment
environment.configure(1)
from cnnstudy.config.schema import Policy
from cnnstudy.data import augment
from cnnstudy.data.samples import Dataset
from cnnstudy.training import pipeline

images = np.load(sys.argv[1], mmap_mode="r")
count = len(images)
dataset = Dataset(images, np.zeros(count, np.int64), np.full(count, "train"), ("a",))
policy = Policy(level=0, rotation=20, shift=0.1, flip=True, brightness=0.1)
splits = pd.DataFrame({"id": range(count), "split": "train"})
data = pipeline.training_set(dataset, augment.make(policy, splits), "train")
batches = pipeline.training_batches(data, 500, 0, 0)
assert sum(len(labels) for _, labels in batches) == count
status = Path("/proc/self/status").read_text()
print(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])
"""


def anonymous_mb(folder: Path, count: int) -> float:
    """Anonymous memory of a process after an epoch over `count` images, in MB."""
    np.lib.format.open_memmap(folder / f"{count}.npy", "w+", np.uint8, (count, SIDE, SIDE, 3)).flush()
    command = [sys.executable, "-W", "ignore", "-c", EPOCH, str(folder / f"{count}.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1000


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="anonymous memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    few, many = (anonymous_mb(tmp_path, count) for count in (1_000, 60_000))
    images_mb = 59_000 * SIDE**2 * 3 / 1e6
    assert many - few < images_mb / 3
