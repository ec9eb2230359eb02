"""A training's epochs in MLflow while it goes on, written by a process of its own, so that no store can hold it up."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params

Row = dict[str, float]
# A seed, and its training's latest epoch.
Report = Callable[[int, Row], None]
# Seconds that a training which has ended waits for its last epochs to be written, and that these may take at most.
WAIT, LAST = 5.0, 10
# Seconds between two system metrics.
SAMPLING = 5
# Seconds between two tries of a full pipe.
LOOK = 0.05
# Milliseconds.
NOW = 1000


class Writer:
    """Hands epochs to the writing process, which starts when the training has lasted `tracking.live_after` seconds.

    What the process can't take yet waits for the next epoch. The record is completed when the run is evaluated.
    """

    def __init__(self, params: Params, run: str, phase: str) -> None:
        self.command = [sys.executable, "-m", "cnnstudy.tracking.live", run, phase]
        self.start = time.monotonic() + params.tracking.live_after
        self.rows: list[tuple[int, Row]] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.unsent = b""

    def __call__(self, seed: int, row: Row) -> None:
        """Take an epoch."""
        self.rows.append((seed, row))
        if self.process is None and time.monotonic() >= self.start:
            library = {"PYTHONPATH": str(Path(__file__).parents[2])}  # the one beside this file
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, env=os.environ | library)
            assert self.process.stdin
            os.set_blocking(self.process.stdin.fileno(), False)
        if self.process:
            self._send(self.rows)
            self.rows = []

    def close(self, is_whole: bool) -> None:
        """Wait, not for long, until everything is written; `is_whole` says whether the training has ended well."""
        if self.process is None:
            return
        if is_whole:
            self._send(None, WAIT)
        assert self.process.stdin
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _send(self, message: list[tuple[int, Row]] | None, patience: float = 0.0) -> None:
        """Send what has waited and a message, as much of it as a full pipe takes within `patience` seconds."""
        assert self.process
        assert self.process.stdin
        self.unsent += json.dumps(message).encode() + b"\n"
        deadline = time.monotonic() + patience
        try:
            while self.unsent:
                try:
                    self.unsent = self.unsent[os.write(self.process.stdin.fileno(), self.unsent) :]
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        return
                    time.sleep(LOOK)
        except BrokenPipeError:
            self.unsent = b""


@contextmanager
def reporting(params: Params, run: str, phase: str) -> Iterator[Report]:
    """What a training calls at the end of every epoch."""
    writer = Writer(params, run, phase)
    is_whole = False
    try:
        yield writer
        is_whole = True
    finally:
        writer.close(is_whole)


class Logger:
    """Logs epochs into a live run; a store that fails is asked again with the next epoch, and costs one warning."""

    def __init__(self, params: Params, run: str, phase: str) -> None:
        self.params, self.run, self.phase = params, run, phase
        self.opened: tuple[Any, Any, Any] | None = None
        self.waiting: list[tuple[str, float, int]] = []
        self.has_warned = False

    def log(self, rows: list[tuple[int, Row]]) -> None:
        """Log epochs, and those that could not be logged before."""
        from cnnstudy.tracking import facts, upsert

        for seed, row in rows:
            self.waiting += facts.epoch_points(facts.seed_section(self.params, self.phase, seed), row)

        def attempt() -> None:
            client, run, _ = self.opened = self.opened or self._open()
            upsert.log_points(client, run, self.waiting, int(time.time() * NOW))
            self.waiting = []

        self._try(attempt)

    def end(self, status: str) -> None:
        """Log the last epochs and system metrics, and how the training ended."""

        def attempt() -> None:
            if self.opened:
                client, run, monitor = self.opened
                monitor.finish()
                client.set_terminated(run.info.run_id, status)

        self.log([])
        self._try(attempt)

    def _open(self) -> tuple[Any, Any, Any]:
        from cnnstudy.tracking import facts, record, store, upsert

        store.configure()
        import mlflow
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        known = [*self.waiting]
        if self.phase != "base":
            known += facts.curves(self.params, self.run, "base")
        training, wait = facts.training_record(self.params, self.run), record.NEW_STORE * record.LIMIT
        client, run = upsert.open_live(training, known, wait)
        mlflow.set_tracking_uri(store.uri())
        monitor = SystemMetricsMonitor(run.info.run_id, SAMPLING, resume_logging=True)
        monitor.start()
        return client, run, monitor

    def _try(self, attempt: Callable[[], None]) -> None:
        from cnnstudy.tracking import record

        try:
            attempt()
        except Exception as error:  # whatever the store raises: the training goes on
            if not self.has_warned:
                print(f"warning: {self.run}: not shown live in MLflow ({record.cause(error)})", file=sys.stderr)
            self.has_warned = True


def main(run: str, phase: str, lines: IO[bytes]) -> None:
    """Log what a training sends, a line of JSON an epoch and `null` at its end; lines that stop say that it died."""
    # What ends the training ends its lines, and then this.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(10)
    logger = Logger(read_params(), run, phase)
    status = "KILLED"
    for line in lines:
        message = json.loads(line)
        if message is None:
            status = "FINISHED"
        else:
            logger.log(message)
    signal.alarm(LAST)
    logger.end(status)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.stdin.buffer)
