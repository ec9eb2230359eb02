"""Training, BatchNorm re-estimation and prediction: the one part that needs TensorFlow."""
