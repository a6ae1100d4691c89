"""Who asks, by bearer token, and whether they may: one guard for every route of the API."""

from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from app.api.headers import STANDING
from app.api.limits import Limits
from app.errors import Forbidden, NotFound, Unauthenticated
from app.identity import jwt, provisioning, service
from app.identity.permissions import Permission, Principal
from app.identity.sign_on import SignOn
from app.services import Services

PERMISSION: Final = "permission"


def needs(permission: Permission) -> dict[str, Any]:
    """Declare the right that a route asks for: `opt=needs(Permission.X)`."""
    return {PERMISSION: permission, "exclude_from_csrf": True}


async def guard(connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
    """Sign the caller in and hold their role to the route's right; without one it is closed."""
    principal = await _sign_in(connection)
    permission = route.opt.get(PERMISSION)
    _count(connection, principal, permission)
    if permission is None or not principal.may(permission):
        raise Forbidden(f"The role {principal.role} may not do this.")
    if "\0" in connection.scope["path"]:
        raise NotFound  # no id holds one, and PostgreSQL cannot even look for it
    connection.scope["user"] = principal


async def _sign_in(connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    scheme, _, text = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise Unauthenticated("Give a token: Authorization: Bearer TOKEN.")
    services: Services = connection.app.state.services
    address = connection.client.host if connection.client else ""
    text, sign_on = text.strip(), services.sign_on
    if sign_on is not None and sign_on.serves_api and jwt.looks_like_one(text):
        return await _sign_in_by_jwt(connection, sign_on, text, address)
    try:
        async with services.database.reading() as session:
            principal, token = await service.verify_token(
                session,
                text,
                address=address,
                user_agent=connection.headers.get("user-agent", ""),
            )
    except Unauthenticated:
        # Counted after the look-up: a good token passes whatever else comes from its address.
        _limits(connection).wrong_tokens.take(address).check()
        raise
    if service.is_stale(token.last_used_at):
        async with services.database.transaction() as session:
            await service.touch_token(session, token)
    return principal


async def _sign_in_by_jwt(
    connection: ASGIConnection[Any, Any, Any, Any], sign_on: SignOn, text: str, address: str
) -> Principal:
    """Take an access token of the operator's OpenID provider."""
    services: Services = connection.app.state.services
    try:
        claims = await sign_on.bearer(text)
    except Unauthenticated:
        _limits(connection).wrong_tokens.take(address).check()
        raise
    async with services.database.reading() as session:
        return await provisioning.principal_of(
            session,
            claims,
            services.settings,
            address=address,
            user_agent=connection.headers.get("user-agent", ""),
        )


def _count(
    connection: ASGIConnection[Any, Any, Any, Any], who: Principal, permission: Permission | None
) -> None:
    """Hold the token to its rate; the answer tells it where it stands."""
    limits = _limits(connection)
    publishes = permission is Permission.EVENT_PUBLISH
    standing = (limits.publishing if publishes else limits.ordinary).take(who.actor.id)
    connection.scope["state"][STANDING] = standing
    standing.check()


def _limits(connection: ASGIConnection[Any, Any, Any, Any]) -> Limits:
    found: Limits = connection.app.state.limits
    return found


def provide_principal(request: Request[Any, Any, Any]) -> Principal:
    principal: Principal = request.scope["user"]
    return principal
