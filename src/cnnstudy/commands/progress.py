"""Progress of a rebuild: finished stages, each net's result, the remaining time, and all results at the end."""

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from statistics import mean

from cnnstudy.config.schema import Params
from cnnstudy.evaluation.results import Headline, headline, read_run
from cnnstudy.workspace import paths
from cnnstudy.workspace.terminal import LiveLine

# The seconds assumed for a stage until one of its kind has ended here: measured for profile `quick` on two cores.
USUAL = {
    "train": 25.0,
    "finetune": 15.0,
    "evaluate": 8.0,
    "export": 20.0,
    "external": 10.0,
    "occlude": 15.0,
    "audit": 8.0,
}
OTHER = 5.0
# Beginnings of lines that are not printed above a terminal's live line: DVC's on each stage, and each epoch.
PASSING = ("epoch ", "> ", "Running stage ", "Stage ", "Generating lock file", "Updating lock file")
# What DVC says of a stage that it does not run.
SKIPPED = ("is cached - skipping run", "didn't change, skipping")
# The most lines of the table at the end, including its header and the line on what is left out.
MOST = 10

Kind = tuple[str, str]


class RebuildProgress:
    """Reports on the stages `names` of a rebuild, of which `jobs` run at once; may be called from any thread."""

    def __init__(self, params: Params, names: Collection[str], jobs: int) -> None:
        self.params, self.jobs, self.total = params, jobs, len(names)
        self.line = LiveLine()
        self._waiting = list(names)
        self._begun: dict[str, float] = {}
        self._last_said: dict[str, str] = {}
        self._skipped: set[str] = set()
        self._ended = 0
        self._is_over = False
        self._seconds: defaultdict[Kind, list[float]] = defaultdict(list)

    def add_jobs(self, count: int) -> None:
        """Take note that so many stages more can run at once, on other machines."""
        self.jobs += count

    def start(self, name: str) -> None:
        """Take note that a stage begins."""
        self._waiting.remove(name)
        self._begun[name] = time.monotonic()
        self._show()

    def hear(self, name: str, text: str) -> None:
        """Print a line of a stage's output; on a terminal, progress is shown in the live line only.

        A stage that waited until now, such as one for another machine, begins with its first line.
        """
        if name in self._waiting:
            self.start(name)
        if any(words in text for words in SKIPPED):
            self._skipped.add(name)
        if text.startswith("epoch "):
            self._last_said[name] = text.partition(",")[0].partition(":")[0]
        if not (self.line.is_drawn and text.startswith(PASSING)):
            self.line.say(f"{name}: {text}")
        self._show()

    def finish(self, name: str) -> None:
        """Print that a stage has succeeded, its result if it has one, and the number of stages left."""
        took = time.monotonic() - self._begun.pop(name, time.monotonic())
        self._ended += 1
        if name not in self._skipped:
            self._seconds[self._kind(name)].append(took)
        what = "unchanged, or from the cache" if name in self._skipped else duration(took)
        stage, _, run = name.partition("@")
        if stage.startswith("evaluate"):
            what = in_words(headline(read_run(run), self.params.study_of(run).primary_split))
        self.line.say(f"[{self._ended}/{self.total}] {name}: {what}{self._left()}")
        self._show()

    def fail(self, name: str) -> None:
        """Take note that a stage has failed, or was stopped."""
        self._begun.pop(name, None)
        self._show()

    def end(self) -> None:
        """Remove the live line for good: interrupted stages end after this, and must not draw it again."""
        self._is_over = True
        self.line.show("")

    def _show(self) -> None:
        if self._is_over:
            return
        running = ", ".join(" ".join(filter(None, (name, self._last_said.get(name)))) for name in list(self._begun))
        self.line.show(f"[{self._ended}/{self.total}] {running or 'ended'}{self._left()}")

    def _left(self) -> str:
        """Estimate the remaining seconds from the usual durations of the stages that wait and run."""
        now = time.monotonic()
        running = dict(self._begun)
        waiting = sum(map(self._expected, list(self._waiting)))
        rests = [max(0.0, self._expected(name) - (now - begun)) for name, begun in running.items()]
        if not waiting and not running:
            return ""
        return f"; about {duration(max([(waiting + sum(rests)) / self.jobs, *rests, 1.0]))} left"

    def _expected(self, name: str) -> float:
        kind = self._kind(name)
        alike = self._seconds[kind] or [
            each for (stage, _), its in list(self._seconds.items()) if stage == kind[0] for each in its
        ]
        return mean(alike) if alike else USUAL.get(kind[0], OTHER) * self._pace()

    def _pace(self) -> float:
        """Return the ratio of the finished stages' durations to their usual ones: a busy machine has more than 1."""
        took = dict(self._seconds)
        usual = sum(USUAL.get(stage, OTHER) * len(its) for (stage, _), its in took.items())
        return sum(map(sum, took.values())) / usual if usual else 1.0

    def _kind(self, name: str) -> Kind:
        """Return what a stage's duration depends on: its name before `@`, without `-pretrained`, and its study."""
        stage, _, key = name.partition("@")
        run = self.params.all_runs.get(key)
        return stage.removesuffix("-pretrained"), run.study if run else key


def in_words(result: Headline) -> str:
    """Return a result as `0.745 on test after fine-tuning (0.690 to 0.791), with moving BatchNorm statistics 0.125`."""
    phase = " after fine-tuning" if result.phase == "tuned" else ""
    others = [f", with {name} BatchNorm statistics {value:.3f}" for name, value in result.others.items()]
    return f"{result.text} on {result.split}{phase} ({result.low:.3f} to {result.high:.3f}){''.join(others)}"


def closing(params: Params) -> Iterator[str]:
    """Yield a table of each study's best nets, `MOST` lines at most, and where to find more."""
    ranked: list[tuple[int, int, str, Headline]] = []
    for place, study in enumerate(params.studies):
        split = params.studies[study].primary_split
        found = {run: headline(read_run(run), split) for run in params.runs_of(study)}
        order = sorted(found, key=lambda run: (found[run].metric, -found[run].value))
        ranked += [(rank, place, run, found[run]) for rank, run in enumerate(order)]
    most = MOST - 1 if len(ranked) < MOST else MOST - 2
    shown = sorted(sorted(ranked, key=lambda each: each[:2])[:most], key=lambda each: (each[1], each[0]))
    modes = sorted({name for *_, it in shown for name in it.others})
    rows = [("net", "phase", "split", "accuracy", "95 % interval", *(f"with {mode} statistics" for mode in modes))]
    for _, _, run, it in shown:
        others = [f"{it.others[mode]:.3f}" if mode in it.others else "" for mode in modes]
        rows.append((run, it.phase, it.split, it.text, f"{it.low:.3f} to {it.high:.3f}", *others))
    yield from aligned(rows)
    if len(ranked) > len(shown):
        yield f"and {len(ranked) - len(shown)} more"
    yield f"The page with everything: {paths.REPORT}. `make ui` opens the runs in MLflow."


def aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield the rows of a table, its columns two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def duration(seconds: float) -> str:
    """Return a duration as `40 s`, `12 min` or `3.5 h`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"
