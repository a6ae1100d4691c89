"""Revoking a signing secret of a destination, from its page."""

from typing import Any

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.destinations import credentials
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.fields import known_id
from app.portal.guards import needs
from app.portal.rendering import redirect
from app.services import Services


@post(
    "/integrations/{destination_id:str}/secrets/{secret_id:str}/revoke",
    opt=needs(Permission.DESTINATION_CHANGE),
)
async def revoke(
    request: Http,
    destination_id: FromPath[str],
    secret_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    path = f"/integrations/{known_id(destination_id, 'dst')}"
    known_id(secret_id, "sec")
    async with services.change(principal.tenant_id) as session:
        await credentials.revoke(
            session, principal.tenant_id, destination_id, secret_id, actor=principal.actor
        )
    return redirect(request, path, note="Secret revoked.")
