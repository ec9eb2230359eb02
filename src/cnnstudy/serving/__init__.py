"""Trained nets for people: answers for their pictures, and MLflow's registry of models."""
