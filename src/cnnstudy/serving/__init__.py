"""Trained nets in use: predictions for images, and MLflow's registry of models."""
