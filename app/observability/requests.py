"""The id of a request: the caller's own, or one of ours; in every log line and in the answer."""

import re
from typing import Any, Final
from uuid import uuid4

from structlog.contextvars import bind_contextvars

HEADER: Final = b"x-request-id"
_KEY: Final = "request_id"
#: What may stand in a log and a header as it is; anything else is replaced by an id of ours.
_GOOD: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


def request_id_of(scope: Any) -> bytes:
    """Return the request's id; the first call finds or makes it."""
    state = scope["state"]
    known: bytes | None = state.get(_KEY)
    if known is None:
        given = next((value for name, value in scope["headers"] if name == HEADER), b"")
        known = given if _GOOD.fullmatch(given) else uuid4().hex.encode()
        state[_KEY] = known
    return known


def request_ids(app: Any) -> Any:
    """Wrap an ASGI application: whatever is logged meanwhile carries the request's id."""

    async def with_id(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            bind_contextvars(request_id=request_id_of(scope).decode())
        await app(scope, receive, send)

    return with_id
