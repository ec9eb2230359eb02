"""A rebuild on clusters that are not there: the coordinator is real, and workers sleep as long as a training takes.

A repository has the 13 trainings of the shipped studies with five seeds each, every one a stage. Their seconds and
bytes are those of profile quick on two cores; seconds are divided by `SPEED`, but not the coordinator's own, so that
its share is overstated. A second series has 325 stages of a minute for 64 workers, three times as fast.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import common
import yaml

from cnnstudy.cluster.coordinator import Options, coordinating
from cnnstudy.cluster.worker import Done, Job
from cnnstudy.workspace import dvc, files, parallel
from cnnstudy.workspace.machine import this_machine

# Seconds and megabytes of each training.
TRAININGS = {
    "alexnet": (31.1, 7.8), "vggnet": (35.4, 9.0), "mobilenet": (45.1, 13.4), "xray-aug0": (7.6, 20.5),
    "xray-aug1": (9.8, 20.5), "xray-aug2": (12.6, 20.5), "xray-aug3": (15.8, 20.5), "xray-aug4": (18.1, 20.5),
    "xray-depth1": (14.3, 135.1), "xray-depth2": (15.8, 68.1), "xray-depth3": (16.7, 35.7),
    "xray-depth4": (17.5, 23.7), "xray-depth6": (18.7, 26.9),
}  # fmt: skip
SEEDS = 5
# Megabytes of data that a training reads, and seconds that a worker spends on code, data and DVC for each stage.
INPUT, OVERHEAD = 30.0, 4.0
SPEED = 4.0
WORKERS = (1, 4, 16, 64)
# The stages of a minute, their workers and their speed; their outputs are small.
MINUTES, MANY, FASTER = 325, 64, 3.0
STAGES: dict[str, Any] = {
    "train": {"foreach": "${runs}", "do": {"cmd": "train ${key}", "deps": ["data"], "outs": ["models/${key}"]}},
}


class Silent:
    """Tells nothing."""

    def ignore(self, *_: object) -> None:
        """Do nothing."""

    start = hear = finish = fail = end = ignore


def main(*series: str) -> None:
    """Run the named series, `trainings` and `minutes` if none is named, save their figures and draw them."""
    file = common.RESULTS / "cluster.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    found.pop("machine", None)
    if not series or "trainings" in series:
        whole = {f"{name}-{seed}": its for name, its in TRAININGS.items() for seed in range(SEEDS)}
        found["trainings"] = [told(simulated(whole, workers, SPEED)) for workers in WORKERS]
    if not series or "minutes" in series:
        minutes = {f"m{i}": (60.0 - OVERHEAD, 0.01) for i in range(MINUTES)}
        found["minutes"] = told(simulated(minutes, MANY, FASTER))
    common.save("cluster", found)
    if "trainings" in found:
        draw(found["trainings"], Path(__file__).parents[1] / "docs/cluster.png")


def told(figures: dict[str, float]) -> dict[str, float]:
    """Print figures, and return them."""
    print(figures, flush=True)
    return figures


def simulated(stages: dict[str, tuple[float, float]], count: int, speed: float) -> dict[str, float]:
    """Rebuild stages, each with its seconds and megabytes, on some workers; return what it took."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            prepare(stages)
            durations = {f"train@{name}": (seconds + OVERHEAD) / speed for name, (seconds, _) in stages.items()}
            entries = {f"train@{name}": entry(name) for name in stages}

            def sleep(job: Job, code: bytes, *seeds: Done) -> Done:
                began = time.time()
                time.sleep(durations[job.stage])
                return Done(entry=entries[job.stage], machines=(this_machine(),), began=began, ended=time.time())

            with served(count) as address:
                return measured(address, sleep, durations, stages, count, speed)
        finally:
            os.chdir(before)


@contextmanager
def served(count: int) -> Iterator[str]:
    """Yield the address of a cluster with so many workers, which are threads of another process."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), "serve", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def serve(count: int) -> None:
    """Run a scheduler and workers in this process until it is ended."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        processes=False,
        host="127.0.0.1",
        protocol="tcp://",
        dashboard_address=":0",
        memory_limit=0,
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        time.sleep(3600)


