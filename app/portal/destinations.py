"""One destination: how it goes, its deliveries, its credentials."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import utcnow
from app.deliveries import queries, replay
from app.deliveries.health import DestinationHealth, Window
from app.deliveries.line import Line, line_of
from app.deliveries.models import ReplayJob, State
from app.deliveries.queries import DeliveryFilter, DeliveryRow
from app.destinations import service
from app.destinations.models import Destination, Lane
from app.errors import NotFound
from app.identity.permissions import Permission, Principal
from app.portal import charts, replays
from app.portal.cookies import Http
from app.portal.deliveries import PAGE_SIZE, opened_story
from app.portal.fields import known_id, query_choice, query_id, query_moment, query_text
from app.portal.formats import words
from app.portal.guards import needs
from app.portal.live import Look, look, reading_once
from app.portal.rendering import link, page
from app.sending.outcome import OutcomeKind
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
    lane: Lane
    row: DestinationHealth
    delivered_before: int
    credentials: list[Credential]
    replays: list[ReplayJob]
    header_names: list[str]
    line: Line


class View(msgspec.Struct, frozen=True):
    """How the page is looked at; every link on it keeps what it does not change."""

    path: str
    window: Window
    wanted: DeliveryFilter

    @property
    def filters(self) -> dict[str, str | None]:
        return {
            "state": self.wanted.state,
            "outcome": self.wanted.outcome,
            "type": self.wanted.event_type,
            "after": _minute(self.wanted.after),
            "before": _minute(self.wanted.before),
        }

    def link(self, **other: object) -> str:
        query = {"window": self.window, **self.filters} | other
        if query["window"] == Window.DAY:
            del query["window"]
        return link(self.path, **query)

    def slices(self) -> Callable[[datetime], str]:
        """Return what links to the deliveries that were made in the slice of time of one bar."""
        base = self.link(after=None, before=None)  # put together once for a hundred bars
        base += "&" if "?" in base else "?"
        length = timedelta(seconds=self.window.bar_s)

        def slice_link(start: datetime) -> str:
            after, before = (quote(str(_minute(one))) for one in (start, start + length))
            return f"{base}after={after}&before={before}"

        return slice_link


def _minute(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M")


@get("/integrations/{destination_id:str}", opt=needs(Permission.DESTINATION_READ, live=True))
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
    window = query_choice(request, "window", Window) or Window.DAY
    below = query_id(request, "below", "dlv")
    opened = query_id(request, "delivery", "dlv")
    wanted = _wanted(request, destination_id)
    view = View(f"/integrations/{destination_id}", window, wanted)
    seen = await look(request, services, principal, window)

    async def read(session: AsyncSession) -> tuple[Place, list[DeliveryRow]]:
        return (
            await _place(session, services, principal, destination_id, seen),
            await queries.list_deliveries(
                session, principal.tenant_id, wanted, limit=PAGE_SIZE + 1, below=below
            ),
        )

    place, rows = await reading_once(request, services, principal, read)
    story = await opened_story(services, principal, opened)
    if story and story.row.destination_id != destination_id:
        raise NotFound
    older = view.link(below=rows[PAGE_SIZE - 1].id) if rows[PAGE_SIZE:] else None
    return page(
        request,
        "destination.html",
        status=status,
        place=place,
        path_of=view.path,
        window=window,
        windows=[(one, view.link(window=one, delivery=opened)) for one in Window],
        chart=charts.outcome_chart(place.row.health.bars),
        rows=rows[:PAGE_SIZE],
        state=wanted.state,
        filters=view.filters,
        outcomes=[(kind, words(kind)) for kind in OutcomeKind],
        types=seen.types,
        slice_link=view.slices(),
        older=older,
        newest=view.link() if below else None,
        here=view.link(below=below, delivery=opened),
        list_link=view.link(below=below),
        tabs=_tabs(view, place.row),
        story=story,
        fresh=fresh,
        overlaps=OVERLAPS,
        spans=replays.SPANS,
        choices=replays.CHOICES,
        share_of=replay.progress,
    )


def _wanted(request: Http, destination_id: str) -> DeliveryFilter:
    return DeliveryFilter(
        destination_id=destination_id,
        state=query_choice(request, "state", State),
        outcome=query_choice(request, "outcome", OutcomeKind),
        event_type=query_text(request, "type"),
        after=query_moment(request, "after"),
        before=query_moment(request, "before"),
    )


def _tabs(view: View, row: DestinationHealth) -> list[tuple[str, State | None, int | None, str]]:
    """Return label, state, count and address of each view of the deliveries."""
    tabs: list[tuple[str, State | None, int | None, str]] = [
        ("All", None, None, view.link(state=None))
    ]
    for state in (State.RETRYING, State.FAILED):
        count = row.health.states.get(state, 0)
        tabs.append((state.value.capitalize(), state, count, view.link(state=state)))
    return tabs


async def _place(
    session: AsyncSession,
    services: Services,
    principal: Principal,
    destination_id: str,
    seen: Look,
) -> Place:
    row = next((row for row in seen.health.rows if row.id == destination_id), None)
    if row is None:  # another tenant's, deleted, or never there
        raise NotFound
    destination, lane = next(one for one in seen.health.lanes if one[0].id == destination_id)
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
        delivered_before=seen.delivered_before[destination_id],
        credentials=credentials,
        replays=await replay.list_jobs(
            session, principal.tenant_id, destination_id=destination_id, limit=replays.SHOWN
        ),
        header_names=service.header_names(destination, services.keyring),
        line=await line_of(session, principal.tenant_id, destination),
    )
