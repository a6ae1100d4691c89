"""How it went before: the attempts of the window just past, to compare the present one with."""

from datetime import timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import utcnow
from app.deliveries.health import Bar, Window
from app.deliveries.models import Rollup, State
from app.deliveries.rollup import slot_of

#: Fewer attempts say nothing about a pace.
_LEAST: Final = 5


async def delivered_before(
    session: AsyncSession, tenant_id: str, window: Window, destination_id: str | None = None
) -> int:
    """Count what was delivered in the window that ended where the present one begins."""
    slot_s = 60 if window is Window.HOUR else 900
    span = timedelta(seconds=window.seconds)
    until = slot_of((utcnow() - span).timestamp(), slot_s)
    since = slot_of((utcnow() - 2 * span).timestamp(), slot_s)
    query = select(func.sum(Rollup.count)).where(
        Rollup.tenant_id == tenant_id,
        Rollup.slot_s == slot_s,
        Rollup.slot > since,
        Rollup.slot <= until,
        Rollup.result == State.DELIVERED,
    )
    if destination_id is not None:
        query = query.where(Rollup.destination_id == destination_id)
    return int(await session.scalar(query) or 0)


def clears_in_s(waiting: int, bars: list[Bar], bar_s: int) -> float | None:
    """Return how long what waits takes at the pace of the last two bars; None: no pace known."""
    latest = bars[-2:]
    done = sum(bar.delivered + bar.failed for bar in latest)
    if not waiting or done < _LEAST:
        return None
    elapsed_s = bar_s + (utcnow() - latest[-1].start).total_seconds()
    return waiting / done * elapsed_s
