"""TensorFlow's settings, made before it is imported so that the same machine gives the same bits, and that machine."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from logging import LogRecord
from pathlib import Path
from typing import Any

from cnnstudy.workspace import files, paths
from cnnstudy.workspace.stage import silenced

PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless", "pillow", "scikit-learn", "scipy", "pandas")
# Where they are installed.
GPU_PACKAGES = ("nvidia-cublas-cu12", "nvidia-cudnn-cu12")
# Features of a CPU that oneDNN and Eigen choose their kernels by.
CPU_FEATURES = ("avx", "avx2", "fma", "avx512", "amx", "neon", "asimd", "sve")


def configure(threads: int) -> None:
    """Pin threads and oneDNN, make TensorFlow's operations deterministic, and have float32 mean float32.

    Another number of threads sums in another order and gives other bits; so do other CPU features.
    """
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    import_tensorflow()
    import tensorflow as tf

    # A GPU's memory as it is needed: by default TensorFlow takes all there is.
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_op_determinism()
    # Or a GPU rounds what it multiplies to 10 bits, and answers otherwise than where the net is used.
    tf.config.experimental.enable_tensor_float_32_execution(False)


def import_tensorflow() -> None:
    """Import TensorFlow and Keras, with what they read of the environment while they are imported."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # What stops a training is raised as an exception too; the rest is noise of every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Before its import has ended, TensorFlow knows of no log level. Keras would import scikit-learn for wrappers, and
    # Matplotlib for plots of layers.
    with silenced(), _without("sklearn"), _without("matplotlib"):
        import keras  # noqa: F401
        import tensorflow as tf
    tf.get_logger().addFilter(_is_news)


def _is_news(record: LogRecord) -> bool:
    """Not that steps are traced again and again, which TensorFlow warns of: each training has its own."""
    return "triggered tf.function retracing" not in record.getMessage()


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Let a package that has not been imported yet seem not to be installed."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


def allow_nondeterminism() -> None:
    """Take back that operations must be deterministic, for a net with one that can't be on this device."""
    from tensorflow.python.framework import config  # TensorFlow's public API has no way back

    config.disable_op_determinism()


def is_deterministic() -> bool:
    """Whether operations must be deterministic."""
    from tensorflow.python.framework import config

    return bool(config.is_op_determinism_enabled())


def facts(threads: int) -> dict[str, Any]:
    """What the bits of a training depend on beside its data, parameters and code. Needs TensorFlow."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu("model name"),
        "cpu_features": cpu_features(),
        "gpus": gpus(),
        "threads": threads,
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES} | dict(_gpu_packages()),
    }


def gpus() -> list[str]:
    """The names of the GPUs that TensorFlow sees."""
    import tensorflow as tf

    found = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return [details.get("device_name", "unknown") for details in found]


def _gpu_packages() -> Iterator[tuple[str, str]]:
    """Those that are installed, with their versions."""
    for name in GPU_PACKAGES:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def cpu_features() -> list[str]:
    """The features of this CPU that kernels are chosen by; none where the system is not Linux."""
    return sorted(name for name in _cpu("flags").split() if name.startswith(CPU_FEATURES))


def write_facts(threads: int) -> None:
    """Write environment.json, which git holds beside dvc.lock: no output of DVC, since it says where, not what."""
    content = json.dumps(facts(threads), indent=2) + "\n"
    if not paths.ENVIRONMENT.exists() or paths.ENVIRONMENT.read_text(encoding="utf-8") != content:
        with suppress(FileNotFoundError):  # another training that ends at this moment has written the same
            files.write_text(paths.ENVIRONMENT, content)


def _cpu(name: str) -> str:
    """A line of Linux's /proc/cpuinfo about the first processor; '' elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    names = {"flags": ("flags", "Features")}.get(name, (name,))
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() in names), "")
