"""`cnnstudy cluster`: certificates for a Dask cluster, and a cluster on this machine to try one."""

import os
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

from cnnstudy.cluster.connection import require_dask
from cnnstudy.errors import UserError
from cnnstudy.workspace.terminal import say

# Seconds that workers have to end.
ENDING = 10
# Dask's configuration for encrypted connections; every role has the same certificate, which signs itself.
CONFIGURATION = """\
distributed:
  comm:
    default-scheme: tls
    require-encryption: true
    tls:
      ca-file: {folder}/certificate.pem
      scheduler: &own
        cert: {folder}/certificate.pem
        key: {folder}/key.pem
      worker: *own
      client: *own
"""


def write_certificates(folder: Path, place: Path | None = None) -> None:
    """Write a key, a certificate that is valid for a year, and Dask's configuration with both into a new folder.

    `place` is where the nodes have the folder, if it is elsewhere there.

    Raises:
        UserError: the folder exists and is not empty, or Dask is not installed.
    """
    require_dask()
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: not empty; allowed: a new folder, outside of the repository")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    there = place or folder.resolve()
    _write(folder, there)
    say(f"{folder} has a certificate for a year. Every node needs it as {there}, readable for you alone, and then:")
    say(f"export DASK_CONFIG={there}")


def serve(workers: int, port: int) -> None:
    """Run a scheduler and workers on this machine until Ctrl-C, for those who can read a new folder of keys.

    Raises:
        UserError: the number of workers or the port is not allowed, or Dask is not installed.
    """
    require_dask()
    if workers < 1:
        raise UserError(f"--workers: {workers} found; allowed: 1 or more")
    import dask
    from distributed import LocalCluster
    from distributed.security import Security

    from cnnstudy.commands.ui import require_free

    require_free(port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="cnnstudy-keys-") as keys:
        _write(Path(keys), Path(keys))
        dask.config.refresh(paths=[keys])
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            scheduler_port=port,
            protocol="tls://",
            security=Security(),
            dashboard_address="127.0.0.1:0",
            memory_limit=0,  # what needs memory are the processes that a worker starts, which Dask does not count
        )
        try:
            say(f"{workers} workers; in another terminal:")
            say(f"DASK_CONFIG={keys} cnnstudy repro --cluster {cluster.scheduler_address}")
            signal.pause()
        finally:
            with suppress(TimeoutError):  # the workers end with this process
                cluster.close(timeout=ENDING)


def _write(folder: Path, there: Path) -> None:
    """Write a key, a certificate and Dask's configuration, which finds both in the folder `there`."""
    from distributed.security import Security

    made = Security.temporary()
    for name, text in (
        ("certificate.pem", made.tls_ca_file), ("key.pem", made.tls_client_key),
        ("dask.yaml", CONFIGURATION.format(folder=there)),
    ):  # fmt: skip
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
