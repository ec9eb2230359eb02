"""Live curves in MLflow: a separate process writes a training's epochs, so that no store delays the training."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Timer
from typing import IO, Any

from cnnstudy.config.params import read_params
from cnnstudy.config.schema import Params
from cnnstudy.tracking import times
from cnnstudy.workspace.terminal import say

EpochRow = dict[str, float]
# Takes a seed and the latest epoch of its training.
Report = Callable[[int, EpochRow], None]
# Seconds that a finished training waits for its last epochs to be written, and after which their writer gives up.
WAIT, LAST = 5.0, 10
# Seconds between samples of the system metrics.
SAMPLING = 5
# Seconds between attempts to write to a full pipe.
LOOK = 0.05
# Milliseconds in a second.
NOW = 1000


class Writer:
    """Hands epochs to the writing process, which starts after `tracking.live_after` seconds of training.

    Epochs that the process can't take yet are sent with the next. The record is completed when the run is evaluated.
    """

    def __init__(self, params: Params, run: str, phase: str, start: float) -> None:
        self.command = [sys.executable, "-m", "cnnstudy.tracking.live", run, phase, repr(start)]
        self.start = time.monotonic() + params.tracking.live_after
        self.rows: list[tuple[int, EpochRow]] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.unsent = b""
        self.lock = Lock()
        # An epoch may take long: the timer shows the earlier ones meanwhile.
        self.timer = Timer(params.tracking.live_after, self._pass_on)
        self.timer.daemon = True
        self.timer.start()

    def __call__(self, seed: int, row: EpochRow) -> None:
        """Take an epoch."""
        self._pass_on((seed, row), is_due=time.monotonic() >= self.start)

    def _pass_on(self, *rows: tuple[int, EpochRow], is_due: bool = True) -> None:
        with self.lock:
            self.rows += rows
            if not is_due:
                return
            if self.process is None:
                library = {"PYTHONPATH": str(Path(__file__).parents[2])}  # so that it imports this file's package
                self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, env=os.environ | library)
                assert self.process.stdin
                os.set_blocking(self.process.stdin.fileno(), False)
            self._send(self.rows)
            self.rows = []

    def close(self, is_whole: bool) -> None:
        """Wait a few seconds until everything is written; `is_whole` tells whether the training is complete."""
        self.timer.cancel()
        self.timer.join()
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

    def _send(self, message: list[tuple[int, EpochRow]] | None, patience: float = 0.0) -> None:
        """Send the waiting rows and a message, as far as a full pipe takes them within `patience` seconds."""
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
    """Yield the callback for the end of each epoch, and keep the training's times."""
    with times.measured(run, phase) as start, showing(params, run, phase, start) as report:
        yield report


@contextmanager
def showing(params: Params, run: str, phase: str, start: float | None = None) -> Iterator[Report]:
    """Yield the callback for the end of each epoch; `start` is the training's, in seconds since 1970, now if None."""
    writer, is_whole = Writer(params, run, phase, start or time.time()), False
    try:
        yield writer
        is_whole = True
    finally:
        writer.close(is_whole)


class Logger:
    """Logs epochs into a live run; if the store fails, the next epoch tries again, with only one warning in all.

    With several seeds, each has a child run of its own.
    """

    def __init__(self, params: Params, run: str, phase: str, start: float) -> None:
        self.params, self.run, self.phase, self.start = params, run, phase, start
        self.opened: tuple[Any, Any, Any] | None = None
        self.below: dict[int, Any] = {}
        self.waiting: dict[int, list[tuple[str, float, int]]] = {}
        self.has_warned = False

    def log(self, rows: list[tuple[int, EpochRow]]) -> None:
        """Log epochs, and earlier ones that could not be logged."""
        from cnnstudy.tracking import build, upsert

        for seed, row in rows:
            self.waiting.setdefault(seed, []).extend(build.epoch_points(self.phase, row))

        def attempt() -> None:
            client, _, _ = self.opened = self.opened or self._open()
            for seed in list(self.waiting):
                upsert.log_points(client, self._run_of(seed), self.waiting[seed], int(time.time() * NOW))
                del self.waiting[seed]

        self._try(attempt)

    def end(self, status: str) -> None:
        """Log the last epochs and system metrics, and how the training ended."""

        def attempt() -> None:
            if self.opened:
                client, run, monitor = self.opened
                monitor.finish()
                for each in (*self.below.values(), run):
                    client.set_terminated(each.info.run_id, status)

        self.log([])
        self._try(attempt)

    def _open(self) -> tuple[Any, Any, Any]:
        from cnnstudy.tracking import build, keys, store, upsert, write

        store.configure()
        import mlflow
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        key = keys.planned_key(self.run, self.params)
        self.record = build.training_record(self.params, self.run, key, build.environment_tags())
        known = self._known(self.params.seeds[0]) if len(self.params.seeds) == 1 else []
        client, run = upsert.open_live(self.record, known, self.start, write.NEW_STORE * write.LIMIT)
        mlflow.set_tracking_uri(store.uri())
        monitor = SystemMetricsMonitor(run.info.run_id, SAMPLING, resume_logging=True)
        monitor.start()
        return client, run, monitor

    def _run_of(self, seed: int) -> Any:
        """Return the MLflow run for a seed's epochs."""
        from cnnstudy.tracking import build, upsert, write

        assert self.opened
        if len(self.params.seeds) == 1:
            return self.opened[1]
        if seed not in self.below:
            own = build.seed_record(self.params, self.record, seed)
            self.below[seed] = upsert.open_live(own, self._known(seed), time.time(), write.LIMIT)[1]
        return self.below[seed]

    def _known(self, seed: int) -> list[tuple[str, float, int]]:
        """Return the metrics of a seed's training so far, the preceding phase included."""
        from cnnstudy.tracking import build

        before = build.curves(self.run, "base", (seed,)) if self.phase != "base" else []
        return before + self.waiting.get(seed, [])

    def _try(self, attempt: Callable[[], None]) -> None:
        from cnnstudy.tracking import write

        try:
            attempt()
        except Exception as error:  # whatever the store raises: the training goes on
            if not self.has_warned:
                say(f"warning: {self.run}: not shown live in MLflow ({write.cause(error)})", sys.stderr)
            self.has_warned = True


def main(run: str, phase: str, start: float, lines: IO[bytes]) -> None:
    """Log a training's epochs from lines of JSON, the last one `null`; a training without that line was killed."""
    # Signals are left to the training: when it ends, its lines end, and then this process does.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(10)
    logger = Logger(read_params(), run, phase, start)
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
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.stdin.buffer)
