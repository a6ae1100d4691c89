"""Deliveries: the list with its filters, one delivery's story, and what an admin can do to it."""

from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream
from sqlalchemy.ext.asyncio import AsyncSession

from app.database.base import moment_of
from app.deliveries import control, queries
from app.deliveries.models import State
from app.deliveries.queries import AttemptRow, DeliveryFilter, DeliveryRow, Page
from app.destinations import service as destinations
from app.exporting import Format
from app.identity.permissions import Permission, Principal, Role
from app.portal.cookies import Http
from app.portal.exports import sent
from app.portal.fields import form_of, known_id, query_choice, query_id, query_moment, query_text
from app.portal.formats import pretty, words
from app.portal.guards import needs
from app.portal.live import reading_once
from app.portal.rendering import link, page, redirect
from app.portal.session import local_path
from app.sending.outcome import OutcomeKind
from app.services import Services

PAGE_SIZE: Final = 50
#: A choice of destinations longer than this is no choice; the address still takes any id.
CHOICES_MAX: Final = 500
#: A page repeats the body with each attempt: only a short one.
BODY_IN_PAGE: Final = 4_000
RETRYABLE: Final = (State.PENDING, State.RETRYING, State.FAILED, State.CANCELLED)
CANCELLABLE: Final = (State.PENDING, State.RETRYING)
#: What can be ticked in the list: something may still be done about it.
CHANGEABLE: Final = (*CANCELLABLE, State.FAILED, State.CANCELLED)


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery from what happens next to what was sent. `payload` None: not to be read."""

    row: DeliveryRow
    attempts: list[AttemptRow]
    next_number: int
    attempts_planned: int
    payload: str | None
    is_payload_kept: bool
    curls: dict[int, str]  # each attempt as a command, by its number

    @property
    def may_retry(self) -> bool:
        return self.row.state in RETRYABLE

    @property
    def may_cancel(self) -> bool:
        return self.row.state in CANCELLABLE


async def story_of(
    session: AsyncSession, services: Services, principal: Principal, delivery_id: str
) -> Story:
    """Read one delivery as this person may see it; NotFound for another tenant's."""
    row = await queries.get_delivery(session, principal.tenant_id, delivery_id)
    attempts = await queries.list_attempts(session, principal.tenant_id, delivery_id)
    if principal.role is not Role.TENANT_ADMIN:
        attempts = [msgspec.structs.replace(a, resolved_address=None) for a in attempts]
    number = row.attempt_count + 1
    body = await queries.body_of(session, principal.tenant_id, row.event_id)
    readable = principal.may(Permission.PAYLOAD_READ) and body is not None
    curls = {
        one.number: await queries.curl_of(
            session, row, one, principal.tenant_id,
            body=body if readable else None, max_body=BODY_IN_PAGE,
        )
        for one in attempts
    }  # fmt: skip
    return Story(
        row=row,
        attempts=attempts[::-1],
        next_number=number,
        attempts_planned=max(number, len(services.settings.retry_schedule) + 1),
        payload=pretty(body) if readable and body else None,
        is_payload_kept=body is not None,
        curls=curls,
    )


async def opened_story(
    services: Services, principal: Principal, delivery_id: str | None
) -> Story | None:
    """Return the story that an address opens, if it does."""
    if delivery_id is None:
        return None
    async with services.database.reading(principal.tenant_id) as session:
        return await story_of(session, services, principal, delivery_id)


class View(msgspec.Struct, frozen=True):
    """Which deliveries an address asks for; a link of the page keeps what it does not change."""

    wanted: DeliveryFilter
    query: dict[str, str | None]

    @property
    def is_filtered(self) -> bool:
        return any(self.query.values())

    def link(self, path: str = "/deliveries", **other: object) -> str:
        return link(path, **self.query, **other)


def view_of(request: Http) -> View:
    """Read the filters of an address; Invalid names the one that cannot be."""
    wanted = DeliveryFilter(
        state=query_choice(request, "state", State),
        outcome=query_choice(request, "outcome", OutcomeKind),
        event_type=query_text(request, "type"),
        destination_id=query_id(request, "destination", "dst"),
        after=query_moment(request, "after"),
        before=query_moment(request, "before"),
    )
    names = ("state", "outcome", "type", "destination", "after", "before")
    return View(wanted, {name: query_text(request, name) for name in names})


@get("/deliveries", opt=needs(Permission.DELIVERY_READ, live=True))
async def show(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Response[Any]:
    view = view_of(request)
    below = query_id(request, "below", "dlv")
    opened = query_id(request, "delivery", "dlv")

    async def read(session: AsyncSession) -> tuple[Page, list[str], list[tuple[str, str]]]:
        return (
            await queries.look_for(
                session, principal.tenant_id, view.wanted, limit=PAGE_SIZE + 1, below=below
            ),
            await queries.event_types(session, principal.tenant_id),
            await destinations.names(session, principal.tenant_id, limit=CHOICES_MAX),
        )

    found, types, places = await reading_once(request, services, principal, read)
    story = await opened_story(services, principal, opened)
    rows = found.rows[:PAGE_SIZE]
    last = found.rows[PAGE_SIZE - 1].id if found.rows[PAGE_SIZE:] else None
    return page(
        request,
        "deliveries.html",
        rows=rows,
        older=view.link(below=last) if last else None,
        further=view.link(below=found.ended) if found.ended else None,
        looked_back_to=moment_of(found.ended) if found.ended else None,
        newest=view.link() if below else None,
        here=view.link(below=below, delivery=opened),
        list_link=view.link(below=below),
        exports=[(kind, view.link("/deliveries/export", format=kind)) for kind in Format],
        bulk_link=view.link("/deliveries/bulk"),
        is_filtered=view.is_filtered,
        changeable=CHANGEABLE,
        filters=view.query,
        states=list(State),
        outcomes=[(kind, words(kind)) for kind in OutcomeKind],
        types=types,
        places=places,
        story=story,
    )


@get("/deliveries/export", opt=needs(Permission.DELIVERY_READ))
async def export(
    request: Http, services: NamedDependency[Services], principal: NamedDependency[Principal]
) -> Stream:
    rows = queries.every_delivery(services.database, principal.tenant_id, view_of(request).wanted)
    return sent(request, "deliveries", DeliveryRow, rows)


@post("/deliveries/{delivery_id:str}/retry", opt=needs(Permission.DELIVERY_CHANGE))
async def retry(
    request: Http,
    delivery_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    known_id(delivery_id, "dlv")
    async with services.change(principal.tenant_id) as session:
        await control.retry(session, principal.tenant_id, delivery_id, actor=principal.actor)
    return await _back(request, delivery_id, "Retrying now.")


@post("/deliveries/{delivery_id:str}/cancel", opt=needs(Permission.DELIVERY_CHANGE))
async def cancel(
    request: Http,
    delivery_id: FromPath[str],
    services: NamedDependency[Services],
    principal: NamedDependency[Principal],
) -> Response[Any]:
    known_id(delivery_id, "dlv")
    async with services.change(principal.tenant_id) as session:
        await control.cancel(session, principal.tenant_id, delivery_id, actor=principal.actor)
    return await _back(request, delivery_id, "Delivery cancelled.")


async def _back(request: Http, delivery_id: str, note: str) -> Response[Any]:
    """Return to the page the button stood on."""
    onward = (await form_of(request)).get("here") or link("/deliveries", delivery=delivery_id)
    return redirect(request, local_path(onward), note=note)
