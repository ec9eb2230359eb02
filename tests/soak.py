"""Kill `cnnstudy repro` at random moments, and see that what it makes in the end is what an undisturbed one makes.

A kill takes `cnnstudy repro`, one of its `dvc`, one of its stages, or all. Two seconds after the rebuild has ended
nothing of it runs.
"""

import argparse
import difflib
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from workspace import Workspace, clone

VICTIMS = ("repro", "dvc", "stage", "all")
# Every stage of both studies, with a net that is fine-tuned and the two ablations.
RUNS = ("alexnet", "xray-aug0", "xray-aug4")


def prepare(folder: Path, runs: tuple[str, ...] = RUNS) -> Workspace:
    """A clone whose parameters are the smallest; each batch of a training is stored."""
    folder.mkdir()
    workspace = clone(folder)
    workspace.compose("profile=smoke", "studies.xray.options.widths=reshi", "compute.checkpoint_seconds=0.0")
    workspace.select(runs)
    return workspace


def undisturbed(workspace: Workspace) -> tuple[bytes, float]:
    """Return dvc.lock after an undisturbed rebuild, and its seconds."""
    start = time.monotonic()
    workspace.run("cnnstudy", "repro", "--jobs", "2")
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
        killed = "had ended" if repro.poll() is not None else kill(repro, victim, rng)
        print(f"kill {number + 1}: {victim} after {moment:.1f} s: {killed}", flush=True)
        repro.wait()  # after the kill of a `dvc` or of a stage it waits for the others that run
        nothing_is_left(workspace)
        if killed == "had ended" and repro.returncode == 0:
            same_lock(workspace, lock)
            clear(workspace)
    last = start(workspace)
    assert last.wait() == 0, (workspace.path / "repro.log").read_text()[-4000:]
    nothing_is_left(workspace)
    left = [path for path in workspace.path.rglob(".partial.*") if ".dvc" not in path.parts]
    assert not left, left
    assert not (workspace.path / "checkpoints").exists()
    same_lock(workspace, lock)


def same_lock(workspace: Workspace, expected: bytes) -> None:
    """Assert that dvc.lock is that of an undisturbed rebuild; the message shows the lines that differ."""
    found = (workspace.path / "dvc.lock").read_bytes()
    before, after = expected.decode().splitlines(), found.decode().splitlines()
    difference = difflib.unified_diff(before, after, "undisturbed", "disturbed", lineterm="", n=8)
    assert found == expected, "\n".join(difference)


def start(workspace: Workspace) -> subprocess.Popen[bytes]:
    """Start `cnnstudy repro`."""
    with (workspace.path / "repro.log").open("ab") as log:
        return subprocess.Popen(
            ["cnnstudy", "repro", "--jobs", "2"], cwd=workspace.path, env=workspace.environment, stdout=log, stderr=log
        )


def kill(repro: subprocess.Popen[bytes], victim: str, rng: random.Random) -> str:
    """Kill the victim, or the rebuild where there is none; returns what was killed."""
    parent = psutil.Process(repro.pid)
    below = [process for process in parent.children(recursive=True) if command(process)]
    parts = {"dvc": "cnnstudy.workspace.parallel", "stage": "src/", "all": ""}
    found = [one for one in below if victim in parts and parts[victim] in command(one)]
    victims = [parent] if not found else [parent, *found] if victim == "all" else [rng.choice(found)]
    names = [command(one) for one in victims]
    for one in victims:
        with suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGKILL)
    return ", ".join(names)


def command(process: psutil.Process) -> str:
    """Return the command line of a process without its interpreter, or '' if it has ended."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline()[1:])
    return ""


def nothing_is_left(workspace: Workspace) -> None:
    """Assert that two seconds after a rebuild has ended no process of it runs."""
    deadline = time.monotonic() + 2
    while left := [command(process) for process in working_in(workspace)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def working_in(workspace: Workspace) -> Iterator[psutil.Process]:
    """The processes that work in a workspace."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()) == workspace.path.resolve() and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def clear(workspace: Workspace) -> None:
    """Remove all results, so that the next rebuild has something to do."""
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
