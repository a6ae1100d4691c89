"""The stream of ticks: "something of your tenant changed"; what it was, each page asks itself.

What many pages ask for after the same tick is read once; `refresh` renders and packs it once.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from litestar import get
from litestar.di import NamedDependency
from litestar.response import ServerSentEvent, ServerSentEventMessage

from app.deliveries.health import DestinationHealth, Health, Window, health_of_tenant
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.guards import SHARED, needs, presence_of
from app.portal.presence import Presence
from app.services import Services

RECONNECT_MS: Final = 1_000


async def health(
    request: Http, services: Services, principal: Principal, window: Window
) -> tuple[Health, list[DestinationHealth]]:
    """Return the tenant's health; a refresh takes what another read after the same change.

    Ask before opening a session: whoever waited here with a connection in hand could keep the one
    who reads from getting any.
    """

    async def read() -> tuple[Health, list[DestinationHealth]]:
        async with services.database.reading(principal.tenant_id) as session:
            return await health_of_tenant(session, principal.tenant_id, window)

    if SHARED not in request.scope["state"]:
        return await read()
    return await services.hub.once(principal.tenant_id, ("health", window), read)


@get("/live", opt=needs(Permission.SELF_READ))
async def ticks(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> ServerSentEvent:
    presence, text = presence_of(request), request.scope["auth"]
    presence.remember(text, principal)
    return ServerSentEvent(_ticks(services, principal, presence, text))


async def _ticks(
    services: Services, principal: Principal, presence: Presence, text: str
) -> AsyncIterator[ServerSentEventMessage]:
    yield ServerSentEventMessage(event="hello", data="", retry=RECONNECT_MS)
    async with contextlib.aclosing(services.hub.watch(principal.tenant_id)) as changes:  # type: ignore[type-var]  # it is a generator
        async for changed in changes:
            if not changed and await presence.find(text) is None:
                return
            yield ServerSentEventMessage(event="tick" if changed else "alive", data="")
