"""Rebuild a published CNN study, from data to report, with DVC and MLflow."""
