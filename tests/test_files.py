"""Files are whole or not there."""

from pathlib import Path

import pytest

from cnnstudy.workspace import files


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def fail_in(path: Path) -> None:
    with files.replacing(path) as aside:
        aside.write_text("half")
        raise RuntimeError


def fail_in_folder(path: Path) -> None:
    with files.replacing_folder(path) as aside:
        (aside / "half.csv").write_text("half")
        raise RuntimeError


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    files.write_text(path, "first\n")
    with files.replacing(path) as aside:
        aside.write_text("second\n")
        assert path.read_text() == "first\n"
    assert path.read_text() == "second\n"
    assert names(tmp_path) == ["new/table.csv"]


def test_a_folder_takes_its_place_with_nothing_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "plots"
    for name in ("first.png", "second.png"):
        with files.replacing_folder(path) as aside:
            (aside / name).write_bytes(b"picture")
    assert names(tmp_path) == ["plots/second.png"]


@pytest.mark.parametrize("fail", [fail_in, fail_in_folder])
def test_a_failure_leaves_what_was_there(fail: object, tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert callable(fail)
    with pytest.raises(RuntimeError):
        fail(path)
    assert not list(tmp_path.iterdir())
    files.write_text(path, "whole")
    with pytest.raises(RuntimeError):
        fail(path)
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["out"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".partial.out").mkdir()
    (tmp_path / ".partial.out" / "half.csv").write_text("half")
    files.write_text(tmp_path / "out", "whole")
    assert names(tmp_path) == ["out"]


def test_a_linked_cache_is_not_written_through(tmp_path: Path) -> None:
    cached = tmp_path / "cached"
    cached.write_text("cached")
    (tmp_path / "hard").hardlink_to(cached)
    (tmp_path / "soft").symlink_to(cached)
    for name in ("hard", "soft"):
        files.write_text(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"
    assert cached.read_text() == "cached"


def test_room_is_there_or_it_is_said(tmp_path: Path) -> None:
    files.reserve(tmp_path / "weights", 1000)
    with pytest.raises(OSError, match=r"No space left|File too large"):
        files.reserve(tmp_path / "weights", 1 << 60)
    assert not list(tmp_path.iterdir())
