"""What `make repro` takes beside training steps, from scratch in a clone, and what it takes where nothing changed."""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import common
import yaml

HOOK = Path(__file__).parent / "hook"
IMPORT = "import cnnstudy.training.environment as e; e.configure(1); import keras"


def main() -> None:
    """Rebuild everything, count, and print the table."""
    with tempfile.TemporaryDirectory() as name:
        clone, times = Path(name, "clone"), Path(name, "times")
        times.mkdir()
        subprocess.run(["git", "clone", "--quiet", common.ROOT, clone], check=True)
        used = common.measured(["cnnstudy", "repro"], clone, PYTHONPATH=str(HOOK), CNNSTUDY_BENCH=str(times))
        stages = {path.stem: json.loads(path.read_text()) for path in sorted(times.iterdir())}
        lock = yaml.safe_load((clone / "dvc.lock").read_text())
        trainings = sum(name.startswith(("train@", "finetune@")) for name in lock["stages"])
        nothing = common.alternate({"dvc repro": lambda: common.measured(["dvc", "repro"], clone).wall}, 5)
        tensorflow = common.alternate(
            {"alone": lambda: imported(clone), "two at once": lambda: imported(clone, True)}, 5
        )
    parts: defaultdict[str, float] = defaultdict(float)
    for found in stages.values():
        for kind, value in found.items():
            parts[kind] += value
    steps = parts.pop("training steps")
    beside = sum(parts.values())
    common.save(
        "overhead",
        {
            "wall seconds": round(used.wall),
            "CPU seconds": round(steps + beside),
            "training steps": round(steps),
            "beside them": {name: round(value, 1) for name, value in sorted(parts.items(), key=lambda part: -part[1])},
            "sum beside them": round(beside),
            "training processes": trainings,
            "TensorFlow's import": {
                name: {"CPU seconds": round(seconds, 2), "times a training": round(beside / seconds / trainings, 2)}
                for name, seconds in tensorflow.items()
            },
            "nothing to do, wall seconds": round(nothing["dvc repro"], 2),
        },
    )
    print((common.RESULTS / "overhead.json").read_text())


def imported(clone: Path, is_beside_another: bool = False) -> float:
    """Seconds of CPU that TensorFlow's import takes, also where another goes on, as in a rebuild on two cores."""
    command, environment = [sys.executable, "-c", IMPORT], os.environ | {"PYTHONPATH": "src"}
    with ExitStack() as stack:
        if is_beside_another:
            # Twice in a row, so that it does not end before.
            beside = [sys.executable, "-c", "import subprocess, sys; [subprocess.run(sys.argv[1:]) for _ in range(2)]"]
            other = stack.enter_context(subprocess.Popen([*beside, *command], cwd=clone, env=environment))
            stack.callback(other.wait)
        return common.measured(command, clone, PYTHONPATH="src").cpu


if __name__ == "__main__":
    main()
