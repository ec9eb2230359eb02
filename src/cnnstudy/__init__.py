"""Rebuild a published CNN study, from data to report, with DVC and MLflow."""

import os

# Linear algebra shared by several threads sums in an order that the number of cores decides, and stages that run side
# by side would get in each other's way. NumPy reads these as it is imported; TensorFlow has compute.threads instead.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_name, "1")
