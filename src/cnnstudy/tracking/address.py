"""Addresses of stores without their secrets: users, passwords, tokens."""

import os
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "***"
# Environment variables that may hold a store's password or token.
VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD")
# The length from which passwords and query values are hidden in a text; shorter ones are parts of many words.
SHORTEST = 4
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
# The query of an address that a text gives without its host.
QUERY = re.compile(r"\?[^\s=]+=\S+")


def shown(address: str) -> str:
    """Return an address with host and path alone."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address.partition("?")[0]
    before, at, after = ("", "", rest) if _is_local(rest) else rest.rpartition("@")
    # Some passwords contain "/", "?" and "#" that should have been written as %2F and so on. An address that is
    # ambiguous for this reason is hidden entirely.
    if "?" in before or "#" in before:
        return f"{scheme}://{HIDDEN}"
    try:
        parts = urlsplit(f"{scheme}://{after}", allow_fragments=not _is_local(rest))
    except ValueError:
        return f"{scheme}://{HIDDEN}"
    user, query = f"{HIDDEN}@" if at else "", f"?{HIDDEN}" if parts.query or parts.fragment else ""
    return f"{scheme}://{user}{parts.netloc}{parts.path}{query}"


def without_secrets(text: str, *addresses: str) -> str:
    """Return a text with its addresses as `shown`, and with the secrets of `addresses` and the environment hidden."""
    for address in addresses:
        text = text.replace(address, shown(address))
    known = {os.environ.get(name, "") for name in VARIABLES}
    known |= {secret for address in addresses for secret in _secrets(address)}
    written = {way(secret) for secret in known for way in (str, unquote, quote)}
    for secret in sorted(written, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, HIDDEN)
    return QUERY.sub(f"?{HIDDEN}", ADDRESS.sub(lambda found: shown(found[0]), text))


def _secrets(address: str) -> Iterator[str]:
    """Yield the password or token of an address, and the values in its query."""
    rest = address.partition("://")[2]
    if not _is_local(rest):
        user, _, password = rest.rpartition("@")[0].partition(":")
        yield password or user
    for part in re.split("[?&]" if _is_local(rest) else "[?&#]", rest)[1:]:
        _, mark, value = part.partition("=")
        yield value if mark else part


def _is_local(rest: str) -> bool:
    """Return whether the part after the scheme is a path, without a host and a user."""
    return rest.startswith("/")
