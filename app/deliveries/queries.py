"""The read side: lists by keyset, one delivery with its attempts; rows as values, never ORM."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database.base import id_floor
from app.deliveries.models import Attempt, Delivery, State
from app.destinations.models import Destination
from app.errors import NotFound
from app.events.models import Event
from app.sending.outcome import Timing
from app.sending.transcript import MAX_BODY_IN_SHELL, Sent, as_curl, request_headers


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries to list; None does not restrict. Times are of the delivery's creation."""

    destination_id: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    outcome: str | None = None
    state: State | None = None
    before: datetime | None = None
    after: datetime | None = None


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


_COLUMNS = (
    Delivery.id,
    Delivery.destination_id,
    Destination.name.label("destination_name"),
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


def _deliveries(tenant_id: str) -> Select[Any]:
    return (
        select(*_COLUMNS)
        .join(
            Destination,
            and_(
                Destination.tenant_id == Delivery.tenant_id,
                Destination.id == Delivery.destination_id,
            ),
        )
        .where(Delivery.tenant_id == tenant_id)
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
    query = filtered(_deliveries(tenant_id), wanted)
    if below:
        query = query.where(Delivery.id < below)
    rows = await session.execute(query.order_by(Delivery.id.desc()).limit(limit))
    return [_row(row) for row in rows]


def filtered(query: Select[Any], wanted: DeliveryFilter) -> Select[Any]:
    """Restrict a query of deliveries to those that the filter wants."""
    for column, value in (
        (Delivery.destination_id, wanted.destination_id),
        (Delivery.event_id, wanted.event_id),
        (Delivery.event_type, wanted.event_type),
        (Delivery.last_outcome, wanted.outcome),
        (Delivery.state, wanted.state),
    ):
        if value is not None:
            query = query.where(column == value)
    # Ids rise with time, so a range of time is a range of the key.
    if wanted.before:
        query = query.where(Delivery.id < id_floor("dlv", wanted.before))
    if wanted.after:
        query = query.where(Delivery.id >= id_floor("dlv", wanted.after))
    return query


async def get_delivery(session: AsyncSession, tenant_id: str, delivery_id: str) -> DeliveryRow:
    query = _deliveries(tenant_id).where(Delivery.id == delivery_id)
    row = (await session.execute(query)).one_or_none()
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


async def list_events(
    session: AsyncSession,
    tenant_id: str,
    *,
    limit: int,
    event_type: str | None = None,
    idempotency_key: str | None = None,
    before: datetime | None = None,
    after: datetime | None = None,
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
    if event_type is not None:
        query = query.where(Event.type == event_type)
    if idempotency_key is not None:
        query = query.where(Event.idempotency_key == idempotency_key)
    if before:
        query = query.where(Event.id < id_floor("evt", before))
    if after:
        query = query.where(Event.id >= id_floor("evt", after))
    if below:
        query = query.where(Event.id < below)
    rows = await session.execute(query.order_by(Event.id.desc()).limit(limit))
    return [EventRow(**row._asdict()) for row in rows]


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
    """Return the types of the tenant's newest events, in order."""
    newest = (
        select(Event.type)
        .where(Event.tenant_id == tenant_id)
        .order_by(Event.id.desc())
        .limit(10_000)  # a look at every event would cost what there are events
        .subquery()
    )
    query = select(newest.c.type).distinct().order_by(newest.c.type)
    return list((await session.execute(query)).scalars())
