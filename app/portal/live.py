"""The stream of ticks: "something of your tenant changed"; what it was, each page asks itself."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from litestar import get
from litestar.di import NamedDependency
from litestar.response import ServerSentEvent, ServerSentEventMessage

from app.identity import service
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.guards import needs
from app.services import Services

RECONNECT_MS: Final = 1_000


@get("/live", opt=needs(Permission.SELF_READ))
async def ticks(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> ServerSentEvent:
    return ServerSentEvent(_ticks(services, principal, request.scope["auth"]))


async def _ticks(
    services: Services, principal: Principal, cookie: str
) -> AsyncIterator[ServerSentEventMessage]:
    yield ServerSentEventMessage(event="hello", data="", retry=RECONNECT_MS)
    async with contextlib.aclosing(services.hub.watch(principal.tenant_id)) as changes:  # type: ignore[type-var]  # it is a generator
        async for changed in changes:
            if not changed and not await _is_signed_in(services, cookie):
                return
            yield ServerSentEventMessage(event="tick" if changed else "alive", data="")


async def _is_signed_in(services: Services, cookie: str) -> bool:
    async with services.database.reading() as session:
        return await service.find_session(session, cookie, address="", user_agent="") is not None
