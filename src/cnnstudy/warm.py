"""Stages that don't each import the same libraries: forks of a process that has imported them.

TensorFlow, scikit-learn and Matplotlib take seconds to import, and a rebuild has dozens of stages.
"""

import atexit
import multiprocessing
import os
import runpy
import shlex
import shutil
import signal
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from cnnstudy import process

# The variable that names what cnnstudy.preloaded imports.
LIBRARIES = "CNNSTUDY_LIBRARIES"
# What stages import of others' libraries.
TRAINING = ("tensorflow", "pandas", "cv2")
EVALUATION = ("sklearn.metrics", "scipy.stats", "matplotlib.pyplot", "matplotlib.backends.backend_agg", "pandas")
BY_STAGE = {
    "train": TRAINING,
    "finetune": TRAINING,
    "export": TRAINING,
    "evaluate": EVALUATION,
    "ablate": EVALUATION,
    "report": EVALUATION,
    "audit": EVALUATION,
    "augment": EVALUATION,
}


def libraries(stages: Iterable[str]) -> list[str]:
    """The modules that some stages are faster with, if they are imported before; fewer than two stages import alone."""
    kinds = [name.partition("@")[0] for name in stages]
    found = [BY_STAGE.get(kind, ()) for kind in kinds]
    return sorted({module for modules in found if found.count(modules) > 1 for module in modules})


@cache  # the second time it would wrap itself
def fork_stages() -> None:
    """Have this process's DVC run `python FILE [ARGUMENT ...]` as a fork of this process, any other command as ever."""
    from dvc.stage import run
    from dvc.stage.exceptions import StageCmdFailedError

    run_in_shell = run._run

    def run_one(executable: str | None, cmd: str, **how: Any) -> None:
        words = script(cmd)
        if words is None:
            run_in_shell(executable, cmd, **how)
            return
        stage = multiprocessing.get_context("fork").Process(target=_become, args=(words, how["cwd"], how["env"]))
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the stage's, which says how it ended
        try:
            stage.start()
            stage.join()
        finally:
            signal.signal(signal.SIGINT, handler)
        if stage.exitcode != 0:
            raise StageCmdFailedError(cmd, stage.exitcode)

    run._run = run_one


def script(command: str) -> list[str] | None:
    """[FILE, ARGUMENT ...] of a command that needs no shell and this Python; None of any other."""
    try:
        words = shlex.split(command)
    except ValueError:  # a quote in a comment
        return None
    python = shutil.which("python")
    is_plain = len(words) > 1 and words[0] == "python" and words[1].endswith(".py") and shlex.join(words) == command
    is_ours = python is not None and Path(python).parent == Path(sys.executable).parent
    return words[1:] if is_plain and is_ours else None


def _become(words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Run a script as Python would that is started with it; its own library is imported anew, as it is by now."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process.end_with_parent()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for name in [each for each in sys.modules if each.partition(".")[0] == "cnnstudy"]:
        del sys.modules[name]
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent.resolve()))
    atexit._clear()  # what is to be done at this process's end is what the script asks for: temporary files go then
    try:
        runpy.run_path(words[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()
