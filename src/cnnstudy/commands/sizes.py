"""What a set of parameters takes of disk and memory, by arithmetic, and what there is."""

from math import prod
from pathlib import Path

from cnnstudy.config.schema import Params
from cnnstudy.nets import specs
from cnnstudy.workspace import paths

GIB = 1 << 30
# Bytes a parameter while it trains: itself, its gradient, Adam's two moments, and copies while they are updated.
TRAINING_BYTES = 24
WEIGHT_BYTES = 4
# Bytes an activation, measured on a CPU: its value is kept, its gradient for a while (3.0 to 5.4 in the four nets).
ACTIVATION_BYTES = 5
# The same of the largest layer of a net that answers: what it takes and what it gives.
ANSWERING_BYTES = 8
# What a process with TensorFlow takes without a net.
BARE_BYTES = GIB


def disk_bytes(params: Params) -> int:
    """What images, models and a checkpoint of the largest net take, in bytes.

    Images of a source that was not ingested yet are left out, unless they are drawn.
    """
    total, largest = 0, 0
    for name in params.studies:
        study = params.study(name)
        if paths.images(name).exists():
            total += paths.images(name).stat().st_size
        elif params.source(name).format == "drawn":
            drawn = study.drawn.train + study.drawn.tune + study.drawn.test
            total += drawn * len(study.classes) * 3 * study.image_size**2
    for run in params.runs:
        weights = WEIGHT_BYTES * _parameters_of(params, run)
        total += weights * len(params.phases(run)) * len(params.seeds)
        if run in params.finetuned:  # LiteRT files with 32, 16 and 8 bits a weight
            total += weights * 7 // 4
        # A checkpoint holds the weights, Adam's two moments, and perhaps the best epoch's weights.
        largest = max(largest, (3 + _keeps_best(params, run)) * weights)
    return total + largest


def memory_bytes(params: Params) -> tuple[str, int]:
    """The run that takes most memory to train, and about how many bytes that is."""
    needs = {run: BARE_BYTES + _training_bytes(params, run) for run in params.runs}
    most = max(needs, key=lambda run: needs[run])
    return most, needs[most]


def _training_bytes(params: Params, run: str) -> int:
    study = params.study(params.runs[run].study)
    table = specs.layer_table(_layers(params, run), study.image_size)
    each = TRAINING_BYTES + WEIGHT_BYTES * _keeps_best(params, run)
    activations = ACTIVATION_BYTES * params.run_sizes(run).batch_size * sum(prod(row.shape) for row in table)
    training = each * sum(row.parameters for row in table) + activations
    answered = specs.images_at_once(row.shape for row in table) * max(prod(row.shape) for row in table)
    return max(training, WEIGHT_BYTES * sum(row.parameters for row in table) + ANSWERING_BYTES * answered)


def _keeps_best(params: Params, run: str) -> bool:
    return params.run_recipe(run).selection == "best"


def _parameters_of(params: Params, run: str) -> int:
    return specs.parameter_counts(_layers(params, run), params.study(params.runs[run].study).image_size)[0]


def _layers(params: Params, run: str) -> tuple[specs.Layer, ...]:
    return specs.of_run(params, run, len(params.study(params.runs[run].study).classes))


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or what a container allows."""
    import psutil

    total = int(psutil.virtual_memory().total)
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="ascii").strip() if limit.exists() else "max"
    return min(total, int(text)) if text.isdigit() else total
