"""How fast a net trains: images a second against PyTorch, and as a share of what a matrix product reaches.

Each framework runs in processes of its own, which take turns: `python bench/steps.py` asks them for rounds of steps.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import IO, TYPE_CHECKING, Any, TypeVar

import common

from cnnstudy.training import environment

if TYPE_CHECKING:
    import keras

    from cnnstudy.models.assemble import Design

Tensor = TypeVar("Tensor")
# The batch, the side of the images and the classes.
NETS = {"alexnet": (100, 128, 8), "vggnet": (100, 128, 8), "mobilenet": (100, 128, 8), "xraynet": (32, 150, 2)}
ROUNDS = 7
# The ways to train a net: a worker's script and its last arguments.
OURS, THEIRS = "cnnstudy", "PyTorch"
WAYS: dict[str, tuple[str, ...]] = {
    OURS: ("keras_step.py",),
    f"{THEIRS}, channels first": ("torch_step.py", "first"),
    f"{THEIRS}, channels last": ("torch_step.py", "last"),
}
# Seconds of a round, at least one step.
ROUND = 1.0
HERE = Path(__file__).parent


class Worker:
    """A process that trains one net one way, whenever it is asked for a round of steps."""

    def __init__(self, script: str, *arguments: str) -> None:
        command = [sys.executable, "-W", "ignore", str(HERE / script), *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdin
        assert self.process.stdout
        self.asks: IO[str] = self.process.stdin
        self.answers: IO[str] = self.process.stdout
        self.steps = 1

    def is_ready(self) -> bool:
        """Wait until it has started, and settle how many steps make a round; return False if it has failed."""
        if not self.answers.readline():
            return False
        self.steps = max(1, round(ROUND / self.seconds()))
        return True

    def seconds(self) -> float:
        """Return the mean seconds of a step in one round."""
        return self._answer(str(self.steps)) / self.steps

    def peak(self) -> float:
        """Return the operations per second of a large matrix product."""
        return self._answer("peak")

    def _answer(self, ask: str) -> float:
        self.asks.write(f"{ask}\n")
        self.asks.flush()
        return float(self.answers.readline())

    def end(self) -> None:
        """End the process."""
        self.asks.close()
        self.process.wait()


def design(net: str) -> "Design":
    """Return what a net is built from."""
    from cnnstudy.models.assemble import Design

    _, size, classes = NETS[net]
    return Design(net, (), size, classes)


def operations(model: "keras.Model") -> float:
    """Return the operations of one image's training step: the forward pass, and twice that for the gradients."""
    import keras

    total = 0.0
    for layer in model.layers:
        shape = layer.output.shape
        places = shape[1] * shape[2] if len(shape) == 4 else 1
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
            total += places * int(layer.kernel.shape.num_elements() or 0)
    return 3 * 2 * total


def operations_of(net: str) -> float:
    """Return the operations of a training step per image of a net."""
    from cnnstudy.models import assemble

    return operations(assemble.sketch(design(net)))


def describe(net: str) -> None:
    """Print a net's layers as JSON: of each its class, output shape, kernel's shape and configuration."""
    from cnnstudy.models import assemble

    shown = []
    for layer in assemble.sketch(design(net)).layers:
        kernel = tuple(layer.kernel.shape) if hasattr(layer, "kernel") else ()
        shown.append((type(layer).__name__, layer.output.shape, kernel, layer.get_config()))
    print(json.dumps(shown, default=str))


def described(net: str) -> list[Any]:
    """Return a net's layers as another process describes them, since PyTorch crashes beside TensorFlow."""
    command = [sys.executable, "-W", "ignore", __file__, "describe", net]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


def main(threads: str = "1", *nets: str) -> None:
    """Measure nets on some threads, all four where none is named."""
    found: dict[str, dict[str, Any]] = {}
    precisions = ("float32", "bfloat16") if _has_bfloat16() else ("float32",)
    for net in nets or NETS:
        batch, *_ = NETS[net]
        kinds = {
            f"{name}, {precision}": partial(Worker, script, net, precision, str(batch), threads, *more)
            for precision in precisions
            for name, (script, *more) in WAYS.items()
        }
        workers = {name: start() for name, start in kinds.items()}
        for name, worker in workers.items():
            assert worker.is_ready(), name
        seconds = common.alternate({name: worker.seconds for name, worker in workers.items()}, ROUNDS)
        count = operations_of(net) * batch
        found[net] = {"images a second": {name: round(batch / value, 1) for name, value in seconds.items()}}
        for precision in precisions:
            ours = f"{OURS}, {precision}"
            theirs = min(value for name, value in seconds.items() if name.startswith(THEIRS) and precision in name)
            found[net][f"times PyTorch, {precision}"] = round(theirs / seconds[ours], 2)
            reached = count / seconds[ours]
            found[net][f"share of a matrix product, {precision}"] = round(reached / workers[ours].peak(), 3)
        for worker in workers.values():
            worker.end()
        print(net, found[net], flush=True)
        common.save("steps", {"threads": int(threads), "nets": found})


def _has_bfloat16() -> bool:
    """Return whether this machine has instructions for bfloat16."""
    return bool(environment.gpus()) or any(name.endswith("_bf16") for name in environment.cpu_features())


def serve(step: Callable[[], Tensor], wait: Callable[[Tensor], object], peak: Callable[[], float]) -> None:
    """Run a worker: report its start, then print the peak or the seconds of some steps on request.

    `step` starts a step, and `wait` waits for its result: as in a training, Python runs ahead of the device.
    """
    for _ in range(2):
        wait(step())
    print("ready", flush=True)
    for line in sys.stdin:
        if line == "peak\n":
            print(peak(), flush=True)
            continue
        start = time.perf_counter()
        for _ in range(int(line)):
            result = step()
        wait(result)
        print(time.perf_counter() - start, flush=True)


def peak_of(product: Callable[[], object], side: int, rounds: int = 5) -> float:
    """Return the operations per second of a product of two square matrices."""
    product()
    return 2 * side**3 / median(common.seconds(product) for _ in range(rounds))


if __name__ == "__main__":
    describe(sys.argv[2]) if sys.argv[1:2] == ["describe"] else main(*sys.argv[1:])
