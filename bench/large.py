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

    from cnnstudy.models import assemble
    from cnnstudy.training import inference, loop, precision
    from cnnstudy.training.checkpoint import Checkpoint

    size = 150
    design = assemble.Design("xraynet", (("depth", 1), ("widths", "reshi")), size, 2)
    assert assemble.build_plain(design).count_params() > 184e6
    dataset, data = common.random_data(size, 2, "train " * COUNT + "test " * (COUNT - 8) + "val " * 8)
    dtype = precision.policy("auto")
    schedule = loop.Schedule(32, 2, "none", 0, dtype, "recalibrated")
    model = assemble.build(design, 0, dtype)
    with tempfile.TemporaryDirectory() as name:
        # Stored after every step.
        loop.fit(model, data, dataset, common.adam(), schedule, Checkpoint(Path(name, "kept.npz"), 0.0))
    keras.backend.clear_session()
    assemble.set_float32(model)
    inference.predict_splits(model, dataset, data, schedule, "test")
    with tempfile.TemporaryDirectory() as name:
        model.save_weights(Path(name, "model.weights.h5"))


if __name__ == "__main__":
    train() if sys.argv[1:] else main()
