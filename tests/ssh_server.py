"""An SSH server of this test's own: on localhost, for one key, for the user who runs the tests."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

# Debian's place, which isn't on everyone's path.
PROGRAM = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
SETTINGS = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxSessions 64
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class SSHServer:
    """Where a server listens, and the private key that it lets in."""

    port: int
    key: Path

    def address(self, folder: Path) -> str:
        """A folder of this machine as a DVC remote."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{folder}"


@contextmanager
def running(folder: Path) -> Iterator[SSHServer]:
    """A server while the block runs; without the program the test is skipped, unless CNNSTUDY_NEEDS_SERVERS is set."""
    if PROGRAM is None:
        assert "CNNSTUDY_NEEDS_SERVERS" not in os.environ, "sshd is missing"
        pytest.skip("needs sshd (Debian: openssh-server)")
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where a server started by root confines itself
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(SETTINGS.format(port=port, folder=folder))
    log = folder / "sshd.log"
    with log.open("wb") as file:
        server = subprocess.Popen([PROGRAM, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=file)
    try:
        _wait_for(port, server, log)
        yield SSHServer(port, folder / "user")
    finally:
        server.terminate()
        server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert server.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return
