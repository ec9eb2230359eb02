"""The scripts of the documentation: the job for Slurm runs under a stand-in for Slurm, the other files are read."""

import ast
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cluster.toy import Cluster, Toy, wait_until

PAGE = Path(__file__).parents[2] / "docs/cluster.md"

# As `sbatch` does, it runs the job's script; as `srun`, a command as often as the script's `--ntasks` says.
SBATCH = """#!/bin/bash
export TASKS=$(sed -n 's/^#SBATCH --ntasks=//p' "$1")
exec bash "$@"
"""
SRUN = """#!/bin/bash
for i in $(seq "$TASKS"); do "$@" & done
wait
"""


def block(language: str, words: str) -> str:
    """Return the only block of the page in a language that has some words."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = [each for each in blocks if words in each]
    return found


@pytest.mark.slow
def test_a_job_for_slurm_brings_workers(tmp_path: Path) -> None:
    toy, home, programs = Toy(tmp_path / "repository"), tmp_path / "home", tmp_path / "programs"
    for folder in (home / "cnnstudy/.venv/bin", programs):
        folder.mkdir(parents=True)
    (home / "cnnstudy/.venv/bin/activate").write_text(f"export PATH={Path(sys.executable).parent}:$PATH\n")
    for name, text in (("sbatch", SBATCH), ("srun", SRUN)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "workers.sbatch").write_text(block("sh", "# workers.sbatch"))
    own = toy.environment | {"HOME": str(home), "USER": "me", "TMPDIR": str(tmp_path / "scratch")}
    own["PATH"] = f"{programs}{os.pathsep}{own['PATH']}"
    subprocess.run(["cnnstudy", "cluster", "certificates", str(home / "cnnstudy-keys")], env=own, check=True)
    keys = str(home / "cnnstudy-keys")
    scheduler = Cluster(tmp_path / "nodes", own | {"DASK_CONFIG": keys}, scheme="tls")
    log = tmp_path / "job.log"
    try:
        scheduler.start_scheduler()
        with log.open("w") as file:
            command = ["sbatch", str(tmp_path / "workers.sbatch"), scheduler.address]
            job = subprocess.Popen(command, env=own, stdout=file, stderr=file, process_group=0)
        try:
            wait_until(lambda: log.read_text().count("Registered to") == 4, "four workers join")
            said = toy.rebuilt(scheduler.address, DASK_CONFIG=keys)
        finally:
            os.killpg(job.pid, signal.SIGTERM)
            job.wait(60)
    finally:
        scheduler.close()
    assert "4 workers" in said
    assert toy.is_up_to_date()
    # Workspaces on the local disk, and checkpoints where every node sees them.
    places = sorted(path.name for path in (tmp_path / "scratch/cnnstudy-me").glob("workspace*"))
    assert places[:1] == ["workspace1"]
    assert (home / "cnnstudy-checkpoints").is_dir()
    assert not (tmp_path / "scratch/cnnstudy-me/checkpoints").exists()


def test_the_other_recipes_can_be_read() -> None:
    calls = [node for node in ast.walk(ast.parse(block("python", "SLURMCluster"))) if isinstance(node, ast.Call)]
    assert calls
    cluster = yaml.safe_load(block("yaml", "DaskCluster"))
    assert cluster["kind"] == "DaskCluster"
    for part in ("scheduler", "worker"):
        (container,) = cluster["spec"][part]["spec"]["containers"]
        mounted = {each["name"] for each in container["volumeMounts"]}
        assert mounted == {each["name"] for each in cluster["spec"][part]["spec"]["volumes"]}
