"""Mistakes a user can mend, and how a stage reports them."""

import sys
from collections.abc import Callable


class UserError(ValueError):
    """A mistake in parameters or data, said in one line: where, what, and what is allowed."""


def run_stage(main: Callable[..., None], *arguments: str) -> None:
    """Call `main`; a UserError becomes one line on stderr and exit code 2."""
    try:
        main(*arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
