"""Rebuild a published CNN study, from data to report, with DVC and MLflow."""

import os
import sys
from importlib.util import find_spec

# Linear algebra on several threads sums in an order that depends on the number of cores, and parallel stages would
# compete for these. NumPy reads the variables at import; TensorFlow uses compute.threads instead.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A stage of a `dvc` that is called without the environment gets any Python, which may be an old one. What is registered
# in MLflow imports this too, in an environment with less.
if "DVC_STAGE" in os.environ and find_spec("pydantic") is None:
    sys.exit(f"error: {sys.executable} has not the project's packages; `. .venv/bin/activate` first")
