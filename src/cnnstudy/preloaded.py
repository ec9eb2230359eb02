"""Imported by the process that others are forks of: what the variable `LIBRARIES` names, and dvc.lock as it is."""

import gc
import importlib
import os
from contextlib import suppress

from cnnstudy import dvclock, paths
from cnnstudy.training import environment
from cnnstudy.warm import LIBRARIES

for name in os.environ.get(LIBRARIES, "").split():
    with suppress(Exception):  # the stage that needs it says what is wrong with it
        if name == "tensorflow":
            environment.import_tensorflow()
        else:
            importlib.import_module(name)

with suppress(Exception):  # `dvc` says what is wrong with it
    dvclock.know(paths.LOCK.read_text(encoding="utf-8"))
# What stays is not looked through in every fork again.
gc.collect()
gc.freeze()
