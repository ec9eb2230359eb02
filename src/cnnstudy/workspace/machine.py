"""The machine that a process runs on: its name, CPU and GPUs, found without TensorFlow."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# NVIDIA's tool, which prints a line for each GPU.
QUERY = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
# The variable that says which GPUs a process may use, by their numbers or ids; none if it is empty or -1.
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Machine:
    """A machine: its host name, the model of its CPU, its GPUs' names, joined by commas, and their driver's version."""

    host: str
    cpu: str
    gpus: str
    driver: str

    @property
    def hardware(self) -> str:
        """Return what computes: the GPUs with their driver, or else the CPU."""
        return f"{self.gpus} (driver {self.driver})" if self.gpus else self.cpu


def this_machine() -> Machine:
    """Return the machine of this process, with the GPUs that this process may use."""
    gpus = _gpus()
    cpu = cpu_line("model name") or platform.machine()
    return Machine(platform.node(), cpu, ", ".join(name for name, _ in gpus), gpus[0][1] if gpus else "")


def cpu_line(name: str) -> str:
    """Return the value of a line of Linux's /proc/cpuinfo about the first processor; '' on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    names = {"flags": ("flags", "Features")}.get(name, (name,))
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() in names), "")


def _gpus() -> list[tuple[str, str]]:
    """Return the name and the driver's version of each GPU that this process may use."""
    visible = os.environ.get(VISIBLE)
    if shutil.which(QUERY[0]) is None or visible in ("", "-1"):
        return []
    chosen = (f"--id={visible}",) if visible else ()
    done = subprocess.run([*QUERY, *chosen], capture_output=True, text=True, check=False)
    rows = [line.split(", ") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return [(row[0], row[1]) for row in rows if len(row) == 2]
