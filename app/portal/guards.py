"""Who asks, whether the request is theirs, and whether they may: one guard for every page."""

import base64
import hmac
from typing import Any, Final
from urllib.parse import urlsplit

from litestar.handlers.base import BaseRouteHandler

from app.errors import Forbidden, Unauthenticated
from app.identity import service
from app.identity.permissions import Permission, Principal
from app.portal import cookies
from app.portal.cookies import Connection, Http, services_of
from app.portal.presence import Presence

PERMISSION: Final = "permission"
#: The route's declaration that everybody may come: `opt=PUBLIC`.
PUBLIC: Final[dict[str, Any]] = {"public": True, "exclude_from_csrf": True}
CSRF_FIELD: Final = "_csrf"
#: What stands in the forms of an answer that many get; app.js puts the page's own token there.
SHARED_TOKEN: Final = "of-the-page"
#: Where an answer is marked that many get.
SHARED: Final = "shared"
#: The route's declaration that its block `live` depends on tenant, role and address alone.
LIVE: Final = "live"
#: Set by app.js on what no person asked for: it must not keep an idle session alive.
BACKGROUND: Final = "x-background"

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def needs(permission: Permission, *, live: bool = False) -> dict[str, Any]:
    """Declare the right that a page asks for: `opt=needs(Permission.X)`.

    `live`: its refreshes are the same for all of a role (see `refresh`).
    """
    return {PERMISSION: permission, "exclude_from_csrf": True} | ({LIVE: True} if live else {})


async def guard(connection: Connection, route: BaseRouteHandler) -> None:
    """Sign the browser in, refuse forged requests, hold the role against the route.

    A route that declares neither a right nor PUBLIC is closed.
    """
    scope: dict[str, Any] = connection.scope  # type: ignore[assignment]  # no user before us
    principal: Principal | None = scope["user"] if "user" in scope else await sign_in(connection)
    scope["user"] = principal
    is_public = route.opt.get("public", False)
    if principal is None and not is_public:
        raise Unauthenticated
    request: Http = connection  # type: ignore[assignment]  # guards of HTTP routes get the request
    if request.method not in _SAFE:
        await _refuse_forgery(request)
    if is_public:
        return
    if principal is None or not may_open(principal, route):
        raise Forbidden("Your role does not allow this.")


def may_open(principal: Principal, route: BaseRouteHandler) -> bool:
    permission = route.opt.get(PERMISSION)
    return permission is not None and principal.may(permission)


async def sign_in(connection: Connection) -> Principal | None:
    """Return whose session the browser's cookie is; None without one that holds."""
    text = cookies.read(connection, cookies.SESSION)
    if not text:
        return None
    refreshes = BACKGROUND in connection.headers and connection.scope.get("method") in _SAFE
    if refreshes and (known := await presence_of(connection).find(text)):
        connection.scope["auth"] = text
        return known
    services = services_of(connection)
    async with services.database.reading() as session:
        found = await service.find_session(
            session, text, address=address_of(connection), user_agent=agent_of(connection)
        )
    if found is None:
        return None
    principal, current = found
    if service.is_stale(current.last_seen_at) and BACKGROUND not in connection.headers:
        async with services.database.transaction() as session:
            await service.touch_session(session, current)
    if refreshes:
        presence_of(connection).remember(text, principal)
    connection.scope["auth"] = text
    return principal


def presence_of(connection: Connection) -> Presence:
    state = connection.app.state
    if "presence" not in state:
        state.presence = Presence(services_of(connection).database)
    found: Presence = state.presence
    return found


def is_shared(connection: Connection) -> bool:
    """Whether the answer is made for many: it must name no person."""
    return SHARED in connection.scope["state"]


def csrf_token(connection: Connection) -> str:
    """Return the token for this browser's forms: bound to its session, worthless to another."""
    if is_shared(connection):
        return SHARED_TOKEN
    seed = connection.scope.get("auth") or cookies.read(connection, cookies.VISIT)
    if not seed:
        return ""
    digest = hmac.digest(seed.encode(), b"oneprotect csrf", "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


async def _refuse_forgery(request: Http) -> None:
    expected = csrf_token(request)
    given = (await request.form()).get(CSRF_FIELD)
    genuine = (
        bool(expected)
        and isinstance(given, str)
        and hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
    )
    if _is_foreign(request) or not genuine:
        raise Forbidden("This form is out of date. Go back, reload the page and send it again.")


def _is_foreign(connection: Connection) -> bool:
    """Whether another site's page made the browser send this (Fetch Metadata, or Origin)."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = connection.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != connection.headers.get("host")


def address_of(connection: Connection) -> str:
    return connection.client.host if connection.client else ""


def agent_of(connection: Connection) -> str:
    return connection.headers.get("user-agent", "")


def provide_principal(request: Http) -> Principal:
    principal: Principal = request.scope["user"]
    return principal
