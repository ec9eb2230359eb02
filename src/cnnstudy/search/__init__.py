"""Hyperparameter search: Optuna chooses, the training code trains, MLflow records."""
