"""The headers that every answer carries unless its own face said otherwise; set as it leaves."""

from typing import Final

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

from app.api.limits import Standing

ALWAYS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Whatever a token or a cookie was needed for belongs into no cache.
    "Cache-Control": "no-store",
}
HSTS: Final = "max-age=63072000; includeSubDomains"
#: Where the guard leaves the caller's standing for us.
STANDING: Final = "rate_standing"


async def add_headers(message: Message, scope: Scope) -> None:
    """Complete an answer; a hook of the application, so that no answer slips past it."""
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    for name, value in ALWAYS.items():
        headers.setdefault(name, value)
    if not scope["litestar_app"].state.settings.env.relaxed:
        headers.setdefault("Strict-Transport-Security", HSTS)
    standing: Standing | None = scope["state"].get(STANDING)
    if standing is not None:
        headers["RateLimit-Limit"] = str(standing.limit)
        headers["RateLimit-Remaining"] = str(standing.remaining)
        headers["RateLimit-Reset"] = str(standing.reset_s)
