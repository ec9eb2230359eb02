"""The exception for mistakes that a user can correct."""


class UserError(ValueError):
    """A mistake in parameters, data or arguments; its message names the place, the value and what is allowed."""
