"""Kill `dvc repro` at random moments, and see that what it makes in the end is what an undisturbed one makes.

A kill takes `dvc` alone, its stage alone, or both; the next `dvc repro` starts as soon as the guardian of the last one
has ended (see cnnstudy.recovery), which takes it a fraction of a second, beside what else was left alive. Where no
stage was running, and so perhaps no guardian, `cnnstudy check` comes first, as it does in `make repro`.
"""

import argparse
import difflib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from workspace import Workspace, clone

VICTIMS = ("dvc", "stage", "both")
NO_STAGE = "no stage"
# Every stage of both studies, with a net that is fine-tuned and the two ablations.
RUNS = ("alexnet", "xray-aug0", "xray-aug4")


def prepare(folder: Path, runs: tuple[str, ...] = RUNS) -> Workspace:
    """A clone whose parameters are the smallest; each batch of a training is stored."""
    folder.mkdir()
    workspace = clone(folder)
    workspace.compose("profile=smoke", "xray.widths=reshi", "compute.checkpoint_seconds=0.0")
    workspace.select(runs)
    return workspace


def undisturbed(workspace: Workspace) -> tuple[bytes, float]:
    """dvc.lock of one that nobody kills, and the seconds it took."""
    start = time.monotonic()
    workspace.run("dvc", "repro")
    return (workspace.path / "dvc.lock").read_bytes(), time.monotonic() - start


def disturb(workspace: Workspace, rng: random.Random, kills: int, expected: tuple[bytes, float]) -> None:
    """Kill one some times and let it finish; it must give what an undisturbed one gave, each time that it ends.

    `expected` is dvc.lock and the seconds of the undisturbed one; a kill comes within a quarter of these.
    """
    lock, seconds = expected
    for number in range(kills):
        repro = start(workspace)
        moment, victim = rng.uniform(0, seconds / 4), rng.choice(VICTIMS)
        with suppress(subprocess.TimeoutExpired):
            repro.wait(moment)
        killed = "had ended" if repro.poll() is not None else kill(repro, victim)
        print(f"kill {number + 1}: {victim} after {moment:.1f} s: {killed}", flush=True)
        repro.wait()
        if killed == NO_STAGE:
            # It may have had no guardian yet, and may have left its list of the files in use empty.
            workspace.run("cnnstudy", "check")
        if "had ended" in killed and repro.returncode == 0:
            same_lock(workspace, lock)
            clear(workspace)
    last = start(workspace)
    assert last.wait() == 0, (workspace.path / "repro.log").read_text()[-4000:]
    no_stage_is_left(workspace)
    left = [path for path in workspace.path.rglob(".partial.*") if ".dvc" not in path.parts]
    assert not left, left
    assert not (workspace.path / "checkpoints").exists()
    same_lock(workspace, lock)


def same_lock(workspace: Workspace, expected: bytes) -> None:
    """Assert that dvc.lock is that of the undisturbed one; else say in which lines it isn't."""
    found = (workspace.path / "dvc.lock").read_bytes()
    before, after = expected.decode().splitlines(), found.decode().splitlines()
    difference = difflib.unified_diff(before, after, "undisturbed", "disturbed", lineterm="", n=8)
    assert found == expected, "\n".join(difference)


def start(workspace: Workspace) -> subprocess.Popen[bytes]:
    """`dvc repro`, in a process group of its own, where no guardian is at work any more."""
    deadline = time.monotonic() + 30
    while guardians(workspace):
        assert time.monotonic() < deadline, "a guardian outlived its dvc"
        time.sleep(0.02)
    with (workspace.path / "repro.log").open("ab") as log:
        return subprocess.Popen(
            ["dvc", "repro"], cwd=workspace.path, env=workspace.environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def kill(repro: subprocess.Popen[bytes], victim: str) -> str:
    """Kill what is there of the victim; returns what was killed."""
    stages = stages_of(repro.pid)
    name = stages[0].cmdline()[1:] if stages else [NO_STAGE]
    if victim == "both":
        os.killpg(repro.pid, signal.SIGKILL)
    elif victim == "dvc":
        repro.kill()
    else:
        for stage in stages:
            with suppress(psutil.NoSuchProcess):
                stage.kill()
        if not stages:
            repro.kill()
    return " ".join(name)


def stages_of(dvc: int) -> list[psutil.Process]:
    """The processes of stages below a `dvc`."""
    with suppress(psutil.NoSuchProcess):
        below = psutil.Process(dvc).children(recursive=True)
        return [process for process in below if is_stage(process)]
    return []


def is_stage(process: psutil.Process) -> bool:
    """Whether it runs one of src/*.py."""
    with suppress(psutil.Error):
        return any(part.startswith("src/") for part in process.cmdline())
    return False


def no_stage_is_left(workspace: Workspace) -> None:
    """Assert that no process of a stage outlives its `dvc` by more than a few seconds."""
    deadline = time.monotonic() + 10
    while left := [process for process in psutil.process_iter() if is_stage(process) and in_it(process, workspace)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def in_it(process: psutil.Process, workspace: Workspace) -> bool:
    """Whether a process works in the workspace."""
    with suppress(psutil.Error):
        return Path(process.cwd()) == workspace.path.resolve()
    return False


def guardians(workspace: Workspace) -> list[int]:
    """The processes that wait in a workspace for their `dvc` to end."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "cnnstudy.recovery" in process.cmdline() and Path(process.cwd()) == workspace.path.resolve():
                found.append(process.pid)
    return found


def clear(workspace: Workspace) -> None:
    """Forget all that was made, so that the next kill has something to hit."""
    params = (workspace.path / "params.yaml").read_bytes()
    workspace.run("git", "clean", "-fdxq")
    workspace.run("git", "checkout", "--quiet", ".")
    shutil.rmtree(workspace.path / ".dvc/cache", ignore_errors=True)
    (workspace.path / "params.yaml").write_bytes(params)


def main() -> None:
    """Compare an undisturbed rebuild with one that is killed again and again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        expected = undisturbed(prepare(Path(folder, "undisturbed")))
        print(f"undisturbed: {expected[1]:.0f} s", flush=True)
        disturb(prepare(Path(folder, "disturbed")), random.Random(arguments.seed), arguments.kills, expected)
    print(f"the same dvc.lock after {arguments.kills} kills", flush=True)


if __name__ == "__main__":
    main()
