"""The middleware in front of the app: it passes only requests of the app's pages, and uploads while there is room."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cnnstudy.app.uploads import Room

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# The names of this machine for itself. A foreign page may have made any other name lead here (DNS rebinding).
NAMES = ("127.0.0.1", "localhost", "::1")


class RequestFilter:
    """An ASGI middleware that refuses requests which no page of the app sends."""

    def __init__(self, app: "ASGIApp", room: Room, largest: int) -> None:
        self.app = app
        self.room = room
        self.largest = largest

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Refuse a request, or pass it to the application."""
        from starlette.datastructures import Headers
        from starlette.responses import PlainTextResponse

        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if reason := _foreign(headers.getlist("host"), headers.getlist("origin")):
            await PlainTextResponse(reason, 403)(scope, receive, send)
            return
        if scope["type"] == "websocket" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            await PlainTextResponse("Content-Length: missing", 411)(scope, receive, send)
        elif (size := int(length[:20])) > self.largest:
            reason = f"Content-Length: {size} found; allowed: at most {self.largest}"
            await PlainTextResponse(reason, 413)(scope, receive, send)
        else:
            with self.room.taken(size) as is_taken:
                busy = PlainTextResponse("other uploads are under way; try again when they have ended", 503)
                await (self.app if is_taken else busy)(scope, receive, send)


def _foreign(hosts: list[str], origins: list[str]) -> str:
    """Return why a request comes from a foreign page; '' for a page of this app or a program on this machine."""
    if len(hosts) != 1 or _name(hosts[0]) not in NAMES:
        return f"Host: {', '.join(hosts)} found; allowed: {', '.join(NAMES)}"
    if any(origin != f"http://{hosts[0]}" for origin in origins):
        return f"Origin: {', '.join(origins)} found; allowed: http://{hosts[0]}"
    return ""


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
