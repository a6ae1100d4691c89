"""Who asks, by bearer token, and whether they may: one guard for every route of the API."""

from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from app.errors import Forbidden, Unauthenticated
from app.identity import service
from app.identity.permissions import Permission, Principal
from app.services import Services

PERMISSION: Final = "permission"


def needs(permission: Permission) -> dict[str, Any]:
    """Declare the right that a route asks for: `opt=needs(Permission.X)`."""
    return {PERMISSION: permission, "exclude_from_csrf": True}


async def guard(connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
    """Sign the caller in and hold their role to the route's right; without one it is closed."""
    principal = await _sign_in(connection)
    permission = route.opt.get(PERMISSION)
    if permission is None or not principal.may(permission):
        raise Forbidden(f"The role {principal.role} may not do this.")
    connection.scope["user"] = principal


async def _sign_in(connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    scheme, _, text = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise Unauthenticated("Give a token: Authorization: Bearer TOKEN.")
    services: Services = connection.app.state.services
    async with services.database.reading() as session:
        principal, token = await service.verify_token(
            session,
            text.strip(),
            address=connection.client.host if connection.client else "",
            user_agent=connection.headers.get("user-agent", ""),
        )
    if service.is_stale(token.last_used_at):
        async with services.database.transaction() as session:
            await service.touch_token(session, token)
    return principal


def provide_principal(request: Request[Any, Any, Any]) -> Principal:
    principal: Principal = request.scope["user"]
    return principal
