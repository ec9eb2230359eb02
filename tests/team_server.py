"""A team's MLflow server as the README sets it up: PostgreSQL, artifacts through the server, users with passwords."""

import base64
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cnnstudy.tracking import store

ROOT = Path(__file__).parents[1]
ADMIN = "admin"
# Bytes of a password.
LENGTH = 16


@dataclass(frozen=True)
class Team:
    """Where the server is, the folder of all that it stores and logs, and every password by what it is for."""

    address: str
    folder: Path
    passwords: dict[str, str] = field(repr=False)

    def add_user(self, name: str) -> None:
        """A user without rights, and with a new password."""
        self.passwords[name] = secrets.token_hex(LENGTH)
        self.ask(ADMIN, "2.0/mlflow/users/create", {"username": name, "password": self.passwords[name]})

    def ask(self, user: str, what: str, content: dict[str, str]) -> None:
        """A request of a user to the server."""
        sign_in = base64.b64encode(f"{user}:{self.passwords[user]}".encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {sign_in}"}
        body = json.dumps(content).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.address}/api/{what}", body, headers))


def programs() -> Path:
    """The folder of PostgreSQL's programs; without them a test is skipped, unless CNNSTUDY_NEEDS_SERVERS is set."""
    # Debian has no links to them on the path, but a folder a version.
    found = [Path(each).parent for each in [shutil.which("initdb")] if each]
    found += sorted(path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        assert "CNNSTUDY_NEEDS_SERVERS" not in os.environ, "PostgreSQL is missing"
        pytest.skip("needs PostgreSQL (Debian: postgresql)")
    return found[-1]


@contextmanager
def running() -> Iterator[Team]:
    """Both servers while the block runs, with new passwords, on free ports of 127.0.0.1."""
    passwords = {name: secrets.token_hex(LENGTH) for name in ("database", ADMIN, "session")}
    binaries = programs()
    with tempfile.TemporaryDirectory(prefix="cnnstudy-") as name, _database(binaries, Path(name), passwords) as port:
        folder = Path(name)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "PG"))} | {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGUSER": "mlflow",
            "PGPASSWORD": passwords["database"],
            "MLFLOW_AUTH_CONFIG_PATH": str(ROOT / "server/auth.ini"),
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN,
            "MLFLOW_AUTH_ADMIN_PASSWORD": passwords[ADMIN],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": passwords["session"],
            **store.ENVIRONMENT,
        }
        own = _free_port()
        options = ["--app-name=basic-auth", "--host=127.0.0.1", f"--port={own}", "--workers=1"]
        options += ["--backend-store-uri=postgresql+psycopg2:///mlflow", f"--artifacts-destination={folder}/artifacts"]
        command = [str(Path(sys.executable).with_name("mlflow")), "server", *options]
        address = f"http://127.0.0.1:{own}"
        with _started(
            command, folder / "mlflow.log", lambda: _answers(address), signal.SIGKILL, env=environment, cwd=folder
        ):
            yield Team(address, folder, passwords)


@contextmanager
def database() -> Iterator[str]:
    """The address, with its password, of an empty database of PostgreSQL while the block runs."""
    password = secrets.token_hex(LENGTH)
    passwords = {"database": password}
    with (
        tempfile.TemporaryDirectory(prefix="cnnstudy-") as name,
        _database(programs(), Path(name), passwords) as port,
    ):
        yield f"postgresql+psycopg2://mlflow:{password}@127.0.0.1:{port}/mlflow"


@contextmanager
def _database(binaries: Path, folder: Path, passwords: dict[str, str]) -> Iterator[int]:
    """PostgreSQL with an empty database `mlflow`, which the user of that name owns."""
    import psycopg2

    # It refuses to be run by root; Debian's package has a user for it.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    secret = folder / "secret"
    secret.write_text(passwords["database"])
    secret.chmod(0o644)  # in a folder that nobody else may enter
    data = folder / "database"
    made = ["--username=mlflow", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync", f"--pgdata={data}"]
    subprocess.run([binaries / "initdb", *made], check=True, capture_output=True, user=user, cwd=folder)
    secret.unlink()
    port = _free_port()
    access = {"host": "127.0.0.1", "port": port, "user": "mlflow", "password": passwords["database"]}
    settings = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": "", "fsync": "off"}
    command = [str(binaries / "postgres"), "-D", str(data), *(f"--{key}={value}" for key, value in settings.items())]

    def is_up() -> bool:
        with suppress(psycopg2.OperationalError):
            psycopg2.connect(dbname="postgres", **access).close()
            return True
        return False

    with _started(command, folder / "database.log", is_up, signal.SIGINT, user=user, cwd=folder):
        connection = psycopg2.connect(dbname="postgres", **access)
        connection.autocommit = True
        connection.cursor().execute("create database mlflow")
        connection.close()
        yield port


@contextmanager
def _started(
    command: list[str], log: Path, is_up: Callable[[], bool], end: signal.Signals, **how: object
) -> Iterator[None]:
    """Start a server, wait until it answers, and end it and its child processes after the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, **how)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 180
        while not is_up():
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, end)
        process.wait()


def _answers(address: str) -> bool:
    with suppress(OSError):
        return urllib.request.urlopen(f"{address}/health", timeout=2).status == 200
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
