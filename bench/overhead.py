"""Time `make repro` from scratch in a clone, and `dvc repro` where nothing changed."""

import subprocess
import sys
import tempfile
from pathlib import Path

import common

IMPORT = "import cnnstudy.training.environment as e; e.configure(1); import keras"


def main() -> None:
    """Rebuild everything, and print the table."""
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name, "clone")
        subprocess.run(["git", "clone", "--quiet", common.ROOT, clone], check=True)
        used = common.measured(["cnnstudy", "repro"], clone)
        nothing = common.alternate({"dvc repro": lambda: common.measured(["dvc", "repro"], clone).wall}, 5)
        tensorflow = common.alternate(
            {"import": lambda: common.measured([sys.executable, "-c", IMPORT], clone, PYTHONPATH="src").cpu}, 5
        )
    common.save(
        "overhead",
        {
            "wall seconds": round(used.wall),
            "CPU seconds": round(used.cpu),
            "TensorFlow's import, CPU seconds": round(tensorflow["import"], 2),
            "nothing to do, wall seconds": round(nothing["dvc repro"], 2),
        },
    )
    print((common.RESULTS / "overhead.json").read_text())


if __name__ == "__main__":
    main()
