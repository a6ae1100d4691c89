"""The read side: lists by keyset, one delivery with its attempts; rows as values, never ORM."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Row, Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import Database
from app.database.base import id_floor
from app.deliveries.models import Attempt, Delivery, State
from app.deliveries.walk import WALK, DeliveryFilter, filtered, look
from app.destinations.models import Destination
from app.errors import NotFound
from app.events.models import Event
from app.sending.outcome import Timing
from app.sending.transcript import MAX_BODY_IN_SHELL, Sent, as_curl, request_headers

__all__ = ["DeliveryFilter", "filtered"]

#: How many rows an export holds in memory.
CHUNK: Final = 500
#: A choice of more types than this is no choice; the address still takes any type.
TYPES_MAX: Final = 500


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as people and API users see it."""

    id: str
    destination_id: str
    destination_name: str
    event_id: str
    event_type: str
    state: State
    trigger: str
    attempt_count: int
    next_attempt_at: datetime | None
    last_outcome: str | None
    last_status: int | None
    last_duration_ms: int | None
    reason: str | None
    created_at: datetime
    settled_at: datetime | None


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt.

    Signatures and the values of own headers are hidden in `request_headers`; `resolved_address` is
    for tenant admins only, the faces blank it for others.
    """

    number: int
    trigger: str
    started_at: datetime
    duration_ms: int
    outcome: str
    response_status: int | None
    response_body: str | None
    resolved_address: str | None
    request_headers: dict[str, str]
    response_headers: dict[str, str]
    timing: dict[str, Any] | None


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event in a list; its payload is read one at a time."""

    id: str
    type: str
    created_at: datetime
    size_bytes: int
    delivery_count: int
    idempotency_key: str | None


class Page(msgspec.Struct, frozen=True):
    """Some deliveries, newest first; `ended` is where the look for more of them stopped."""

    rows: list[DeliveryRow]
    ended: str | None = None


_OWN = (
    Delivery.id,
    Delivery.destination_id,
    Delivery.event_id,
    Delivery.event_type,
    Delivery.state,
    Delivery.trigger,
    Delivery.attempt_count,
    Delivery.next_attempt_at,
    Delivery.last_outcome,
    Delivery.last_status,
    Delivery.last_duration_ms,
    Delivery.reason,
    Delivery.created_at,
    Delivery.settled_at,
)


def _named(tenant_id: str, own: Select[Any]) -> Select[Any]:
    """Add the destination's name to deliveries that were chosen before, so that few are joined."""
    found = own.subquery()
    return (
        select(*found.c, Destination.name.label("destination_name"))
        .join(
            Destination,
            and_(Destination.tenant_id == tenant_id, Destination.id == found.c.destination_id),
        )
        .order_by(found.c.id.desc())
    )


def _row(row: Row[Any]) -> DeliveryRow:
    values = row._asdict()
    values["state"] = State(values["state"])
    return DeliveryRow(**values)


async def list_deliveries(
    session: AsyncSession,
    tenant_id: str,
    wanted: DeliveryFilter,
    *,
    limit: int,
    below: str | None = None,
) -> list[DeliveryRow]:
    """Return up to `limit` deliveries, newest first, with an id under `below`."""
    return (await look_for(session, tenant_id, wanted, limit=limit, below=below, walk=None)).rows


async def look_for(
    session: AsyncSession,
    tenant_id: str,
    wanted: DeliveryFilter,
    *,
    limit: int,
    below: str | None = None,
    walk: int | None = WALK,
) -> Page:
    """As `list_deliveries`, but look at no more than `walk` rows for what two filters want."""
    query, ended = await look(session, tenant_id, wanted, _OWN, limit=limit, below=below, walk=walk)
    rows = [_row(row) for row in await session.execute(_named(tenant_id, query))]
    return Page(rows, ended if len(rows) < limit else None)


async def every_delivery(
    database: Database, tenant_id: str, wanted: DeliveryFilter, *, chunk: int = CHUNK
) -> AsyncIterator[DeliveryRow]:
    """Yield all that the filter wants, newest first, a chunk in memory and in a session at a time.

    No transaction is held between chunks: an export may take as long as its reader likes.
    """
    below: str | None = None
    while True:
        async with database.reading(tenant_id) as session:
            page = await look_for(session, tenant_id, wanted, limit=chunk, below=below)
        for row in page.rows:
            yield row
        below = page.ended or (page.rows[-1].id if len(page.rows) == chunk else None)
        if below is None:
            return


async def get_delivery(session: AsyncSession, tenant_id: str, delivery_id: str) -> DeliveryRow:
    query = select(*_OWN).where(Delivery.tenant_id == tenant_id, Delivery.id == delivery_id)
    row = (await session.execute(_named(tenant_id, query))).one_or_none()
    if row is None:
        raise NotFound
    return _row(row)


