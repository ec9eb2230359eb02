"""Metrics, tables and figures from predictions, without TensorFlow."""
