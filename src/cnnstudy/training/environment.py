"""TensorFlow's settings, made before its import so that a machine reproduces its bits; facts about the machine."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from logging import LogRecord
from typing import Any

from cnnstudy.workspace import files, paths
from cnnstudy.workspace.machine import cpu_line
from cnnstudy.workspace.stage import silenced

PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless", "pillow", "scikit-learn", "scipy", "pandas")
# Packages that are listed only if they are installed.
GPU_PACKAGES = ("nvidia-cublas-cu12", "nvidia-cudnn-cu12")
# Prefixes of the CPU features by which oneDNN and Eigen choose their kernels.
CPU_FEATURES = ("avx", "avx2", "fma", "avx512", "amx", "neon", "asimd", "sve")


def configure(threads: int) -> None:
    """Fix the number of threads and oneDNN, make TensorFlow's operations deterministic, and turn off TF32.

    The bits depend on the number of threads, which changes the order of sums, and on the CPU's features.
    """
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    import_tensorflow()
    import tensorflow as tf

    # By default TensorFlow allocates all of a GPU's memory at the start.
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_op_determinism()
    # With TF32 a GPU rounds the factors of products to 10 bits, so that its predictions differ from those of a CPU.
    tf.config.experimental.enable_tensor_float_32_execution(False)


def import_tensorflow() -> None:
    """Import TensorFlow and Keras, after setting the environment variables that they read at import."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # Errors are raised as exceptions as well; all other messages repeat at every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow heeds the log level only after its import. Keras would import scikit-learn for wrappers, and Matplotlib
    # for plots of layers.
    with silenced(), _without("sklearn"), _without("matplotlib"):
        import keras  # noqa: F401
        import tensorflow as tf
    tf.get_logger().addFilter(_is_no_retracing)


def _is_no_retracing(record: LogRecord) -> bool:
    """Return whether a log record is not a retracing warning: every training has to trace its own steps."""
    return "triggered tf.function retracing" not in record.getMessage()


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Make a package that is not imported yet appear as not installed within the block."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


def allow_nondeterminism() -> None:
    """Allow non-deterministic operations, for a net with one that has no deterministic version on this device."""
    from tensorflow.python.framework import config  # TensorFlow's public API can't turn determinism off

    config.disable_op_determinism()


def is_deterministic() -> bool:
    """Return whether operations must be deterministic."""
    from tensorflow.python.framework import config

    return bool(config.is_op_determinism_enabled())


def facts(threads: int) -> dict[str, Any]:
    """Return what a training's bits depend on besides its data, parameters and code. Needs TensorFlow.

    The CPU's features are left out: they choose kernels too, but they differ among machines that give the same bits,
    and git would show a change on each machine.
    """
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": cpu_line("model name"),
        "gpus": gpus(),
        "threads": threads,
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES} | dict(_gpu_packages()),
    }


def gpus() -> list[str]:
    """Return the names of the GPUs that TensorFlow sees."""
    import tensorflow as tf

    devices = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return [details.get("device_name", "unknown") for details in devices]


def _gpu_packages() -> Iterator[tuple[str, str]]:
    """Yield the installed packages of `GPU_PACKAGES`, with their versions."""
    for name in GPU_PACKAGES:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def cpu_features() -> list[str]:
    """Return the CPU features by which kernels are chosen; none if the system is not Linux."""
    return sorted(name for name in cpu_line("flags").split() if name.startswith(CPU_FEATURES))


def write_facts(threads: int) -> None:
    """Write environment.json, which git tracks but DVC does not, since it describes only the machine."""
    content = json.dumps(facts(threads), indent=2) + "\n"
    if not paths.ENVIRONMENT.exists() or paths.ENVIRONMENT.read_text(encoding="utf-8") != content:
        with suppress(FileNotFoundError):  # another training that ends at the same time writes the same facts
            files.write_text(paths.ENVIRONMENT, content)
