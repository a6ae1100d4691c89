"""One destination: how it goes, its deliveries, its credentials."""

from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import utcnow
from app.deliveries import queries, replay
from app.deliveries.health import DestinationHealth, Window, health_of_tenant
from app.deliveries.models import ReplayJob, State
from app.deliveries.queries import DeliveryFilter
from app.destinations import service
from app.destinations.models import Destination, Lane
from app.errors import NotFound
from app.identity.permissions import Permission, Principal
from app.portal import charts, replays
from app.portal.cookies import Http
from app.portal.deliveries import PAGE_SIZE, story_of
from app.portal.fields import known_id, query_choice, query_id
from app.portal.guards import needs
from app.portal.rendering import link, page
from app.services import Services

OVERLAPS: Final = ((86_400, "24 hours"), (3_600, "1 hour"), (604_800, "7 days"), (0, "none"))


class Credential(msgspec.Struct, frozen=True):
    """A signing secret as it may be shown: never its text."""

    id: str
    fingerprint: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None


class Fresh(msgspec.Struct, frozen=True):
    """What the one answer to a rotation shows, or what was wrong with it."""

    secret: str = ""
    error: str = ""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """All that the page shows of a destination itself."""

    destination: Destination
    lane: Lane | None
    row: DestinationHealth
    credentials: list[Credential]
    replays: list[ReplayJob]
    header_names: list[str]


@get("/integrations/{destination_id:str}", opt=needs(Permission.DESTINATION_READ))
async def show(
    request: Http,
    destination_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    return await destination_page(request, services, principal, destination_id)


async def destination_page(
    request: Http,
    services: Services,
    principal: Principal,
    destination_id: str,
    *,
    fresh: Fresh | None = None,
    status: int = 200,
) -> Response[Any]:
    known_id(destination_id, "dst")
    state = query_choice(request, "state", State)
    below = query_id(request, "below", "dlv")
    opened = query_id(request, "delivery", "dlv")
    wanted = DeliveryFilter(destination_id=destination_id, state=state)
    path = f"/integrations/{destination_id}"
    async with services.database.reading(principal.tenant_id) as session:
        place = await _place(session, services, principal, destination_id)
        rows = await queries.list_deliveries(
            session, principal.tenant_id, wanted, limit=PAGE_SIZE + 1, below=below
        )
        story = await story_of(session, services, principal, opened) if opened else None
    if story and story.row.destination_id != destination_id:
        raise NotFound
    older = link(path, state=state, below=rows[PAGE_SIZE - 1].id) if rows[PAGE_SIZE:] else None
    return page(
        request,
        "destination.html",
        status=status,
        place=place,
        path_of=path,
        spark=charts.spark,
        rows=rows[:PAGE_SIZE],
        state=state,
        older=older,
        newest=link(path, state=state) if below else None,
        here=link(path, state=state, below=below, delivery=opened),
        list_link=link(path, state=state, below=below),
        tabs=_tabs(path, place.row),
        story=story,
        fresh=fresh,
        overlaps=OVERLAPS,
        spans=replays.SPANS,
        choices=replays.CHOICES,
        share_of=replay.progress,
    )


def _tabs(path: str, row: DestinationHealth) -> list[tuple[str, State | None, int | None, str]]:
    """Return label, state, count and address of each view of the deliveries."""
    tabs: list[tuple[str, State | None, int | None, str]] = [("All", None, None, path)]
    for state in (State.RETRYING, State.FAILED):
        count = row.health.states.get(state, 0)
        tabs.append((state.value.capitalize(), state, count, link(path, state=state)))
    return tabs


async def _place(
    session: AsyncSession, services: Services, principal: Principal, destination_id: str
) -> Place:
    destination = await service.get(session, principal.tenant_id, destination_id)
    lane = await session.get(Lane, (principal.tenant_id, destination_id))
    _, rows = await health_of_tenant(session, principal.tenant_id, Window.DAY)
    row = next((row for row in rows if row.id == destination_id), None)
    if row is None:  # deleted between two statements
        raise NotFound
    now = utcnow()
    credentials = [
        Credential(s.id, s.fingerprint, s.created_at, s.created_by, s.expires_at)
        for s in await service.secrets_of(session, principal.tenant_id, destination_id)
        if s.expires_at is None or s.expires_at > now
    ]
    return Place(
        destination=destination,
        lane=lane,
        row=row,
        credentials=credentials,
        replays=await replay.list_jobs(
            session, principal.tenant_id, destination_id=destination_id, limit=replays.SHOWN
        ),
        header_names=service.header_names(destination, services.keyring),
    )
