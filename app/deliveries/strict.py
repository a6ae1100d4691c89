"""Claims for destinations with rules of their own: a rate limit, or strict order.

Their lanes are locked while we choose, so that all workers together keep the rule. What has no
such rule is claimed by the set-based statement of the store and never waits for these.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import InstrumentedAttribute

from app.database import utcnow
from app.deliveries.models import WAITING, Delivery, State
from app.deliveries.pacing import Booking, book, booked_until
from app.deliveries.store import (
    BREAKER_THRESHOLD,
    LANES_PER_CLAIM,
    ClaimRequest,
    Lease,
    lease_of,
)
from app.destinations.models import Destination, Lane

#: What stands in the line of an ordered destination; a dead letter holds it until it is retried
#: or cancelled.
IN_LINE: Final = (*WAITING, State.DELIVERING, State.FAILED)
_COLUMNS: Final = (
    Delivery.tenant_id,
    Delivery.id,
    Delivery.destination_id,
    Delivery.event_id,
    Delivery.event_type,
    Delivery.attempt_count,
    Delivery.retries_used,
    Delivery.trigger,
)


async def claim_strict(c: AsyncConnection, request: ClaimRequest) -> list[Lease]:
    """Lease what the rules allow now; `wait_s` of a lease says when within the booked time."""
    now = await _now(c)
    lanes = (
        _due_lanes(now)
        .add_columns(
            Destination.id,
            Destination.ordered,
            Destination.rate_limit_per_second,
            Lane.consecutive_failures,
            Lane.paced_until,
        )
        .order_by(Destination.id)
        .limit(LANES_PER_CLAIM)
        .with_for_update(of=Lane, skip_locked=True)
    )
    leases: list[Lease] = []
    for lane in (await c.execute(lanes)).all():
        cap = 1 if lane.consecutive_failures >= BREAKER_THRESHOLD else request.per_lane
        wanted = cap - request.busy.get(lane.id, 0)
        booking = Booking(max(0, wanted), 0.0, 0.0)
        if lane.rate_limit_per_second:
            rate = lane.rate_limit_per_second
            booking = book(lane.paced_until, now, rate=rate, wanted=wanted)
        if not booking.count:
            continue
        choose = _head if lane.ordered else _first
        taken = await choose(c, lane.tenant_id, lane.id, now, booking.count)
        leases += await _lease(c, taken, request, booking, now)
        if taken and lane.rate_limit_per_second:
            await c.execute(
                update(Lane)
                .where(Lane.tenant_id == lane.tenant_id, Lane.destination_id == lane.id)
                .values(paced_until=booked_until(now, booking, len(taken)))
            )
    return leases


def _due_lanes(now: Any) -> Select[Any]:
    def passed(column: InstrumentedAttribute[datetime | None]) -> ColumnElement[bool]:
        return or_(column.is_(None), column <= now)

    something_due = exists().where(
        Delivery.tenant_id == Destination.tenant_id,
        Delivery.destination_id == Destination.id,
        Delivery.state.in_(WAITING),
        Delivery.next_attempt_at <= now,
    )
    return (
        select(Destination.tenant_id)
        .join(
            Lane,
            and_(Lane.tenant_id == Destination.tenant_id, Lane.destination_id == Destination.id),
        )
        .where(
            or_(Destination.ordered, Destination.rate_limit_per_second.is_not(None)),
            Destination.disabled_at.is_(None),
            Destination.deleted_at.is_(None),
            passed(Lane.open_until),
            passed(Lane.slow_until),
            something_due,
        )
    )


async def _head(
    c: AsyncConnection, tenant_id: str, destination_id: str, now: datetime, _count: int
) -> list[Row[Any]]:
    """Return the head of the line if it may be tried now, and never what stands behind it."""
    head = (
        select(*_COLUMNS, Delivery.state, Delivery.next_attempt_at)
        .where(
            Delivery.tenant_id == tenant_id,
            Delivery.destination_id == destination_id,
            Delivery.ordered,
            Delivery.state.in_(IN_LINE),
        )
        .order_by(Delivery.id)
        .limit(1)
    )
    row = (await c.execute(head)).one_or_none()
    if row is None or row.state not in WAITING or row.next_attempt_at > now:
        return []
    return [row]


async def _first(
    c: AsyncConnection, tenant_id: str, destination_id: str, now: datetime, count: int
) -> list[Row[Any]]:
    due = (
        select(*_COLUMNS)
        .where(
            Delivery.tenant_id == tenant_id,
            Delivery.destination_id == destination_id,
            Delivery.state.in_(WAITING),
            Delivery.next_attempt_at <= now,
        )
        .order_by(Delivery.next_attempt_at)
        .limit(count)
        .with_for_update(skip_locked=True)
    )
    return list((await c.execute(due)).all())


async def _lease(
    c: AsyncConnection,
    rows: list[Row[Any]],
    request: ClaimRequest,
    booking: Booking,
    now: datetime,
) -> list[Lease]:
    if not rows:
        return []
    await c.execute(
        update(Delivery)
        .where(Delivery.tenant_id == rows[0][0], Delivery.id.in_([row[1] for row in rows]))
        .values(
            state=State.DELIVERING,
            next_attempt_at=None,
            lease_until=now + timedelta(seconds=request.lease_s + booking.wait_s(len(rows))),
            lease_token=request.token,
        )
    )
    return [
        lease_of(row[: len(_COLUMNS)], request.token, wait_s=booking.wait_s(number), strict=True)
        for number, row in enumerate(rows)
    ]


async def _now(c: AsyncConnection) -> datetime:
    if c.dialect.name == "sqlite":
        return utcnow()
    return (await c.execute(select(func.now()))).scalar_one()
