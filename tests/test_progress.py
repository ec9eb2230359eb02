"""Console output of a rebuild: plain lines in a file, a live line on a terminal, and a final table."""

import io
import json
from pathlib import Path

import built
import pytest

from cnnstudy.commands import progress
from cnnstudy.commands.progress import RebuildProgress, closing, duration
from cnnstudy.workspace import paths

STAGES = ("train@alexnet", "evaluate@alexnet", "evaluate@xray-aug0")


class Terminal(io.StringIO):
    """A text file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")


def evaluated(run: str, accuracy: float, **others: float) -> None:
    """Write a run's metrics, with accuracies of other BatchNorm statistics."""
    path = paths.run_metrics(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    split = {"accuracy": accuracy, "accuracy_low": accuracy - 0.05, "accuracy_high": accuracy + 0.05}
    split |= {f"accuracy_{name}": value for name, value in others.items()}
    phase = "base" if run.startswith("xray") else "tuned"
    path.write_text(json.dumps({phase: {"test": split}}))


def test_in_a_file_each_stage_is_a_plain_line_with_its_result(capsys: pytest.CaptureFixture[str]) -> None:
    evaluated("alexnet", 0.75, recalibrated=0.75, moving=0.125)
    evaluated("xray-aug0", 0.5)
    shown = RebuildProgress(built.params(), STAGES, jobs=1)
    for name in STAGES:
        shown.start(name)
        shown.hear(name, "epoch 1/2: accuracy 0.1")
        shown.finish(name)
    shown.end()
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\r" not in said
    lines = said.splitlines()
    assert lines[0] == "train@alexnet: epoch 1/2: accuracy 0.1"
    assert lines[1].startswith("[1/3] train@alexnet: 0 s; about ")
    assert lines[1].endswith(" left")
    result = "0.750 on test after fine-tuning (0.700 to 0.800), with moving BatchNorm statistics 0.125"
    assert lines[3].startswith(f"[2/3] evaluate@alexnet: {result}; about ")
    assert lines[5] == "[3/3] evaluate@xray-aug0: 0.500 on test (0.450 to 0.550)"


def test_a_terminal_has_a_live_line_and_no_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    shown = RebuildProgress(built.params(), STAGES, jobs=2)
    shown.start("train@alexnet")
    shown.hear("train@alexnet", "epoch 1/2, accuracy 0.1")
    shown.hear("train@alexnet", "something of note")
    shown.finish("train@alexnet")
    shown.start("evaluate@alexnet")
    shown.end()
    shown.fail("evaluate@alexnet")
    written = terminal.getvalue()
    assert "[0/3] train@alexnet epoch 1/2; about" in written
    kept = [line.rpartition("\x1b[K")[2] for line in written.split("\n")]
    assert kept[0] == "train@alexnet: something of note"
    assert kept[1].startswith("[1/3] train@alexnet: 0 s")
    assert kept[2:] == [""]  # nothing is left of the live line


def test_the_live_line_keeps_to_the_terminal_s_width(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", "30")
    shown = RebuildProgress(built.params(), STAGES, jobs=3)
    for name in STAGES:
        shown.start(name)
    assert max(map(len, terminal.getvalue().split("\x1b[K"))) < 31


def test_what_is_restored_is_said_and_tells_nothing_of_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    names = ("train@alexnet", "train@vggnet", "train@mobilenet")
    shown = RebuildProgress(built.params(), names, jobs=1)
    for name, seconds in zip(names, (600, 2, 600), strict=True):
        shown.start(name)
        if seconds == 2:
            shown.hear(name, f"Stage '{name}' is cached - skipping run, checking out outputs")
        now[0] += seconds
        shown.finish(name)
    first, _, second, third = capsys.readouterr().out.splitlines()
    assert first == "[1/3] train@alexnet: 10 min; about 20 min left"
    assert second == "[2/3] train@vggnet: unchanged, or from the cache; about 10 min left"
    assert third == "[3/3] train@mobilenet: 10 min"


def test_kinds_of_which_none_has_ended_take_longer_on_a_slow_machine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = RebuildProgress(built.params(), ("check@faces", "train@alexnet"), jobs=1)
    shown.start("check@faces")
    now[0] += 10 * progress.OTHER
    shown.finish("check@faces")
    left = duration(10 * progress.USUAL["train"])
    assert capsys.readouterr().out == f"[1/2] check@faces: 50 s; about {left} left\n"


def test_the_table_at_the_end_has_each_study_s_best_nets_in_ten_lines() -> None:
    params = built.params()
    for place, run in enumerate(params.all_runs):
        evaluated(run, 0.3 + place / 50)
    *table, last = closing(params)
    assert len(table) == progress.MOST
    assert table[0].split()[:4] == ["net", "phase", "split", "accuracy"]
    assert table[-1] == f"and {len(params.all_runs) - 8} more"
    nets = [line.split()[0] for line in table[1:-1]]
    studies = [params.all_runs[net].study for net in nets]
    assert studies == sorted(studies)
    for study in params.studies:
        best = params.runs_of(study)[-1]
        assert nets[studies.index(study)] == best
    assert last.startswith(f"The page with everything: {paths.REPORT}. `make ui` ")


def test_a_table_of_few_nets_leaves_none_out() -> None:
    params = built.params(ablations={}, exported={}, runs={"vggnet": built.params().runs["vggnet"].model_dump()})
    evaluated("vggnet", 0.9)
    head, row, _ = closing(params)
    assert head.split()[0] == "net"
    assert row.split() == ["vggnet", "tuned", "test", "0.900", "0.850", "to", "0.950"]


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (7200, "2.0 h")])
def test_a_duration_is_read_at_a_glance(seconds: float, words: str) -> None:
    assert duration(seconds) == words
