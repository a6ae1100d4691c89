"""Events: what the platform told, and to whom it went."""

from typing import Any, Final

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import queries
from app.deliveries.queries import DeliveryFilter, EventFilter, EventRow
from app.events import catalogue
from app.exporting import Format
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.deliveries import CHOICES_MAX, PAGE_SIZE
from app.portal.exports import sent
from app.portal.fields import known_id, query_id, query_moment, query_text
from app.portal.formats import pretty
from app.portal.guards import needs
from app.portal.live import reading_once
from app.portal.rendering import link, page
from app.services import Services

FILTERS: Final = ("type", "after", "before")


def _wanted(request: Http) -> EventFilter:
    return EventFilter(
        type=query_text(request, "type"),
        after=query_moment(request, "after"),
        before=query_moment(request, "before"),
    )


@get("/events", opt=needs(Permission.EVENT_READ, live=True))
async def show(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    wanted, below = _wanted(request), query_id(request, "below", "evt")
    filters = {name: query_text(request, name) for name in FILTERS}

    async def read(session: AsyncSession) -> tuple[list[EventRow], list[str]]:
        return (
            await queries.list_events(
                session, principal.tenant_id, wanted, limit=PAGE_SIZE + 1, below=below
            ),
            await queries.event_types(session, principal.tenant_id),
        )

    rows, types = await reading_once(request, services, principal, read)
    return page(
        request,
        "events.html",
        rows=rows[:PAGE_SIZE],
        older=rows[PAGE_SIZE:] and link("/events", **filters, below=rows[PAGE_SIZE - 1].id),
        newest=link("/events", **filters) if below else None,
        here=link("/events", **filters, below=below),
        exports=[(kind, link("/events/export", **filters, format=kind)) for kind in Format],
        filters=filters,
        is_filtered=any(filters.values()),
        types=types,
    )


@get("/events/export", opt=needs(Permission.EVENT_READ))
async def export(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Stream:
    rows = queries.every_event(services.database, principal.tenant_id, _wanted(request))
    return sent(request, "events", EventRow, rows)


@get("/events/{event_id:str}", opt=needs(Permission.EVENT_READ, live=True))
async def show_one(
    request: Http,
    event_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    known_id(event_id, "evt")
    wanted = DeliveryFilter(event_id=event_id)
    async with services.database.reading(principal.tenant_id) as session:
        event, body = await queries.get_event(session, principal.tenant_id, event_id)
        rows = await queries.list_deliveries(
            session, principal.tenant_id, wanted, limit=CHOICES_MAX
        )
        warnings = await catalogue.warnings_of(session, principal.tenant_id, event_id)
    return page(
        request,
        "event.html",
        event=event,
        payload=pretty(body) if principal.may(Permission.PAYLOAD_READ) else None,
        rows=rows,
        warnings=warnings,
        here=f"/events/{event_id}",
    )
