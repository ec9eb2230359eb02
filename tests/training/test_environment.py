"""How TensorFlow is set up."""

import logging

import pytest
import tensorflow as tf

from cnnstudy.training import environment


def trace_again_and_again() -> None:
    def steps(number: tf.Tensor) -> tf.Tensor:
        return number + 1

    for _ in range(12):
        tf.function(steps)(tf.constant(1))


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
