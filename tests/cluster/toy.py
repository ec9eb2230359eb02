"""A small DVC repository whose stages are named as the project's, and a Dask cluster of real processes to run it on."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import yaml

HERE = Path(__file__).parent
SRC = HERE.parents[1] / "src"
# Seconds within which processes start, tell something, or end.
PATIENCE = 90

TRAIN = """
import os, sys, time
from pathlib import Path
name = sys.argv[1]
with open(os.environ["LOG"], "a") as log:
    log.write(f"begun {name}\\n")
numbers = [float(line) for line in Path("data.csv").read_text().split()]
time.sleep(float(os.environ.get(f"SECONDS_{name}", os.environ.get("SECONDS", "0"))))
if Path(os.environ["LOG"]).with_name(f"fail-{name}").exists():
    sys.exit("error: the loss is no longer a number")
target = Path("models", name)
target.mkdir(parents=True, exist_ok=True)
(target / "weights").write_text(f"{sum(numbers)} {name}")
with open(os.environ["LOG"], "a") as log:
    log.write(f"ended {name}\\n")
"""
REPORT = """
from pathlib import Path
Path("report.txt").write_text("".join(path.read_text() + "\\n" for path in sorted(Path("models").glob("*/weights"))))
"""
STAGES: dict[str, Any] = {
    "prepare": {"cmd": "python src/prepare.py", "deps": ["src/prepare.py"], "params": ["count"], "outs": ["data.csv"]},
    "train": {
        "foreach": "${runs}",
        "do": {"cmd": "python src/train.py ${key}", "deps": ["src/train.py", "data.csv"], "outs": ["models/${key}"]},
    },
    "report": {"cmd": "python src/report.py", "deps": ["src/report.py", "models"], "outs": ["report.txt"]},
}
PREPARE = """
from pathlib import Path
import yaml
count = yaml.safe_load(Path("params.yaml").read_text())["count"]
Path("data.csv").write_text("".join(f"{i}\\n" for i in range(count)))
"""


class Toy:
    """A repository in a folder, with the file in which its trainings are counted."""

    def __init__(self, folder: Path, runs: str = "abc", log: Path | None = None) -> None:
        self.path, self.log = folder, log or folder.parent / "log"
        self.log.touch()
        (folder / "src").mkdir(parents=True)
        for name, text in (("prepare", PREPARE), ("train", TRAIN), ("report", REPORT)):
            (folder / f"src/{name}.py").write_text(text)
        (folder / "params.yaml").write_text(yaml.safe_dump({"count": 100, "runs": {name: {} for name in runs}}))
        (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
        (folder / "requirements.lock").write_text(f"dvc=={version('dvc')} \\\n")
        (folder / ".gitignore").write_text("/data.csv\n/models\n/report.txt\n")
        for command in (
            ["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"], ["git", "add", "--all"],
            ["git", "commit", "--quiet", "--message=start"],
        ):  # fmt: skip
            subprocess.run(command, cwd=folder, env=self.environment, check=True, capture_output=True)

    @property
    def environment(self) -> dict[str, str]:
        names = {
            f"GIT_{role}_{field}": "a@localhost" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(SRC), "LOG": str(self.log)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "GIT", "DASK"))}
        return kept | names | own

    def rebuild(self, address: str, *options: str, **variables: str) -> subprocess.Popen[str]:
        """Start a rebuild on a cluster."""
        command = [sys.executable, str(HERE / "rebuild.py"), address, *options]
        return subprocess.Popen(command, cwd=self.path, env=self.environment | variables, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip

    def rebuilt(self, address: str, *options: str, code: int = 0, **variables: str) -> str:
        """Rebuild on a cluster, and return what was printed; it must exit with `code`."""
        process = self.rebuild(address, *options, **variables)
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, output
        return output

    def begun(self) -> list[str]:
        """Return the runs whose training has begun, one for each time."""
        return [line.split()[1] for line in self.log.read_text().splitlines() if line.startswith("begun")]

    def is_up_to_date(self) -> bool:
        done = subprocess.run([sys.executable, "-m", "dvc", "status"], cwd=self.path, env=self.environment,
                              capture_output=True, text=True, check=True)  # fmt: skip
        return "up to date" in done.stdout

    def locked(self) -> set[str]:
        """Return the stages in dvc.lock."""
        return set(yaml.safe_load((self.path / "dvc.lock").read_text())["stages"])


class Cluster:
    """A scheduler and workers, each with a home of its own; `environment` is that of all."""

    def __init__(self, root: Path, environment: dict[str, str], scheme: str = "tcp") -> None:
        self.root, self.environment = root, environment
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"{scheme}://127.0.0.1:{free.getsockname()[1]}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str, **variables: str) -> None:
        home = self.root / name
        home.mkdir(parents=True, exist_ok=True)
        with (self.root / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_scheduler" if name == "scheduler" else
                 "distributed.cli.dask_worker", *command],
                env=self.environment | {"HOME": str(home)} | variables, cwd=home, stdout=log, stderr=log,
            )  # fmt: skip

    def start_scheduler(self) -> None:
        port = self.address.rpartition(":")[2]
        scheme = self.address.partition(":")[0]
        self.start("scheduler", "--host", "127.0.0.1", "--port", port, "--protocol", scheme, "--no-dashboard",
                   "--no-show")  # fmt: skip
        wait_until(lambda: "Scheduler at" in (self.root / "scheduler.log").read_text(), "the scheduler starts")

    def start_worker(self, name: str, *options: str, **variables: str) -> None:
        count = self.told(name).count("Registered to")
        self.start(name, self.address, "--host", "127.0.0.1", "--name", name, "--nthreads", "1", "--no-dashboard",
                   *options, **variables)  # fmt: skip
        wait_until(lambda: self.told(name).count("Registered to") > count, f"{name} joins")

    def told(self, name: str) -> str:
        log = self.root / f"{name}.log"
        return log.read_text() if log.exists() else ""

    def kill(self, name: str) -> None:
        """Kill a process and those that it started, all at once and without notice."""
        process = self.processes.pop(name)
        for each in (*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait(PATIENCE)

    def kill_inner(self, name: str) -> None:
        """Kill the process that runs a worker's tasks; its nanny starts another."""
        inner = [each for each in psutil.Process(self.processes[name].pid).children()
                 if any("spawn_main" in part for part in each.cmdline())]  # fmt: skip
        assert inner
        for each in inner:
            each.send_signal(signal.SIGKILL)

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)


def wait_until(holds: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.1)


@contextmanager
def cluster(root: Path, toy: Toy, workers: tuple[str, ...] = ("a", "b"), **variables: str) -> Iterator[Cluster]:
    """Run a cluster for a repository's environment."""
    found = Cluster(root, toy.environment | variables)
    try:
        found.start_scheduler()
        for name in workers:
            found.start_worker(name)
        yield found
    finally:
        found.close()
