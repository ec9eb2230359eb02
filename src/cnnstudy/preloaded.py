"""Imported by the process that others are forks of: what the variable `LIBRARIES` names, and DVC's start."""

import gc
import importlib
import os
from contextlib import suppress

from dvc.cli.parser import get_main_parser

from cnnstudy import dvclock, process
from cnnstudy.training import environment
from cnnstudy.warm import LIBRARIES

process.collect_seldom()
for name in os.environ.get(LIBRARIES, "").split():
    with suppress(Exception):  # the stage that needs it says what is wrong with it
        if name == "tensorflow":
            environment.import_tensorflow()
        else:
            importlib.import_module(name)

with suppress(Exception):  # `dvc` says what is wrong with it
    dvclock.know()
get_main_parser()  # which keeps what it has built
# What stays is not looked through in every fork again.
gc.collect()
gc.freeze()
