"""The headers that every answer carries unless its own face said otherwise; set as it leaves."""

from typing import Final

from litestar.types import Message, Scope

from app.api.limits import Standing
from app.observability.requests import request_id_of

ALWAYS: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # Whatever a token or a cookie was needed for belongs into no cache.
    (b"cache-control", b"no-store"),
)
HTTPS_ONLY: Final = (
    *ALWAYS,
    (b"strict-transport-security", b"max-age=63072000; includeSubDomains"),
)
#: Where the guard leaves the caller's standing for us.
STANDING: Final = "rate_standing"


async def add_headers(message: Message, scope: Scope) -> None:
    """Complete an answer; a hook of the application, so that no answer slips past it.

    On raw pairs: every publish comes this way.
    """
    if message["type"] != "http.response.start":
        return
    headers = list(message["headers"])
    present = {name.lower() for name, _ in headers}
    relaxed = scope["litestar_app"].state.settings.env.relaxed
    headers += [pair for pair in (ALWAYS if relaxed else HTTPS_ONLY) if pair[0] not in present]
    headers.append((b"x-request-id", request_id_of(scope)))
    standing: Standing | None = scope["state"].get(STANDING)
    if standing is not None:
        headers += [
            (b"ratelimit-limit", b"%d" % standing.limit),
            (b"ratelimit-remaining", b"%d" % standing.remaining),
            (b"ratelimit-reset", b"%d" % standing.reset_s),
        ]
    message["headers"] = headers
