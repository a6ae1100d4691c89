"""A test event watched where it was sent: one delivery in a sentence, told anew by ticks."""

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.deliveries import story_of
from app.portal.fields import known_id
from app.portal.guards import needs
from app.portal.rendering import page
from app.services import Services


@get("/deliveries/{delivery_id:str}/trial", opt=needs(Permission.DELIVERY_READ))
async def show(
    request: Http,
    delivery_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    return await trial_page(request, services, principal, delivery_id)


async def trial_page(
    request: Http, services: Services, principal: Principal, delivery_id: str
) -> Response[Any]:
    known_id(delivery_id, "dlv")
    async with services.database.reading(principal.tenant_id) as session:
        story = await story_of(session, services, principal, delivery_id)
    return page(request, "_trial.html", story=story)
