"""The connection to a Dask scheduler: encrypted unless it is on this machine, with workers that can take tasks."""

import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cnnstudy.cluster import worker
from cnnstudy.errors import UserError
from cnnstudy.workspace import locked, paths

if TYPE_CHECKING:
    from distributed import Client

# Hosts of addresses that no other machine reaches.
LOCAL = ("localhost", "127.0.0.1", "::1")
# Seconds to wait for the scheduler and its first worker.
PATIENCE = 20


@dataclass(frozen=True)
class Workers:
    """The workers of a cluster by address: those that can take tasks, and why others can't.

    `gpus` are the addresses of those that can and have the resource GPU.
    """

    fit: dict[str, worker.Examined]
    unfit: dict[str, str]
    gpus: frozenset[str]

    @property
    def trainers(self) -> dict[str, worker.Examined]:
        """The workers that train: those with GPUs, if any worker has one."""
        return {address: its for address, its in self.fit.items() if address in self.gpus or not self.gpus}


def require_dask() -> None:
    """Refuse to go on without Dask.

    Raises:
        UserError: it is not installed.
    """
    if find_spec("distributed") is None:
        raise UserError("distributed: not installed, but needed for a cluster; `pip install -e '.[cluster]'`")


def require_encryption(address: str) -> None:
    """Refuse the address of a scheduler that others can reach without TLS: whoever connects to it can run code.

    Raises:
        UserError: it is such an address, or none.
    """
    allowed = "tls://HOST:PORT, with DASK_CONFIG naming the folder of `cnnstudy cluster certificates`"
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname:
        raise UserError(f"--cluster: {address!r} found; allowed: {allowed}")
    if parts.scheme == "tcp" and parts.hostname not in LOCAL:
        raise UserError(f"--cluster: {address}: not encrypted, so that whoever reaches it can run code; "
                        f"allowed: {allowed}, or tcp:// on this machine")  # fmt: skip


@contextmanager
def connected(address: str) -> Iterator["Client"]:
    """Connect to a scheduler that has at least one worker.

    Raises:
        UserError: there is no such scheduler, it refuses the certificate, or no worker comes within some seconds.
    """
    require_dask()
    require_encryption(address)
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        cause = " ".join(str(error).split())[:200]
        raise UserError(f"--cluster: {address}: {cause}; allowed: the address that `dask scheduler` prints") from None
    try:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            told = "the scheduler has no worker"
            raise UserError(f"--cluster: {address}: {told}; allowed: at least one `dask worker {address}`") from None
        yield client
    finally:
        client.close(timeout=1)


@lru_cache
def wanted_node(hardware: str = "", has_gpu: bool = False) -> worker.Node:
    """Return what a node must have: the same Python, the packages of the lock file, and the same cnnstudy."""
    lock = paths.GPU_REQUIREMENTS if has_gpu and paths.GPU_REQUIREMENTS.exists() else paths.REQUIREMENTS
    return worker.Node(platform.python_version(), locked.versions(lock), worker.code_md5(), hardware)


def examined(client: "Client", storage: worker.Storage) -> Workers:
    """Examine every worker: Python, packages, cnnstudy, and whether it sees the shared cache if there is one.

    Raises:
        UserError: no worker can take tasks; the message says why the first can't.
    """
    token = Path(storage.cache or ".", f".seen-{uuid.uuid4().hex}")
    if storage.cache:
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch()
    gpus = with_gpus(client)
    try:
        found: dict[str, worker.Examined | BaseException] = {}
        for has_gpu in (False, True):
            own = [address for address in known(client) if (address in gpus) == has_gpu]
            if own:
                node = wanted_node(has_gpu=has_gpu)
                found |= client.run(worker.examine, node, str(token), workers=own, on_error="return")
    finally:
        token.unlink(missing_ok=True)
    fit: dict[str, worker.Examined] = {}
    unfit: dict[str, str] = {}
    for address, its in sorted(found.items()):
        if isinstance(its, BaseException):
            unfit[address] = f"cnnstudy can't be imported there ({' '.join(str(its).split())[:120]})"
            continue
        problems = list(its.problems)
        if storage.cache and not its.sees_cache:
            problems.append(f"{storage.cache} is not there; give --remote, or share DVC's cache")
        if problems:
            unfit[address] = f"{its.machine.host}: {'; '.join(problems)}"
        else:
            fit[address] = its
    if not fit:
        raise UserError(f"--cluster: {next(iter(unfit))}: {next(iter(unfit.values()))}")
    return Workers(fit, unfit, frozenset(gpus & fit.keys()))


def known(client: "Client") -> dict[str, dict[str, Any]]:
    """Return what the scheduler knows of each worker, by address."""
    found: dict[str, dict[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    return found


def with_gpus(client: "Client") -> set[str]:
    """Return the addresses of the workers that have the resource GPU."""
    return {address for address, its in known(client).items() if its.get("resources", {}).get("GPU")}
