"""How fast images come to a net: against Keras's ImageDataGenerator, and against a net that never waits for any."""

import sys
from collections.abc import Callable
from functools import partial

import common
import numpy as np

from cnnstudy.training import environment

SIDE, COUNT, BATCH, ROUNDS = 128, 800, 100, 7
# The report's settings.
ROTATION, SHIFT = 20, 0.1


def main(net: str = "alexnet", threads: str = "1") -> None:
    """Measure with a net on some threads."""
    environment.configure(int(threads))
    import keras
    import tensorflow as tf

    from cnnstudy.models import assemble
    from cnnstudy.training import pipeline, precision
    from cnnstudy.training.augmentation import Augmentation
    from cnnstudy.training.optimizers import Adam

    dataset, data = common.random_data(SIDE, 8, "train " * COUNT, rotation=ROTATION, shift=SHIFT, flip=True)
    images, labels = dataset.images, dataset.labels
    layer = Augmentation(False, False)
    scale = tf.function(layer, autograph=False)
    theirs = tf.keras.preprocessing.image.ImageDataGenerator(
        rescale=1 / 255, rotation_range=ROTATION, width_shift_range=SHIFT, height_shift_range=SHIFT,
        horizontal_flip=True, fill_mode="nearest",
    )  # fmt: skip
    flow = theirs.flow(images, labels, batch_size=BATCH, seed=0)

    def ours() -> float:
        return COUNT / common.seconds(
            lambda: [scale(inputs).numpy() for inputs, _ in pipeline.training_batches(data, BATCH, 0, 0)]
        )

    def generator() -> float:
        return COUNT / common.seconds(lambda: [next(flow) for _ in range(COUNT // BATCH)])

    rates = common.alternate({"ours": ours, "ImageDataGenerator": generator}, ROUNDS)

    model = assemble.build(assemble.Design(net, (), SIDE, 8), 0, precision.policy("auto"))
    inputs = keras.Input((SIDE, SIDE, 3), dtype="uint8"), keras.Input((8,))
    fed = keras.Model(list(inputs), model(Augmentation(False, False)(list(inputs))))
    for each in (fed, model):
        each.compile(Adam(1e-3), "sparse_categorical_crossentropy", jit_compile=False)
    constant = tf.data.Dataset.from_tensors(
        (tf.constant(images[:BATCH] / np.float32(255)), tf.constant(labels[:BATCH, None]))
    ).cache().repeat(COUNT // BATCH)  # fmt: skip
    steps = {
        "fed": lambda: fed.fit(pipeline.training_batches(data, BATCH, 0, 0), verbose=0),
        "constant batch": lambda: model.fit(constant, verbose=0),
    }
    for step in steps.values():
        step()

    def trained(step: Callable[[], object]) -> float:
        return COUNT / common.seconds(step)

    speeds = common.alternate({name: partial(trained, step) for name, step in steps.items()}, ROUNDS)
    common.save(
        "pipeline",
        {
            "images a second": {name: round(rate) for name, rate in rates.items()},
            "times ImageDataGenerator": round(rates["ours"] / rates["ImageDataGenerator"], 2),
            "trained images a second": {name: round(rate, 1) for name, rate in speeds.items()},
            "share of the constant batch": round(speeds["fed"] / speeds["constant batch"], 3),
            "net": net, "side": SIDE, "batch": BATCH, "threads": int(threads),
        },
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
