"""The line of an ordered destination: what holds it, since when, and how much waits behind."""

from datetime import datetime

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import queries
from app.deliveries.models import Attempt, Delivery, State
from app.deliveries.queries import DeliveryRow
from app.deliveries.strict import IN_LINE
from app.destinations.models import Destination


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """How an ordered destination's line stands.

    `holder` is the delivery at its head that failed and holds up the rest, since its first
    attempt: retry it, or cancel it to skip it. None: nothing holds the line.
    """

    ordered: bool
    waiting: int
    holder: DeliveryRow | None = None
    held_since: datetime | None = None


async def line_of(session: AsyncSession, tenant_id: str, destination: Destination) -> Line:
    """Read the line; one that is not ordered has none."""
    if not destination.ordered:
        return Line(ordered=False, waiting=0)
    in_line = (
        Delivery.tenant_id == tenant_id,
        Delivery.destination_id == destination.id,
        Delivery.ordered,
        Delivery.state.in_(IN_LINE),
    )
    head = select(Delivery.id, Delivery.state, Delivery.attempt_count).where(*in_line)
    found = (await session.execute(head.order_by(Delivery.id).limit(1))).one_or_none()
    if found is None:
        return Line(ordered=True, waiting=0)
    behind = select(func.count()).where(*in_line, Delivery.id > found.id)
    waiting = (await session.execute(behind)).scalar_one()
    if not found.attempt_count or found.state == State.PENDING:
        return Line(ordered=True, waiting=waiting)
    since = select(func.min(Attempt.started_at)).where(
        Attempt.tenant_id == tenant_id, Attempt.delivery_id == found.id
    )
    return Line(
        ordered=True,
        waiting=waiting,
        holder=await queries.get_delivery(session, tenant_id, found.id),
        held_since=(await session.execute(since)).scalar_one(),
    )
