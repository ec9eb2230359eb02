"""Printed lines, escaped so that names of files, labels and folders cannot control the terminal."""

import os
import shutil
import sys
from threading import Lock
from typing import TextIO

# Moves the cursor to the beginning of its line, and erases it.
ERASE = "\r\x1b[K"


def say(line: str, file: TextIO | None = None) -> None:
    """Print an escaped line immediately, on stdout if no file is given."""
    file = file or sys.stdout
    encoding = file.encoding or "utf-8"
    # Characters that the encoding lacks are escaped too; otherwise a file's name could end the program.
    print(escaped(line).encode(encoding, "backslashreplace").decode(encoding), file=file, flush=True)


def escaped(text: str) -> str:
    """Return a text on one line, with unprintable characters as Python's escapes.

    These are control characters (ESC, BEL, CR, the C1 set), marks that change the writing direction, zero-width
    characters, line ends, and surrogates, which stand for bytes that are not UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in text)


class LiveLine:
    """A status line, redrawn below each printed line, from any thread; it is not drawn if stdout is not a terminal."""

    def __init__(self) -> None:
        self.file = sys.stdout
        self.is_drawn = self.file.isatty() and os.environ.get("TERM") != "dumb"
        self._text = ""
        self._lock = Lock()

    def say(self, line: str) -> None:
        """Print a line above the live one."""
        with self._lock:
            self._erase()
            say(line, self.file)
            self._draw()

    def show(self, text: str) -> None:
        """Replace the live line; remove it if `text` is empty."""
        with self._lock:
            self._erase()
            self._text = text
            self._draw()

    def _erase(self) -> None:
        if self.is_drawn and self._text:
            self.file.write(ERASE)
            self.file.flush()

    def _draw(self) -> None:
        if self.is_drawn and self._text:
            width = shutil.get_terminal_size().columns - 1
            encoding = self.file.encoding or "utf-8"
            self.file.write(escaped(self._text)[:width].encode(encoding, "backslashreplace").decode(encoding))
            self.file.flush()
