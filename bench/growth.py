"""Time and memory of the stages that read images, at 1, 4 and 16 times the data: linear in time, flat in memory."""

import subprocess
import sys
import tempfile
from pathlib import Path

import common

TIMES = (1, 4, 16)
# Faces a class in the train split, and in the tune split, at once the data.
TRAIN, TUNE = 50, 10
FACES = ("ingest", "split", "audit", "augment")
STAGES = (*((stage, "faces") for stage in FACES), ("train", "alexnet"), ("evaluate", "alexnet"))


def main() -> None:
    """Run the stages on each amount of drawn faces in a clone, and write the table and the plot."""
    found: dict[str, dict[str, dict[str, float]]] = {" ".join(stage): {} for stage in STAGES}
    for times in TIMES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name, "clone")
            _prepare(folder, times)
            for stage, key in STAGES:
                used = common.measured([sys.executable, f"src/{stage}.py", key], folder)
                row = {"seconds": round(used.wall, 1), "CPU seconds": round(used.cpu, 1), "MB": round(used.anonymous)}
                found[f"{stage} {key}"][str(times)] = row
                print(f"{stage} {key}, {times} times: {row}", flush=True)
    common.save("growth", {"images at once": 8 * (TRAIN + TUNE), "times": list(TIMES), "stages": found})
    _plot(found)


def _prepare(folder: Path, times: int) -> None:
    subprocess.run(["git", "clone", "--quiet", common.ROOT, folder], check=True)
    sizes = f"faces.drawn.train={TRAIN * times}", f"faces.drawn.tune={TUNE * times}"
    common.measured(["cnnstudy", "params", *sizes, "faces.epochs=1", "~finetuned.alexnet"], folder)


def _plot(found: dict[str, dict[str, dict[str, float]]]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    images = [8 * (TRAIN + TUNE) * times for times in TIMES]
    for axis, unit, label in zip(
        figure.subplots(1, 2), ("seconds", "MB"), ("seconds", "anonymous memory, MB"), strict=True
    ):
        for stage, rows in found.items():
            axis.plot(images, [rows[str(times)][unit] for times in TIMES], marker="o", label=stage)
        axis.set_xlabel("images")
        axis.set_ylabel(label)
        axis.set_xticks(images, [f"{count:,}" for count in images])
        axis.set(xlim=(0, None), ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(common.RESULTS / "growth.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
