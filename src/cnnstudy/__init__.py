"""Rebuild a published CNN study, from data to report, with DVC and MLflow."""

import os
import sys
from importlib.util import find_spec

# Linear algebra on several threads sums in an order that depends on the number of cores, and parallel stages would
# compete for the cores. NumPy reads the variables at import; TensorFlow uses compute.threads instead.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_name, "1")

# If `dvc` is called outside the environment, its stages run with any Python, perhaps an old one. Nets registered in
# MLflow import this file too, in an environment with fewer packages.
if "DVC_STAGE" in os.environ and find_spec("pydantic") is None:
    sys.exit(f"error: {sys.executable} lacks the project's packages; run `. .venv/bin/activate` first")
