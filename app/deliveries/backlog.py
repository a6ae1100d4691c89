"""What is owed just now, for the whole installation: how much in each state, and how late."""

from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import func, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import utcnow
from app.deliveries.models import OPEN, Delivery, State
from app.destinations.models import Destination

#: A count stops here: it is a warning long before, and must not become a load itself.
MOST: Final = 100_000


class Backlog(msgspec.Struct, frozen=True):
    """Open deliveries by state (each at most MOST), and the age of the one that is due longest."""

    deliveries: dict[State, int]
    oldest_due_s: float


async def read(session: AsyncSession) -> Backlog:
    counts = {}
    for state in OPEN:
        # Written out, not bound: only so does the planner see that the partial indexes fit.
        there = Delivery.state == literal_column(f"'{state.value}'")
        some = select(Delivery.id).where(there).limit(MOST).subquery()
        counts[state] = (await session.execute(select(func.count()).select_from(some))).scalar_one()
    return Backlog(counts, await _oldest_due_s(session))


async def _oldest_due_s(session: AsyncSession) -> float:
    """Look at the first of each live destination: as many probes as there are of those."""
    first = (
        select(Delivery.next_attempt_at)
        .where(
            Delivery.tenant_id == Destination.tenant_id,
            Delivery.destination_id == Destination.id,
            text("delivery.state IN ('pending', 'retrying')"),
        )
        .order_by(Delivery.next_attempt_at)
        .limit(1)
        .correlate(Destination)
        .scalar_subquery()
    )
    live = Destination.disabled_at.is_(None) & Destination.deleted_at.is_(None)
    each = select(first.label("at")).where(live).subquery()
    oldest: datetime | None = (await session.execute(select(func.min(each.c.at)))).scalar_one()
    return max(0.0, (utcnow() - oldest).total_seconds()) if oldest else 0.0
