"""The line of an ordered destination over the API."""

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.api.auth import needs
from app.api.problems import documented
from app.deliveries.line import Line, line_of
from app.destinations import service
from app.identity.permissions import Permission, Principal
from app.services import Services


class Lines(Controller):
    path = "/integrations/destinations/{destination_id:str}/line"
    tags = ("Destinations",)

    @get(
        summary="Read what holds up an ordered destination",
        description="`holder` is the delivery that everything else waits for. Retry it"
        " (`/deliveries/{id}/retry`), or skip it (`/deliveries/{id}/cancel`).",
        opt=needs(Permission.DELIVERY_READ),
        responses=documented(404),
    )
    async def read(
        self,
        destination_id: FromPath[str],
        services: NamedDependency[Services],
        principal: NamedDependency[Principal],
    ) -> Line:
        async with services.database.reading(principal.tenant_id) as session:
            destination = await service.get(session, principal.tenant_id, destination_id)
            return await line_of(session, principal.tenant_id, destination)
