"""No name of a file, label or folder steers the terminal that it is printed on. Names are generated."""

import ast
import io
import sys
import unicodedata
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnstudy import cli
from cnnstudy.errors import UserError
from cnnstudy.serving import predict
from cnnstudy.serving.net import Net
from cnnstudy.workspace.stage import reported_errors
from cnnstudy.workspace.terminal import escaped, say

SRC = Path(__file__).parents[1] / "src"
# A colour, a title, a link and its end, a bell, a return to the line's start, CSI and OSC as one character, marks that
# turn the direction of writing or have no width, ends of lines, and a byte that is not UTF-8.
HOSTILE = (
    "\x1b[31m", "\x1b]0;title\x07", "\x1b]8;;http://example.org\x1b\\", "\x07", "\r", "\x9b2J", "\x9d0;x\x9c", "\u202e",
    "\u2066", "\u200b", "\u061c", "\ufeff", "\u2028", "\n", "\x08", "\x7f", "\udc9b", "\x00", "\U000e0041",
)  # fmt: skip
PLAIN = st.text("aé漢_ .-\\", min_size=1, max_size=5)
NAMES = st.lists(st.one_of(st.sampled_from(HOSTILE), PLAIN, st.text(max_size=4)), min_size=1, max_size=6).map("".join)
FILES = NAMES.map(lambda name: name.replace("/", "").replace("\x00", "")).filter(
    lambda name: name not in ("", ".", "..")
)
EXAMPLES = settings(max_examples=150, derandomize=True, deadline=None)


def steering(text: str) -> set[str]:
    """Return the control characters in a text."""
    return {it for it in text if unicodedata.category(it) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


def printed(work: Callable[[], object]) -> str:
    """Return what a function writes on stdout and stderr."""
    file = io.StringIO()
    with redirect_stdout(file), redirect_stderr(file):
        work()
    return file.getvalue()


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_steers_a_terminal_is_escaped(hostile: str) -> None:
    said = escaped(f"a{hostile}b")
    assert said.startswith("a")
    assert said.endswith("b")
    assert "\\" in said
    assert not steering(said)


@pytest.mark.parametrize("plain", ["Überraschung 漢字.png", "C:\\images\\a.png", "'quoted' \"name\"", "👍🏽", ""])
def test_a_plain_name_stays(plain: str) -> None:
    assert escaped(plain) == plain


def test_what_a_terminal_has_no_sign_for_is_escaped() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    say("é\u202e", file)
    assert file.buffer.getvalue() == b"\\xe9\\u202e\n"


@EXAMPLES
@given(name=FILES, label=NAMES)
def test_predicting_prints_a_line_a_file_whatever_its_name(name: str, label: str) -> None:
    net = Net((label,), 8, lambda images: np.ones((len(images), 1), np.float32))
    with TemporaryDirectory() as folder:
        file = Path(folder, name)
        file.write_bytes(b"P6 1 1 255 abc")
        for line in (predict.as_text, predict.as_json):
            said = printed(partial(predict.write, net, [file], 1, line))
            assert "rejected" not in said
            assert steering(said) == {"\n"}
            assert said.find("\n") == len(said) - 1


@EXAMPLES
@given(name=NAMES)
def test_an_error_is_one_line_whatever_it_names(name: str) -> None:
    def fail(error: BaseException) -> None:
        with pytest.raises(SystemExit), reported_errors():
            raise error

    for error in (UserError(f"{name}: no such file"), OSError(2, "No such file", name), KeyboardInterrupt(name)):
        said = printed(partial(fail, error))
        assert said.startswith("error: ")
        assert steering(said) == {"\n"}
        assert said.find("\n") == len(said) - 1


@EXAMPLES
@given(name=NAMES)
def test_an_unknown_argument_is_escaped(name: str) -> None:
    def call() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["cnnstudy", "doctor", f"x{name}"])
            with pytest.raises(SystemExit, match="2"):
                cli.main()

    assert steering(printed(call)) == {"\n"}


def test_one_place_prints() -> None:
    printing = set()
    for path in SRC.rglob("*.py"):
        calls = [
            node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        ]
        if {"print", "sys.stdout.write", "sys.stderr.write"} & {ast.unparse(each) for each in calls}:
            printing.add(path.name)
    assert printing == {"terminal.py"}
