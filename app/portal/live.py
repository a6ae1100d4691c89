"""The stream of ticks: "something of your tenant changed"; what it was, each page asks itself.

What many pages ask for after the same tick is read once; `refresh` renders and packs it once.
"""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Final, TypeVar

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.response import ServerSentEvent, ServerSentEventMessage
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import history, queries
from app.deliveries.health import Picture, Window, picture_of
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.guards import is_shared, needs, presence_of
from app.portal.presence import Presence
from app.services import Services

RECONNECT_MS: Final = 1_000

T = TypeVar("T")


class Look(msgspec.Struct, frozen=True):
    """What several pages show of their tenant."""

    health: Picture
    delivered_before: Counter[str]  # by destination, in the window before this one
    types: list[str]  # of its events


async def look(request: Http, services: Services, principal: Principal, window: Window) -> Look:
    """Look at the tenant, as `reading_once` does for all pages with this window."""

    async def read(session: AsyncSession) -> Look:
        return Look(
            await picture_of(session, principal.tenant_id, window),
            await history.delivered_before(session, principal.tenant_id, window),
            await queries.event_types(session, principal.tenant_id),
        )

    return await reading_once(request, services, principal, read, key=("look", window))


async def reading_once(
    request: Http,
    services: Services,
    principal: Principal,
    read: Callable[[AsyncSession], Awaitable[T]],
    *,
    key: Hashable | None = None,
) -> T:
    """Read what this address shows to every role; a refresh takes what another of its tenant read.

    Ask before opening a session: whoever waited here with a connection in hand could keep the one
    who reads from getting any.
    """

    async def made() -> T:
        async with services.database.reading(principal.tenant_id) as session:
            return await read(session)

    if not is_shared(request):
        return await made()
    asked = (request.scope["path"], request.scope["query_string"]) if key is None else key
    return await services.hub.once(principal.tenant_id, ("read", asked), made)


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
