"""Where it leads: how long what waits will take at the present pace."""

from typing import Final

from app.database import utcnow
from app.deliveries.health import Bar

#: Fewer attempts say nothing about a pace.
_LEAST: Final = 5


def clears_in_s(waiting: int, bars: list[Bar], bar_s: int) -> float | None:
    """Return how long what waits takes at the pace of the last two bars; None: no pace known."""
    latest = bars[-2:]
    done = sum(bar.delivered + bar.failed for bar in latest)
    if not waiting or done < _LEAST:
        return None
    elapsed_s = bar_s + (utcnow() - latest[-1].start).total_seconds()
    return waiting / done * elapsed_s
