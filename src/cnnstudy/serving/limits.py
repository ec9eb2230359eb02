"""Limits of a served model, set by environment variables, and the return of freed memory to the system."""

import ctypes
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from cnnstudy.data.decode import LARGEST
from cnnstudy.errors import UserError

MIB = 1 << 20
# Seconds after which a request's memory is free: MLflow's server holds it until the response is sent.
LATER = 1.0

REQUEST, IMAGES, PIXELS = "CNNSTUDY_MAX_REQUEST_MB", "CNNSTUDY_MAX_IMAGES", "CNNSTUDY_MAX_PIXELS"
AT_ONCE = "CNNSTUDY_MAX_AT_ONCE"
# The default and the largest allowed value of each variable.
ALLOWED = {REQUEST: (64, 1 << 20), IMAGES: (1000, 1 << 30), PIXELS: (LARGEST, LARGEST), AT_ONCE: (4, 1000)}


class TooLargeError(Exception):
    """A request larger than a limit; the message names the limit."""


@dataclass(frozen=True)
class Limits:
    """The most MiB and images of one request, the most pixels of one image, and the most requests at once.

    Only `cnnstudy serve` limits the requests at once.
    """

    request_mb: int
    images: int
    pixels: int
    at_once: int

    def check(self, images: int, size: int) -> None:
        """Refuse a request with too many images, or with too large a `size`: the bytes of all images as sent.

        Raises:
            TooLargeError: the request is larger than allowed.
        """
        if images > self.images:
            raise TooLargeError(f"{images} images in one request; allowed: at most {self.images} ({IMAGES})")
        if size > self.request_mb * MIB:
            found = f"{size / MIB:.1f} MiB in one request"
            raise TooLargeError(f"{found}; allowed: at most {self.request_mb} MiB ({REQUEST})")


def read_limits(variables: Mapping[str, str]) -> Limits:
    """Read the limits from environment variables, with defaults for those that are not set.

    Raises:
        UserError: a variable's value is not a number, or outside the allowed range.
    """
    return Limits(*(_read(variables, name) for name in ALLOWED))


def _read(variables: Mapping[str, str], name: str) -> int:
    default, most = ALLOWED[name]
    text = variables.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= most):
        raise UserError(f"{name}: {text!r} found; allowed: a number from 1 to {most}")
    return int(text)


_released = threading.Lock()


def keep_memory_in_one_place() -> None:
    """Make Arrow, which holds strings for pandas, use the system's allocator: Arrow's own pool keeps freed memory."""
    import pyarrow

    pyarrow.set_memory_pool(pyarrow.system_memory_pool())


def release_later() -> None:
    """Return freed memory to the system once the current request is finished."""
    if _released.acquire(blocking=False):  # otherwise a timer is already running
        timer = threading.Timer(LATER, _release)
        timer.daemon = True
        timer.start()


def _release() -> None:
    """Make glibc return the memory that it keeps for threads; other C libraries return memory on their own."""
    _released.release()
    if os.name == "posix" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
