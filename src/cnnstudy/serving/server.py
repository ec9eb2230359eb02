"""`cnnstudy serve`: MLflow's server for a study's champion, with limits that `mlflow models serve` does not offer."""

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from cnnstudy.serving import limits, promote
from cnnstudy.tracking import store, write
from cnnstudy.workspace.terminal import say

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOCALHOST = "127.0.0.1"
# Seconds that a client has to send a request that is refused.
PATIENCE = 30.0


class RequestLimits:
    """An ASGI middleware that refuses large requests and makes all but a few wait, without keeping their bodies."""

    def __init__(self, app: "ASGIApp", limit: limits.Limits) -> None:
        self.app = app
        self.limits = limit
        self.turn = asyncio.Semaphore(limit.at_once)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Refuse a request, or pass it to the application."""
        from starlette.datastructures import Headers
        from starlette.responses import PlainTextResponse

        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        # The server takes no more bytes than are announced; without a length it would take any number.
        length = Headers(scope=scope).get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            await PlainTextResponse("Content-Length: missing", 411)(scope, receive, send)
            return
        try:
            self.limits.check(images=0, size=int(length[:20]))
        except limits.TooLargeError as reason:
            await _drop(receive)
            await PlainTextResponse(str(reason), 413)(scope, receive, send)
            return
        async with self.turn:
            await self.app(scope, receive, send)


async def _drop(receive: "Receive") -> None:
    """Receive and drop a request's body: many clients read no response before they have sent everything."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while (await receive()).get("more_body"):
                pass


def serve(study: str, port: int) -> None:
    """Serve a study's champion on this machine until Ctrl-C.

    Raises:
        UserError: there is no champion, MLflow refuses, or a limit is not allowed.
    """
    limit = limits.read_limits(os.environ)
    remedy = promote.require_store(study)
    store.configure(promote.PATIENCE)
    import mlflow
    import uvicorn
    from mlflow.pyfunc import scoring_server

    with write.user_errors(remedy):
        mlflow.set_tracking_uri(store.uri())
        model = mlflow.pyfunc.load_model(f"models:/{study}@{promote.CHAMPION}")
    app = scoring_server.init(model)
    app.add_middleware(RequestLimits, limit=limit)
    say(f"The champion of {study} (Ctrl-C ends it): http://{LOCALHOST}:{port}/invocations")
    uvicorn.run(app, host=LOCALHOST, port=port, log_level="warning")