async def list_attempts(
    session: AsyncSession, tenant_id: str, delivery_id: str
) -> list[AttemptRow]:
    """Return the attempts of a delivery, oldest first."""
    query = (
        select(Attempt, Delivery.event_id, Delivery.event_type)
        .join(
            Delivery,
            and_(Delivery.tenant_id == Attempt.tenant_id, Delivery.id == Attempt.delivery_id),
        )
        .where(Attempt.tenant_id == tenant_id, Attempt.delivery_id == delivery_id)
        .order_by(Attempt.number)
    )
    return [_attempt(*row) for row in await session.execute(query)]


def _attempt(attempt: Attempt, event_id: str, event_type: str) -> AttemptRow:
    detail = attempt.detail or {}
    sent, timing = detail.get("sent"), detail.get("timing")
    return AttemptRow(
        number=attempt.number,
        trigger=attempt.trigger,
        started_at=attempt.started_at,
        duration_ms=attempt.duration_ms,
        outcome=attempt.outcome,
        response_status=attempt.response_status,
        response_body=attempt.response_body,
        resolved_address=attempt.resolved_address,
        request_headers=request_headers(
            event_id=event_id,
            event_type=event_type,
            number=attempt.number,
            started_at=attempt.started_at,
            sent=msgspec.convert(sent, Sent) if sent else None,
        ),
        response_headers=detail.get("headers") or {},
        timing=msgspec.structs.asdict(msgspec.convert(timing, Timing)) if timing else None,
    )


async def curl_of(
    session: AsyncSession,
    row: DeliveryRow,
    attempt: AttemptRow,
    tenant_id: str,
    *,
    body: bytes | None,
    max_body: int = MAX_BODY_IN_SHELL,
) -> str:
    """Return an attempt as a command that sends the same to the destination as it is now."""
    destination = await session.get_one(Destination, (tenant_id, row.destination_id))
    return as_curl(destination.endpoint_url, attempt.request_headers, body, max_body=max_body)


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events to list; None does not restrict. Times are of their publication."""

    type: str | None = None
    idempotency_key: str | None = None
    before: datetime | None = None
    after: datetime | None = None


async def list_events(
    session: AsyncSession,
    tenant_id: str,
    wanted: EventFilter,
    *,
    limit: int,
    below: str | None = None,
) -> list[EventRow]:
    """Return up to `limit` events, newest first, without their payloads."""
    query = select(
        Event.id,
        Event.type,
        Event.created_at,
        func.length(Event.body).label("size_bytes"),
        Event.delivery_count,
        Event.idempotency_key,
    ).where(Event.tenant_id == tenant_id)
    if wanted.type is not None:
        query = query.where(Event.type == wanted.type)
        query = query.with_hint(Event, "INDEXED BY ix_event_type", "sqlite")
    if wanted.idempotency_key is not None:
        query = query.where(Event.idempotency_key == wanted.idempotency_key)
    if wanted.before:
        query = query.where(Event.id < id_floor("evt", wanted.before))
    if wanted.after:
        query = query.where(Event.id >= id_floor("evt", wanted.after))
    if below:
        query = query.where(Event.id < below)
    rows = await session.execute(query.order_by(Event.id.desc()).limit(limit))
    return [EventRow(**row._asdict()) for row in rows]


async def every_event(
    database: Database, tenant_id: str, wanted: EventFilter, *, chunk: int = CHUNK
) -> AsyncIterator[EventRow]:
    """Yield all that the filter wants, newest first, as `every_delivery` does."""
    below: str | None = None
    while True:
        async with database.reading(tenant_id) as session:
            rows = await list_events(session, tenant_id, wanted, limit=chunk, below=below)
        for row in rows:
            yield row
        if len(rows) < chunk:
            return
        below = rows[-1].id


async def get_event(session: AsyncSession, tenant_id: str, event_id: str) -> tuple[EventRow, bytes]:
    """Return an event and the bytes that are signed and sent."""
    event = await session.get(Event, (tenant_id, event_id))
    if event is None:
        raise NotFound
    row = EventRow(
        id=event.id,
        type=event.type,
        created_at=event.created_at,
        size_bytes=len(event.body),
        delivery_count=event.delivery_count,
        idempotency_key=event.idempotency_key,
    )
    return row, event.body


async def body_of(session: AsyncSession, tenant_id: str, event_id: str) -> bytes | None:
    """Return the bytes of an event, or None when retention took it."""
    event = await session.get(Event, (tenant_id, event_id))
    return event.body if event else None


async def event_types(session: AsyncSession, tenant_id: str) -> list[str]:
    """Return the types of the tenant's events, in order; a step of the index for each."""
    own = Event.tenant_id == tenant_id
    first = select(func.min(Event.type).label("type")).where(own)
    steps = first.cte("steps", recursive=True)
    follows = select(func.min(Event.type)).where(own, Event.type > steps.c.type).scalar_subquery()
    steps = steps.union_all(select(follows).where(steps.c.type.is_not(None)))
    query = select(steps.c.type).where(steps.c.type.is_not(None)).limit(TYPES_MAX)
    return list((await session.execute(query)).scalars())
