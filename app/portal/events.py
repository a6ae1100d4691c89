"""Events: what the platform told, and to whom it went."""

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.deliveries import queries
from app.deliveries.queries import DeliveryFilter
from app.events import catalogue
from app.identity.permissions import Permission, Principal
from app.portal.cookies import Http
from app.portal.deliveries import CHOICES_MAX, PAGE_SIZE
from app.portal.fields import known_id, query_id, query_text
from app.portal.formats import pretty
from app.portal.guards import needs
from app.portal.rendering import link, page
from app.services import Services


@get("/events", opt=needs(Permission.EVENT_READ))
async def show(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    wanted, below = query_text(request, "type"), query_id(request, "below", "evt")
    async with services.database.reading(principal.tenant_id) as session:
        rows = await queries.list_events(
            session, principal.tenant_id, limit=PAGE_SIZE + 1, event_type=wanted, below=below
        )
        types = await queries.event_types(session, principal.tenant_id)
    older = rows[PAGE_SIZE:] and link("/events", type=wanted, below=rows[PAGE_SIZE - 1].id)
    return page(
        request,
        "events.html",
        rows=rows[:PAGE_SIZE],
        older=older,
        newest=link("/events", type=wanted) if below else None,
        here=link("/events", type=wanted, below=below),
        wanted=wanted,
        types=types,
    )


@get("/events/{event_id:str}", opt=needs(Permission.EVENT_READ))
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
