"""The largest net of the study, one convolution on X-rays of 150 px and 184 million parameters, trained some steps."""

import sys
import tempfile
from pathlib import Path

import common

# X-rays, twice the report's batch of 32.
COUNT = 64


def main() -> None:
    """Train it in a process of its own, and see how much memory that takes."""
    used = common.measured([sys.executable, "-W", "ignore", __file__, "train"], Path.cwd())
    common.save(
        "large", {"net": "xraynet, depth 1, Reshi et al.'s widths, 150 px", "batch": 32, **_rounded(used), "epochs": 2}
    )


def _rounded(used: common.Used) -> dict[str, float]:
    return {
        "seconds": round(used.wall, 1),
        "largest resident memory, GB": round(used.resident / 1000, 2),
        "largest anonymous memory, GB": round(used.anonymous / 1000, 2),
    }


def train() -> None:
    """Train two epochs as the stage does: the loop, a checkpoint, and predictions with re-estimated statistics."""
    from cnnstudy.training import environment

    environment.configure(1)
    import keras
    import numpy as np
    import pandas as pd

    from cnnstudy.config.schema import Training
    from cnnstudy.data.samples import Dataset
    from cnnstudy.models import assemble
    from cnnstudy.training import inference, loop, pipeline, precision
    from cnnstudy.training.checkpoint import Checkpoint

    size = 150
    design = assemble.Design("xraynet", (("depth", 1), ("widths", "reshi")), size, 2)
    assert assemble.build_plain(design).count_params() > 184e6
    images = np.random.default_rng(0).integers(0, 256, (2 * COUNT, size, size, 3), np.uint8)
    names = np.repeat(["train", "test"], COUNT)
    dataset = Dataset(
        images, np.arange(2 * COUNT) % 2, np.where(np.arange(2 * COUNT) % 8 < 7, names, "val"), ("a", "b")
    )
    ids = dataset.ids("train")
    ranges = {"rotation": 0, "shift": 0.0, "flip": 0}
    policy = pd.DataFrame({"id": ids, "split": "train", "operation": "original", **ranges})
    data = pipeline.training_set(dataset, policy, "train")
    adam = Training(
        optimizer="adam", relative_update=5.0, augmentation=1.0, head_dropout=0.0,
        learning_rate=1e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-8, schedule="constant", dropout=1.0,
        label_smoothing=0.0, selection="last", patience=0,
    )  # fmt: skip
    dtype = precision.policy("auto")
    schedule = loop.Schedule(32, 2, "none", 0, dtype, "recalibrated")
    model = assemble.build(design, 0, dtype)
    with tempfile.TemporaryDirectory() as name:
        # Stored after every step.
        loop.fit(model, data, dataset, adam, schedule, Checkpoint(Path(name, "kept.npz"), 0.0))
    keras.backend.clear_session()
    assemble.set_float32(model)
    inference.predict_splits(model, dataset, data, schedule, "test")
    with tempfile.TemporaryDirectory() as name:
        model.save_weights(Path(name, "model.weights.h5"))


if __name__ == "__main__":
    train() if sys.argv[1:] else main()
