"""A study rebuilt on a cluster with TLS: equal to one machine's, shown live, and closed to those without a key."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from cluster.toy import Cluster, Toy, wait_until
from workspace import Workspace, clone

pytestmark = pytest.mark.slow

RUN = "xray-aug1"
SETTINGS = ("profile=smoke", "studies.xray.options.widths=reshi", "studies.xray.epochs=60", "seeds=[0,1]",
            "tracking.live_after=0.0")  # fmt: skip


def prepare(folder: Path) -> Workspace:
    folder.mkdir()
    workspace = clone(folder)
    workspace.compose(*SETTINGS)
    workspace.select((RUN,))
    return workspace


@contextmanager
def mlflow_server(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]  # fmt: skip
    log = folder / "server.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file, process_group=0)
    try:
        wait_until(lambda: "startup complete" in log.read_text(), "MLflow starts")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers that talk by TLS, with the certificates that `cnnstudy cluster certificates` writes."""
    root = tmp_path_factory.mktemp("nodes")
    keys = root / "keys"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "MLFLOW", "GIT", "PYTEST"))}
    environment = own | {"PATH": path, "DASK_CONFIG": str(keys), "DVC_NO_ANALYTICS": "1"}
    subprocess.run(["cnnstudy", "cluster", "certificates", str(keys)], env=environment, check=True)
    cluster = Cluster(root, environment, scheme="tls")
    try:
        cluster.start_scheduler()
        for name in ("a", "b"):
            cluster.start_worker(name, "--protocol", "tls")
        yield cluster
    finally:
        cluster.close()


def test_it_ends_as_on_one_machine_and_is_shown_live(nodes: Cluster, tmp_path: Path) -> None:
    alone, together = prepare(tmp_path / "alone"), prepare(tmp_path / "together")
    alone.run("cnnstudy", "repro")
    environment = together.environment | {"DASK_CONFIG": nodes.environment["DASK_CONFIG"]}
    with mlflow_server(tmp_path / "server", environment) as uri:
        workspace = Workspace(together.path, environment | {"MLFLOW_TRACKING_URI": uri})
        workspace.run("dvc", "remote", "add", "lab", str(tmp_path / "remote"))
        options = ("--cluster", nodes.address, "--remote", "lab")
        said = workspace.run("cnnstudy", "repro", *options, f"train@{RUN}")
        assert said.count("epoch 60/60") == 2
        live = json.loads(workspace.run(sys.executable, "-c", RUNS))
        shown = [live.get(f"{RUN}, seed {seed}", {"epochs": 0})["epochs"] for seed in (0, 1)]
        assert max(shown) > 0, live
        workspace.run("cnnstudy", "repro", *options)
        recorded = json.loads(workspace.run(sys.executable, "-c", RUNS))
        # Each seed was live below a run of its own; which of their names stays is not certain.
        hosts = {its["host"] for name, its in recorded.items() if name.startswith(RUN)}
        assert socket.gethostname() in hosts, recorded
    locks = [yaml.safe_load((each.path / "dvc.lock").read_text())["stages"] for each in (alone, together)]
    assert locks[0] == locks[1]
    assert "up to date" in together.run("dvc", "repro")


# The runs in MLflow: the host that trained them, and the number of epochs in the curve of the training loss.
RUNS = """
import json, mlflow
client = mlflow.MlflowClient()
def told(run):
    names = [name for name in run.data.metrics if name.endswith("loss") and "val" not in name]
    epochs = [len(client.get_metric_history(run.info.run_id, name)) for name in names]
    return {"host": run.data.tags.get("trained.host"), "epochs": max(epochs, default=0)}
runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
print(json.dumps({run.info.run_name: told(run) for run in runs}))
"""


def test_who_has_no_key_gets_no_worker(nodes: Cluster, tmp_path: Path) -> None:
    toy = Toy(tmp_path / "repository")
    said = toy.rebuilt(nodes.address, code=2)
    assert said.startswith(f"error: --cluster: {nodes.address}: ")
    assert "TLS" in said
    code = f"from distributed import Client; Client({nodes.address.replace('tls', 'tcp')!r}, timeout=3)"
    done = subprocess.run([sys.executable, "-c", code], env=toy.environment, capture_output=True, check=False)
    assert done.returncode == 1


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:8786", "tcp://node7:8786", "10.0.0.1:8786", "http://localhost:1"])
def test_an_open_scheduler_is_refused(tmp_path: Path, address: str) -> None:
    said = Toy(tmp_path / "repository").rebuilt(address, code=2)
    assert said.startswith("error: --cluster: ")
    assert "allowed: tls://HOST:PORT" in said


def test_certificates_are_for_the_user_alone(nodes: Cluster, tmp_path: Path) -> None:
    keys = Path(nodes.environment["DASK_CONFIG"])
    assert {path.name: path.stat().st_mode & 0o777 for path in keys.iterdir()} == dict.fromkeys(
        ("certificate.pem", "key.pem", "dask.yaml"), 0o600
    )
    done = subprocess.run(["cnnstudy", "cluster", "certificates", str(keys)], env=nodes.environment, text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "not empty" in done.stderr


def test_a_cluster_on_this_machine(tmp_path: Path) -> None:
    toy = Toy(tmp_path / "repository")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    local = subprocess.Popen(
        ["cnnstudy", "cluster", "local", "--workers", "2", "--port", port], cwd=tmp_path, text=True,
        env=toy.environment | {"HOME": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert local.stdout
    try:
        assert local.stdout.readline() == "2 workers; in another terminal:\n"
        told = re.fullmatch(r"DASK_CONFIG=(\S+) cnnstudy repro --cluster (\S+)\n", local.stdout.readline())
        assert told
        keys, address = told.groups()
        assert Path(keys).stat().st_mode & 0o777 == 0o700
        assert address == f"tls://127.0.0.1:{port}"
        assert "2 workers" in toy.rebuilt(address, "--same-hardware", DASK_CONFIG=keys)
        assert toy.is_up_to_date()
    finally:
        local.send_signal(signal.SIGINT)
        local.communicate(timeout=120)
    assert local.returncode == 130
    assert not Path(keys).exists()
