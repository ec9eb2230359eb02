"""Estimates of the disk space and memory that parameters need, and the amounts available."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path

from cnnstudy.config.schema import Params
from cnnstudy.workspace import paths
from cnnstudy.workspace.stage import end_with_parent

GIB = 1 << 30
# Bytes per parameter in training: itself, its gradient, Adam's two moments, and copies while they are updated.
TRAINING_BYTES = 24
WEIGHT_BYTES = 4
# Bytes per activation, measured on a CPU: its value is kept, its gradient for a while (3.0 to 5.4 in four nets).
ACTIVATION_BYTES = 5
# Bytes per activation of the largest layer in inference: its input and its output.
INFERENCE_BYTES = 8
# The most images that a net predicts at a time, and the most bytes of its largest layer's output for them (as in
# cnnstudy.training.pipeline, whose import needs TensorFlow).
BATCH, LAYER_BYTES = 100, 200 << 20
# The memory of a process with TensorFlow and no net.
BARE_BYTES = GIB


@dataclass(frozen=True)
class Shape:
    """Sizes of a net: parameters, activations for one image, and activations of its largest layer."""

    parameters: int
    activations: int
    largest: int


def disk_bytes(params: Params, nets: dict[str, Shape]) -> int:
    """Return the bytes that images, models and a checkpoint of the largest net need on disk.

    Images of a source that was not ingested yet are left out, unless they are synthetic.
    """
    total, largest = 0, 0
    for name, study in params.studies.items():
        if paths.images(name).exists():
            total += paths.images(name).stat().st_size
        elif study.source.format == "synthetic" and study.synthetic is not None:
            count = study.synthetic.train + study.synthetic.tune + study.synthetic.test
            of_classes = count * len(study.classes)
            total += round(of_classes * (1 + study.synthetic.unclassed)) * 3 * study.image_size**2
    for run in params.all_runs:
        weights = WEIGHT_BYTES * nets[run].parameters
        total += weights * len(params.phases(run)) * len(params.seeds)
        if run in params.exported:  # LiteRT files with 32, 16 and 8 bits a weight
            total += weights * 7 // 4
        # A checkpoint holds the weights, Adam's two moments, and perhaps the best epoch's weights.
        largest = max(largest, (3 + _keeps_best(params, run)) * weights)
    return total + largest


def memory_bytes(params: Params, nets: dict[str, Shape]) -> tuple[str, int]:
    """Return the run that needs most memory in training, and the approximate number of bytes."""
    needs = {run: BARE_BYTES + _training_bytes(params, run, nets[run]) for run in params.all_runs}
    most = max(needs, key=lambda run: needs[run])
    return most, needs[most]


def _training_bytes(params: Params, run: str, shape: Shape) -> int:
    each = TRAINING_BYTES + WEIGHT_BYTES * _keeps_best(params, run)
    activations = ACTIVATION_BYTES * params.run_sizes(run).batch_size * shape.activations
    training = each * shape.parameters + activations
    inference = INFERENCE_BYTES * shape.largest * max(1, min(BATCH, LAYER_BYTES // (4 * shape.largest)))
    return max(training, WEIGHT_BYTES * shape.parameters + inference)


def _keeps_best(params: Params, run: str) -> bool:
    return params.run_recipe(run).selection == "best"


def shapes(params: Params) -> dict[str, Shape]:
    """Return the size of each run's net, found by a separate process, since building nets needs TensorFlow."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent) as pool:
        return pool.submit(_shapes, params).result()


def _shapes(params: Params) -> dict[str, Shape]:
    from cnnstudy.training import environment

    environment.configure(1)
    from cnnstudy.models import assemble

    found: dict[assemble.Design, Shape] = {}
    by_run = {}
    for run in params.all_runs:
        design = assemble.design_of(params, run, len(params.study_of(run).classes))
        if design not in found:
            model = assemble.sketch(design)
            activations = [prod(layer.output.shape[1:]) for layer in model.layers]
            found[design] = Shape(model.count_params(), sum(activations), max(activations))
        by_run[run] = found[design]
    return by_run


def machine_memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or a container's limit."""
    import psutil

    total = int(psutil.virtual_memory().total)
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="ascii").strip() if limit.exists() else "max"
    return min(total, int(text)) if text.isdigit() else total
