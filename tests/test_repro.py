"""Several stages at once end as one after the other: the same dvc.lock, and nothing after a failure."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from stored import record
from workspace import Workspace, clone, set_before

from cnnstudy.commands import repro
from cnnstudy.config.params import read_params
from cnnstudy.workspace import parallel
from cnnstudy.workspace.paths import KEPT_LOCK, KEPT_ORDER, LOCK

pytestmark = pytest.mark.slow

RUNS = ("xray-aug0", "xray-aug1")


SETTINGS = ("profile=smoke", "studies.xray.options.widths=reshi", "studies.xray.epochs=1")


def prepare(folder: Path, cache: Path | None = None) -> Workspace:
    folder.mkdir()
    workspace = clone(folder, cache)
    workspace.compose(*SETTINGS)
    workspace.select(RUNS)
    return workspace


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory, data_cache: Path) -> Workspace:
    """A workspace after `cnnstudy repro` with two at once."""
    workspace = prepare(tmp_path_factory.mktemp("clones") / "at-once", data_cache)
    said = workspace.run("cnnstudy", "repro", "--jobs", "2")
    (workspace.path / "said.log").write_text(said)
    return workspace


def test_it_leaves_what_dvc_repro_leaves(rebuilt: Workspace, data_cache: Path) -> None:
    alone = prepare(rebuilt.path.parent / "alone", data_cache)
    alone.run("dvc", "repro")
    assert (rebuilt.path / LOCK).read_bytes() == (alone.path / LOCK).read_bytes()
    assert rebuilt.run("dvc", "status").strip() == "Data and pipelines are up to date."


def test_what_it_makes_is_recorded(rebuilt: Workspace) -> None:
    assert {each["name"] for each in record(rebuilt.path)} >= {*RUNS, "ablation: augmentation", "page"}
    assert "warning" not in (rebuilt.path / "said.log").read_text()


def test_where_it_can_t_be_recorded_there_is_one_warning_with_the_reason_and_no_failure(rebuilt: Workspace) -> None:
    (rebuilt.path / "metrics/ablations/augmentation.json").unlink()
    (rebuilt.path / "report/index.html").unlink()
    unreachable = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    said = Workspace(rebuilt.path, rebuilt.environment | unreachable).run("cnnstudy", "repro").splitlines()
    first, second = (line for line in said if "warning" in line)
    assert first.startswith("warning: xray-aug0: not recorded in MLflow (")
    assert second == "warning: MLflow has 0 of 4 records; `cnnstudy track` records the rest"


def test_lines_say_which_stage_they_are_of(rebuilt: Workspace) -> None:
    lines = (rebuilt.path / "said.log").read_text().splitlines()
    assert any(line.startswith("train@xray-aug0: epoch 1/") for line in lines)
    assert any(line.startswith("report: > python src/report.py") for line in lines)


def test_what_to_do_with_the_result_is_said_once(rebuilt: Workspace) -> None:
    lines = (rebuilt.path / "said.log").read_text().splitlines()
    said = [line for line in lines if "dvc push" in line or "git add" in line]
    assert said == ["dvc.lock has changed: `git add dvc.lock` for git, `dvc push` for a remote storage."]
    of_stages = [line for line in lines if "@" in line.partition(":")[0]]
    assert of_stages
    assert not [line for line in of_stages if not line.partition(": ")[2].strip()]


def test_it_says_how_far_it_is_each_result_and_all_of_them_at_the_end(rebuilt: Workspace) -> None:
    lines = (rebuilt.path / "said.log").read_text().splitlines()
    ended = [re.match(r"\[(\d+)/(\d+)\] ", line) for line in lines]
    counts = [(int(found[1]), int(found[2])) for found in ended if found]
    assert counts == [(place, len(counts)) for place in range(1, len(counts) + 1)]
    for run in RUNS:
        metrics = json.loads((rebuilt.path / f"metrics/runs/{run}.json").read_text())["base"]["test"]
        result = f"evaluate@{run}: {metrics['accuracy']:.3f} on test ({metrics['accuracy_low']:.3f} to "
        assert [line for line in lines if line.partition("] ")[2].startswith(result)]
    head, *rows, last = lines[-2 - len(RUNS) :]
    assert head.split()[:3] == ["net", "phase", "split"]
    assert {row.split()[0] for row in rows} == {*RUNS}
    assert "report/index.html" in last
    assert "`make ui`" in last


def test_two_stages_ran_at_once(rebuilt: Workspace) -> None:
    lines = (rebuilt.path / "said.log").read_text().splitlines()
    stages = [line.split(":")[0] for line in lines if ": " in line]
    spans = {name: (stages.index(name), len(stages) - stages[::-1].index(name)) for name in set(stages)}
    overlapping = [
        (one, other)
        for one, (first, last) in spans.items()
        for other, (begins, _) in spans.items()
        if first < begins < last
    ]
    assert overlapping


def test_a_second_time_there_is_nothing_to_do(rebuilt: Workspace) -> None:
    assert rebuilt.run("cnnstudy", "repro").strip() == "Data and pipelines are up to date."


def test_the_order_is_mended_after_a_kill_between_the_last_stage_and_the_end(rebuilt: Workspace) -> None:
    whole = (rebuilt.path / LOCK).read_text()
    head, *stages = re.split(r"^(?=  \S)", whole, flags=re.MULTILINE)
    (rebuilt.path / LOCK).write_text("".join([head, *stages[::-1]]))
    (rebuilt.path / KEPT_ORDER).write_text("")
    assert rebuilt.run("cnnstudy", "repro").strip() == "Data and pipelines are up to date."
    assert (rebuilt.path / LOCK).read_text() == whole


def test_beside_another_one_it_is_one_line_and_exit_code_2(rebuilt: Workspace) -> None:
    busy = {str(rebuilt.path / "models/xray-aug0/base"): {"pid": os.getpid(), "cmd": "dvc repro"}}
    rwlock = rebuilt.path / ".dvc/tmp/rwlock"
    rwlock.write_text(json.dumps({"write": busy, "read": {}}))
    (line,) = rebuilt.run("cnnstudy", "repro", code=2).splitlines()
    rwlock.unlink()
    assert line.startswith("error: another dvc is at work here: ")
    assert f"(PID {os.getpid()})" in line


def stages(workspace: Workspace) -> set[str]:
    """The names of all stages."""
    return {line.split()[0] for line in workspace.run("dvc", "stage", "list").splitlines()}


def test_only_what_changed_and_what_follows_is_looked_at(rebuilt: Workspace) -> None:
    before = (rebuilt.path / LOCK).read_bytes()
    (rebuilt.path / "metrics/ablations/augmentation.json").unlink()
    lines = rebuilt.run("cnnstudy", "repro").splitlines()
    assert {line.split(":")[0] for line in lines if not line.startswith("[")} & stages(rebuilt) <= {
        "ablate@augmentation",
        "report",
    }
    assert lines[0].startswith("ablate@augmentation: ")
    assert (rebuilt.path / LOCK).read_bytes() == before


def test_a_target_and_what_it_needs(rebuilt: Workspace) -> None:
    (rebuilt.path / "metrics/ablations/augmentation.json").unlink()
    (rebuilt.path / "data/xray/policies/aug0.csv").unlink()
    lines = rebuilt.run("cnnstudy", "repro", "train@xray-aug0").splitlines()
    assert "augment@xray" in {line.split(":")[0] for line in lines}
    assert not [line for line in lines if "report/index.html" in line]  # no table of what may be old
    assert not (rebuilt.path / "metrics/ablations/augmentation.json").exists()
    rebuilt.run("cnnstudy", "repro")


def test_after_a_failure_nothing_more_is_started(rebuilt: Workspace) -> None:
    # Of a few patients alone nothing severe can be told.
    tied = "studies.xray.synthetic.train=40", "studies.xray.synthetic.options.site_label_correlation=1.0"
    rebuilt.compose(*SETTINGS, "audit.fail_on=[shortcut]", *tied)
    rebuilt.select(RUNS)
    said = rebuilt.run("cnnstudy", "repro", code=1)
    assert "audit@xray: error: metrics/audit/xray.json: " in said
    assert said.splitlines()[-1].startswith("error: audit@xray: metrics/audit/xray.json: ")
    assert (rebuilt.path / KEPT_ORDER).exists()
    assert "train@" not in said


def test_a_target_that_is_no_stage_is_one_line_and_exit_code_2(rebuilt: Workspace) -> None:
    for target in ("nosuch", "train@nosuch"):
        (line,) = rebuilt.run("cnnstudy", "repro", target, code=2).splitlines()
        assert line.startswith("error: STAGE: ")
        assert target in line


def test_a_bad_value_is_one_line_and_exit_code_2(rebuilt: Workspace) -> None:
    rebuilt.compose("profile=smoke", "studies.faces.epochs=0")
    assert rebuilt.run("cnnstudy", "repro", code=2).startswith(
        "error: params.yaml: studies.faces.epochs: 0 found; allowed: "
    )


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose rebuilds are stopped while they run stages."""
    return prepare(tmp_path_factory.mktemp("clones") / "stopped")


