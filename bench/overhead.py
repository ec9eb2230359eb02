"""What `make repro` takes beside training steps, from scratch in a clone, and what it takes where nothing changed."""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
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
            {"import": lambda: common.measured([sys.executable, "-c", IMPORT], clone, PYTHONPATH="src").cpu}, 5
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
            "TensorFlow's import": round(tensorflow["import"], 2),
            "training processes": trainings,
            "times TensorFlow's import, a training": round(beside / tensorflow["import"] / trainings, 2),
            "nothing to do, wall seconds": round(nothing["dvc repro"], 2),
        },
    )
    print((common.RESULTS / "overhead.json").read_text())


if __name__ == "__main__":
    main()
