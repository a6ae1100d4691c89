"""The command palette: what this person can open or do from anywhere, as one list of links."""

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency

from app.destinations import service
from app.destinations.models import Destination
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.deliveries import CHOICES_MAX
from app.portal.guards import needs
from app.portal.rendering import THEMES, page
from app.services import Services


@get("/palette", opt=needs(Permission.SELF_READ))
async def show(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    places: list[Destination] = []
    if principal.may(Permission.DESTINATION_READ):
        async with services.database.reading(principal.tenant_id) as session:
            rows = await service.page(session, principal.tenant_id, limit=CHOICES_MAX)
        places = [row[0] for row in rows]
    return page(request, "_palette.html", places=places, themes=THEMES)
