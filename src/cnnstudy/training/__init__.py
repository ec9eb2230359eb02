"""Training, re-estimation of BatchNorm's statistics, and prediction; these modules need TensorFlow."""