@contextmanager
def running(workspace: Workspace, seen: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """A rebuild that has printed `seen`; two seconds after its end no process of it is left."""
    log = workspace.path / "repro.log"
    log.unlink(missing_ok=True)
    with log.open("wb") as file:
        rebuild = subprocess.Popen(
            # As a shell starts what it runs in the background.
            set_before("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)", "cnnstudy", "repro", "-j", "2"),
            cwd=workspace.path, env=workspace.environment, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        wait_until(lambda: seen in log.read_bytes())
        yield rebuild
        rebuild.wait(2 * parallel.PATIENCE)
        wait_until(lambda: not [one for one in psutil.process_iter(["cwd"]) if is_ours(one, workspace)], seconds=2)
    finally:
        rebuild.kill()
        rebuild.wait()


def test_killed_it_leaves_no_process(begun: Workspace) -> None:
    with running(begun, b"> python src/ingest.py") as rebuild:
        rebuild.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_alone_it_ends_its_stages_and_says_so(begun: Workspace, number: int) -> None:
    with running(begun, b"> python src/ingest.py") as rebuild:
        rebuild.send_signal(number)
    assert rebuild.returncode == 130
    said = (begun.path / "repro.log").read_text().splitlines()[-1]
    assert re.fullmatch(r"error: interrupted: (\S+, )*ingest@xray ended", said)


def test_after_a_kill_and_interrupts_it_goes_on(begun: Workspace) -> None:
    begun.run("cnnstudy", "repro", "split@xray")
    assert not (begun.path / KEPT_LOCK).exists()
    assert not (begun.path / KEPT_ORDER).exists()


def wait_until(holds: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_ours(one: psutil.Process, workspace: Workspace) -> bool:
    return one.info["cwd"] == str(workspace.path.resolve()) and one.pid != os.getpid()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity here")
def test_as_many_as_cores_and_memory_allow(monkeypatch: pytest.MonkeyPatch, rebuilt: Workspace) -> None:
    monkeypatch.chdir(rebuilt.path)
    rebuilt.compose()
    params = read_params()
    monkeypatch.setattr(repro, "DRIVER", rebuilt.path / "no such device")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(repro.sizes, "machine_memory", lambda: 10**12)
    assert repro.default_jobs(params) == 8
    monkeypatch.setattr(repro.sizes, "machine_memory", lambda: 5 * 2**30)
    assert repro.default_jobs(params) == 2
    monkeypatch.setattr(repro.sizes, "machine_memory", lambda: 1)
    assert repro.default_jobs(params) == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity here")
def test_a_driver_alone_is_no_gpu(monkeypatch: pytest.MonkeyPatch, rebuilt: Workspace) -> None:
    monkeypatch.chdir(rebuilt.path)
    rebuilt.compose()
    monkeypatch.setattr(repro, "DRIVER", rebuilt.path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as for a TensorFlow that is built for CPUs
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(repro.sizes, "machine_memory", lambda: 10**12)
    assert repro.default_jobs(read_params()) == 8
    monkeypatch.setattr(repro, "SEES_GPU", "")
    assert repro.default_jobs(read_params()) == 1
