"""The record of runs in MLflow."""
