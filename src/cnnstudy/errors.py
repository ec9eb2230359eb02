"""Mistakes a user can mend."""


class UserError(ValueError):
    """A mistake in parameters or data, said in one line: where, what, and what is allowed."""
