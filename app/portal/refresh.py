"""A page's own refresh: made once for all of a role who look at it, and handed out as it is.

Each request is let in, or not, by itself. What is shared names no person and has no token: that
comes in a header beside it, and app.js puts it into the page's forms.
"""

from typing import Any, Final

import msgspec
from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from app.portal.cookies import Http, services_of
from app.portal.guards import BACKGROUND, LIVE, SHARED, csrf_token, may_open, sign_in
from app.portal.rendering import is_target

#: The token for the forms of the one who asked.
TOKEN_HEADER: Final = b"x-form-token"


class Answer(msgspec.Struct, frozen=True):
    """An answer as it leaves: compressed already."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class SharedRefresh(ASGIMiddleware):
    """Stands between the answer's last headers and its compression, so that this is done once."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        request: Http = Request(scope, receive, send)
        if not _is_refresh(request):
            await next_app(scope, receive, send)
            return
        principal = scope["user"] = await sign_in(request)
        if principal is None or not may_open(principal, request.route_handler):
            await next_app(scope, receive, send)  # the guard says why not
            return
        token = csrf_token(request)

        async def make() -> Answer:
            scope["state"][SHARED] = True
            return await _recorded(next_app, scope, receive)

        is_packed = "gzip" in request.headers.get("accept-encoding", "")
        key = principal.role, scope["path"], scope["query_string"], is_packed
        answer = await services_of(request).hub.once(principal.tenant_id, key, make)
        headers = [*answer.headers, (TOKEN_HEADER, token.encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})


def _is_refresh(request: Http) -> bool:
    is_live = request.method == "GET" and LIVE in request.route_handler.opt
    return is_live and BACKGROUND in request.headers and is_target(request, "live")


async def _recorded(app: ASGIApp, scope: Scope, receive: Receive) -> Answer:
    start: Any = None
    body: list[bytes] = []

    async def keep(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
        elif message["type"] == "http.response.body":
            body.append(message["body"])

    await app(scope, receive, keep)
    headers = [(name, value) for name, value in start["headers"] if name != b"set-cookie"]
    return Answer(start["status"], headers, b"".join(body))
