"""How TensorFlow is set up."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from cnnstudy.training import environment

SRC = Path(__file__).parents[2] / "src"


def trace_again_and_again() -> None:
    def steps(number: tf.Tensor) -> tf.Tensor:
        return number + 1

    for _ in range(12):
        tf.function(steps)(tf.constant(1))


def test_float32_is_float32_on_every_device() -> None:
    code = (
        "from cnnstudy.training import environment; environment.configure(1); import tensorflow as tf\n"
        "print(tf.config.experimental.tensor_float_32_execution_enabled(), environment.is_deterministic())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SRC, capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"


def test_what_a_gpu_s_bits_depend_on_is_said_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = environment.version

    def found(name: str) -> str:
        return "9.9" if name == "nvidia-cudnn-cu12" else installed(name)

    monkeypatch.setattr(environment, "GPU_PACKAGES", ("nvidia-cudnn-cu12", "not-there"))
    monkeypatch.setattr(environment, "version", found)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one"] * (kind == "GPU"))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": f"GPU {gpu}"})
    facts = environment.facts(1)
    assert facts["gpus"] == ["GPU one"]
    assert facts["packages"]["nvidia-cudnn-cu12"] == "9.9"
    assert "not-there" not in facts["packages"]


def test_many_trainings_in_a_process_are_no_news_and_other_warnings_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logger = tf.get_logger()
    monkeypatch.setattr(logger, "filters", [])
    monkeypatch.setattr(logger, "propagate", True)
    trace_again_and_again()
    assert "triggered tf.function retracing" in caplog.text
    caplog.clear()
    environment.import_tensorflow()
    trace_again_and_again()
    logger.warning("something else")
    assert caplog.record_tuples == [("tensorflow", logging.WARNING, "something else")]
