"""Imported by the process that others are forks of: what the variable `LIBRARIES` names."""

import importlib
import os
from contextlib import suppress

from cnnstudy.training import environment
from cnnstudy.warm import LIBRARIES

for name in os.environ.get(LIBRARIES, "").split():
    with suppress(Exception):  # the stage that needs it says what is wrong with it
        if name == "tensorflow":
            environment.import_tensorflow()
        else:
            importlib.import_module(name)
