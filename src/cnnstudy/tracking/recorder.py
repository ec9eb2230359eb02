"""One process that records what a rebuild makes, so that its stages need not import MLflow, each for itself."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext

from cnnstudy.params import read_params

# Set where stages leave their record to this process.
ELSEWHERE = "CNNSTUDY_RECORDED_ELSEWHERE"
# What is recorded of a stage: see cnnstudy.tracking.record.
RECORDED = ("evaluate", "export", "ablate", "report")


@contextmanager
def recording(context: BaseContext, stages: Iterable[str]) -> Iterator[Callable[[str], None]]:
    """What is to be called with the name of each of `stages` that is done; those that start meanwhile record nothing.

    Trainings are shown live by processes of their own all the same. At the end the records under way are waited for; if
    this process dies, they are made all the same.
    """
    if not any(map(_is_recorded, stages)):
        yield lambda name: None
        return
    reader, writer = context.Pipe(duplex=False)
    os.environ[ELSEWHERE] = "1"  # before the first process of this context: the others have its environment
    recorder = context.Process(target=_record_all, args=(reader,), daemon=True)  # type: ignore[attr-defined]

    def tell(name: str) -> None:
        if _is_recorded(name):
            with suppress(BrokenPipeError):  # it has ended, which is said below
                writer.send(name)

    try:
        recorder.start()
        reader.close()
        yield tell
    finally:
        writer.close()
        del os.environ[ELSEWHERE]
        recorder.join()
        if recorder.exitcode:
            print("warning: not everything is recorded in MLflow; `cnnstudy track` records it later", file=sys.stderr)


def _is_recorded(stage: str) -> bool:
    return stage.partition("@")[0] in RECORDED


def _record_all(names: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends when the rebuild does
    os.environ.pop(ELSEWHERE, None)
    os.nice(10)
    while True:
        try:
            stage, _, item = names.recv().partition("@")
        except EOFError:
            return
        if not _record(stage, item):
            raise SystemExit(1)  # the next one would fail like it, after as long a wait


def _record(stage: str, item: str) -> bool:
    from cnnstudy.tracking import record

    params = read_params()
    if stage == "ablate":
        return record.record_ablation(params, item, record.REBUILD_LIMIT)
    if stage == "report":
        return record.record_page(params, record.REBUILD_LIMIT)
    return record.record_run(params, item, record.REBUILD_LIMIT)
