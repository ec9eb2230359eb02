"""Which requests the page takes, what is kept of uploads, and what is left of a page that was killed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving.asgi import call

from cnnstudy.app.middleware import RequestFilter
from cnnstudy.app.uploads import Room, upload_folder

SRC = Path(__file__).parents[2] / "src"
HOST = {"host": "127.0.0.1:7860"}


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answered"})


@pytest.fixture
def request_filter(tmp_path: Path) -> RequestFilter:
    return RequestFilter(answer, Room(tmp_path, 1000), 500)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (HOST, 200),
        ({"host": "localhost:7860"}, 200),
        ({"host": "[::1]:7860"}, 200),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, 200),  # as of a tunnel
        (HOST | {"origin": "http://127.0.0.1:7860"}, 200),
        (HOST | {"origin": "http://example.org"}, 403),
        (HOST | {"origin": "http://127.0.0.1:3000"}, 403),
        (HOST | {"origin": "https://127.0.0.1:7860"}, 403),
        (HOST | {"origin": "null"}, 403),
        ({"host": "example.org"}, 403),
        ({"host": "example.org:7860", "origin": "http://example.org:7860"}, 403),
        ({"host": "127.0.0.1.example.org"}, 403),
        ({"host": "[::1"}, 403),
        ({"host": ""}, 403),
        (HOST | {"content-length": ""}, 411),
        (HOST | {"content-length": "501"}, 413),
    ],
)
def test_requests_of_the_page_and_of_this_machine_are_answered(
    request_filter: RequestFilter, headers: dict[str, str], status: int
) -> None:
    code, said = call(request_filter, b"", headers)
    assert code == status
    assert (said == "answered") == (status == 200)


@settings(max_examples=150, derandomize=True)
@given(
    host=st.one_of(st.sampled_from(["127.0.0.1:7860", "localhost", "[::1]", "[", "a@localhost"]), st.text(max_size=9)),
    origin=st.one_of(st.sampled_from(["", "null", "http://localhost", "http://127.0.0.1:7860"]), st.text(max_size=9)),
    length=st.one_of(st.integers(-5, 10**30).map(str), st.text(max_size=5)),
)
def test_whatever_a_request_says_of_itself_it_is_answered(host: str, origin: str, length: str) -> None:
    request_filter = RequestFilter(answer, Room(Path("nowhere"), 1000), 500)
    code, _ = call(request_filter, b"", {"host": host, "origin": origin, "content-length": length})
    assert code in (200, 403, 411, 413)
    assert code != 200 or host.rpartition("@")[2].startswith(("127.0.0.1", "localhost", "[::1]"))


def write(folder: Path, name: str, size: int, at: int) -> Path:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(bytes(size))
    os.utime(file, (at, at))
    return file


def test_the_oldest_uploads_make_room_and_examples_stay(tmp_path: Path) -> None:
    example = write(tmp_path, "example.png", 900, 1)
    room = Room(tmp_path, 1000)
    files = [write(tmp_path, f"{at}/upload.png", 300, at) for at in (2, 3, 4)]
    with room.taken(100) as is_taken:
        assert is_taken
        assert all(file.exists() for file in files)
    with room.taken(350) as is_taken:
        assert is_taken
        assert [file.exists() for file in files] == [False, True, True]
        with room.taken(500):
            assert [file.exists() for file in files] == [False, False, False]
        with room.taken(700) as is_taken:
            assert not is_taken
    with room.taken(1000) as is_taken:
        assert is_taken
    assert example.exists()


WAIT = """
import sys, time
from cnnstudy.app.uploads import upload_folder
with upload_folder() as folder:
    (folder / "upload.png").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_a_folder_goes_with_its_app_and_that_of_a_killed_one_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "cnnstudy-app-of-others").symlink_to(tmp_path)
    (tmp_path / "other").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", WAIT], env=os.environ | {"PYTHONPATH": str(SRC), "TMPDIR": str(tmp_path)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as running:  # fmt: skip
        assert running.stdout
        first = Path(running.stdout.readline().strip())
        with upload_folder() as second:
            assert first.parent == second.parent == tmp_path
            assert (first / "upload.png").exists()
        assert not second.exists()
        running.kill()
    assert (first / "upload.png").exists()
    with upload_folder() as third:
        assert not first.exists()
        assert third.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cnnstudy-app-of-others", "other"]