def measured(address: str, task: Any, durations: dict[str, float], stages: dict[str, tuple[float, float]], count: int,
             speed: float) -> dict[str, float]:  # fmt: skip
    """Run a plan's stages by a coordinator, and return its figures, with seconds as at real speed."""
    plan, used, begun = dvc.plan([]), time.process_time(), time.time()
    with coordinating(Options(address, "lab"), [0], list(plan.needs), Silent().hear) as workers:
        workers.task = task
        land = workers.landed.handle
        batches: list[float] = []
        spans: list[tuple[float, float]] = []

        def landing(results: Any) -> Any:
            spans.extend((done.began, done.ended) for _, _, done in results)
            start = time.monotonic()
            found = land(results)
            batches.append((time.monotonic() - start) / len(results))
            return found

        workers.landed.handle = landing
        with ThreadPoolExecutor(1) as pool:
            failures = parallel.run_all(plan.needs, plan.order, workers, lambda _: workers.pool, lambda _: None)
            assert not failures, failures
            pool.shutdown()
    ended = time.time()
    last = max(began for began, _ in spans)
    until_last = sum(min(end, last) - began for began, end in spans if began < last)
    work, moved = sum(durations.values()) * speed, sum(size for _, size in stages.values())
    return {
        "workers": count,
        "stages": len(stages),
        "makespan_s": round((ended - begun) * speed, 1),
        "bound_s": round(max(max(durations.values()) * speed, work / count), 1),
        "busy_while_stages_wait": round(until_last / (count * (last - begun)), 3) if last > begun else 1.0,
        "moved_mb": round(INPUT * (1 + min(count, len(stages))) + 2 * moved),
        "landing_s_per_stage": round(sum(batches) / len(batches), 3),
        "coordinator_cpu_s_per_stage": round((time.process_time() - used) / len(stages), 3),
    }


def prepare(stages: dict[str, tuple[float, float]]) -> None:
    """Make a repository with the stages, and a remote that already holds what they would make."""
    Path("params.yaml").write_text(yaml.safe_dump({"runs": {name: {} for name in stages}}))
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    Path("requirements.lock").write_text(f"dvc=={version('dvc')} \\\n")
    Path(".gitignore").write_text("/data\n/models\n/made\n/remote\n")
    Path("data").write_bytes(os.urandom(1000))
    for command in (
        ["git", "init", "-q"], ["dvc", "init", "-q"],
        ["dvc", "remote", "add", "-q", "lab", str(Path("remote").resolve())],
        ["git", "add", "--all"],
        ["git", "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-q", "-m", "start"],
    ):  # fmt: skip
        subprocess.run(command, check=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})
    for name, (_, size) in stages.items():
        target = Path("made", name)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(os.urandom(1000) * max(1, round(1000 * size)))
        md5 = files.md5(target)
        stored = Path("remote/files/md5", md5[:2], md5[2:])
        stored.parent.mkdir(parents=True, exist_ok=True)
        os.link(target, stored)


def entry(name: str) -> str:
    """Return the entry that a training has in dvc.lock."""
    data, made = Path("data"), Path("made", name)
    content = {
        "cmd": f"train {name}",
        "deps": [{"path": "data", "hash": "md5", "md5": files.md5(data), "size": data.stat().st_size}],
        "outs": [{"path": f"models/{name}", "hash": "md5", "md5": files.md5(made), "size": made.stat().st_size}],
    }
    text = yaml.safe_dump({f"train@{name}": content}, sort_keys=False)
    return "".join(f"  {line}\n" for line in text.splitlines())


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Draw the makespan by the number of workers, with the bound."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    workers = [row["workers"] for row in rows]
    axes.plot(workers, [row["makespan_s"] / 60 for row in rows], "o-", label="simulated")
    axes.plot(
        workers, [row["bound_s"] / 60 for row in rows], "--", color="grey", label="total work / workers, or the longest"
    )
    axes.set(xscale="log", yscale="log", xlabel="workers", ylabel="minutes for 65 trainings", xticks=workers)
    axes.set_xticklabels([str(each) for each in workers])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    else:
        main(*sys.argv[1:])
