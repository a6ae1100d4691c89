"""How it went before: the attempts of the window just past, to compare the present one with."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from app.database import utcnow
from app.deliveries import history
from app.deliveries.health import Bar
from app.deliveries.history import Window

#: Fewer attempts say nothing about a pace.
_LEAST: Final = 5


async def delivered_before(
    session: AsyncSession, tenant_id: str, window: Window, destination_id: str | None = None
) -> int:
    """Count what was delivered in the window that ended where the present one begins."""
    found = await history.delivered_before(session, tenant_id, window)
    return found.total() if destination_id is None else found[destination_id]


def clears_in_s(waiting: int, bars: list[Bar], bar_s: int) -> float | None:
    """Return how long what waits takes at the pace of the last two bars; None: no pace known."""
    latest = bars[-2:]
    done = sum(bar.delivered + bar.failed for bar in latest)
    if not waiting or done < _LEAST:
        return None
    elapsed_s = bar_s + (utcnow() - latest[-1].start).total_seconds()
    return waiting / done * elapsed_s
