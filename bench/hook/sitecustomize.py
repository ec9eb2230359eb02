"""Where a stage's processor time goes, found by looking at its stack each 20 ms; bench/overhead.py puts it in.

What a call into C takes counts for the line of Python that made it. A thread looks: signals would reach TensorFlow's
threads in the middle of their work.
"""

import atexit
import itertools
import json
import os
import sys
import threading
import time
from collections import defaultdict
from multiprocessing import util
from pathlib import Path
from types import FrameType

INTERVAL = 0.02
# The longest time between two looks at a process that waits, and what processor time since the last one is none.
LONGEST, IDLE = 0.32, 0.001
# After how many looks what was found is written, since not every process ends by itself.
WRITTEN = 25
# Where a stage begins that is a fork of DVC's process: cnnstudy.warm.
STAGE = "_become"
# The first that matches any function on the stack, the innermost first: (part of a file's path, function, what it is).
KINDS = (
    ("importlib", "", "imports"),
    ("polymorphic_function/tracing_compilation.py", "trace_function", "tracing"),
    ("cnnstudy/tracking", "", "MLflow"),
    ("/mlflow/", "", "MLflow"),
    ("/dvc/", "", "DVC"),
    ("cnnstudy/training/batchnorm.py", "", "BatchNorm's statistics"),
    ("cnnstudy/training/predict.py", "", "predictions"),
    ("cnnstudy/training/gradcam.py", "", "where a net looks"),
    ("cnnstudy/training/regions.py", "", "where a net looks"),
    ("keras/src/backend/tensorflow/trainer.py", "evaluate", "following the validation split"),
    ("keras/src/backend/tensorflow/trainer.py", "fit", "training steps"),
    ("cnnstudy/training/", "", "rest of training"),
    ("cnnstudy/nets/", "", "rest of training"),
    ("cnnstudy/data/synth", "", "drawing and decoding"),
    ("cnnstudy/data/ingest.py", "", "drawing and decoding"),
    ("cnnstudy/data/", "", "splits, audits, plans"),
    ("cnnstudy/evaluation/figures.py", "", "figures"),
    ("cnnstudy/evaluation/", "", "evaluation"),
    ("cnnstudy/export/", "", "export for phones"),
    ("cnnstudy/report/", "", "the page"),
)


def kind_of(frame: FrameType | None) -> str:
    """What the innermost function of ours, or of a library's that counts, was doing."""
    while frame is not None and frame.f_code.co_name != STAGE:
        file, function = frame.f_code.co_filename, frame.f_code.co_name
        for part, name, kind in KINDS:
            if part in file and name in ("", function):
                return kind
        frame = frame.f_back
    return "the rest"


def watch(folder: Path, name: str) -> None:
    """Count from now on, and write what was found when the process ends, and now and then before."""
    found: defaultdict[str, float] = defaultdict(float)
    last = time.process_time()
    main, ends = threading.main_thread().ident, threading.Event()
    assert main is not None

    def look() -> None:
        nonlocal last
        interval = INTERVAL
        for looks in itertools.count(1):
            if ends.wait(interval):
                return
            now = time.process_time()
            # To look takes time too, which would be counted for what is waited for.
            interval = min(2 * interval, LONGEST) if now - last < IDLE else INTERVAL
            found[kind_of(sys._current_frames().get(main))] += now - last
            last = now
            if looks % WRITTEN == 0:
                write()

    looker = threading.Thread(target=look, daemon=True)

    def write() -> None:
        (folder / f"{name}.json").write_text(json.dumps(found))

    def end() -> None:
        if ends.is_set():
            return
        ends.set()
        looker.join()
        found["the rest"] += time.process_time() - last
        write()

    found["imports"] += last
    looker.start()
    atexit.register(end)
    util.Finalize(None, end, exitpriority=0)  # of processes that multiprocessing starts


def imported(folder: Path) -> None:
    """What a process has taken that others are forks of: it imports, and then waits. Not for these themselves."""
    if not (folder / "imported.json").exists():
        (folder / "imported.json").write_text(json.dumps({"imports": time.process_time()}))


COMMAND = " ".join(sys.orig_argv)
if "CNNSTUDY_BENCH" in os.environ:
    FOLDER = Path(os.environ["CNNSTUDY_BENCH"])
    if "multiprocessing.forkserver" in COMMAND:  # the processes that run DVC, their stages, and the one that records
        util.register_after_fork(watch, lambda _: watch(FOLDER, f"process {os.getpid()}"))
        os.register_at_fork(before=lambda: imported(FOLDER))
    elif "DVC_STAGE" in os.environ and "cnnstudy.recovery" not in COMMAND:
        watch(FOLDER, f"{Path(sys.argv[0]).stem} {os.getpid()}")  # several of a stage have its name
