"""How attempts went over a window of time, per destination: read from the rolled-up counts.

Counts of a slot that has ended stay as they are, so a process reads them once; a look at health
then reads the newest slots only.
"""

from collections import Counter, defaultdict
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import utcnow
from app.deliveries.models import Rollup, State
from app.deliveries.rollup import slot_of
from app.destinations.models import Destination

#: Ended windows are kept for so many tenants.
KEPT_MAX: Final = 1_000


class Window(StrEnum):
    """A span of time to look back on."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"

    @property
    def seconds(self) -> int:
        return {Window.HOUR: 3_600, Window.DAY: 86_400, Window.WEEK: 604_800}[self]

    @property
    def bar_s(self) -> int:
        """How much time one bar of the chart stands for."""
        return {Window.HOUR: 60, Window.DAY: 900, Window.WEEK: 7_200}[self]

    @property
    def slot_s(self) -> int:
        """How long the slots are that it is read from."""
        return 60 if self is Window.HOUR else 900


class Past(msgspec.Struct):
    """Attempts of one destination, or of several together: by result, by duration, by time."""

    results: Counter[str] = msgspec.field(default_factory=Counter)
    buckets: Counter[int] = msgspec.field(default_factory=Counter)
    bars: Counter[tuple[int, str]] = msgspec.field(default_factory=Counter)  # start, result

    def add(self, other: "Past") -> None:
        self.results.update(other.results)
        self.buckets.update(other.buckets)
        self.bars.update(other.bars)


Pasts = defaultdict[str, Past]
#: Per database: the ended slots from the one bound to the other, by tenant and window.
_ended: WeakKeyDictionary[Any, dict[tuple[str, Window], tuple[int, int, Pasts]]] = (
    WeakKeyDictionary()
)
#: The same for the window before: what was delivered until the bound.
_before: WeakKeyDictionary[Any, dict[tuple[str, Window], tuple[int, Counter[str]]]] = (
    WeakKeyDictionary()
)


async def pasts(session: AsyncSession, tenant_id: str, window: Window) -> Pasts:
    """Return the past of each destination that had an attempt in the window."""
    now = utcnow()
    since = slot_of((now - timedelta(seconds=window.seconds)).timestamp(), window.slot_s)
    # The slot before the current one may still get what another machine's clock puts there.
    until = slot_of(now.timestamp(), window.slot_s) - window.slot_s
    found: Pasts = defaultdict(Past)
    for part in (
        await _of_ended_slots(session, tenant_id, window, since, until),
        await _read(session, tenant_id, window, Rollup.slot >= until),
    ):
        for destination_id, past in part.items():
            found[destination_id].add(past)
    return found


async def _of_ended_slots(
    session: AsyncSession, tenant_id: str, window: Window, since: int, until: int
) -> Pasts:
    kept = _ended.setdefault(session.get_bind(), {})
    held = kept.get((tenant_id, window))
    if held is None or held[:2] != (since, until):
        span = Rollup.slot.between(since + 1, until - 1)
        held = since, until, await _read(session, tenant_id, window, span)
        if len(kept) >= KEPT_MAX:
            kept.clear()
        kept[tenant_id, window] = held
    return held[2]


async def _read(
    session: AsyncSession, tenant_id: str, window: Window, span: ColumnElement[bool]
) -> Pasts:
    # By destination, because the key's order is: so only the window's own rows are touched.
    own = select(Destination.id).where(Destination.tenant_id == tenant_id)
    asked = (
        Rollup.tenant_id == tenant_id,
        Rollup.destination_id.in_(own),
        Rollup.slot_s == window.slot_s,
        span,
    )
    count = func.sum(Rollup.count)
    bar = (Rollup.slot - Rollup.slot % window.bar_s).label("bar")
    by_time = (
        select(Rollup.destination_id, bar, Rollup.result, count)
        .where(*asked)
        .group_by(Rollup.destination_id, bar, Rollup.result)
    )
    by_duration = (
        select(Rollup.destination_id, Rollup.bucket, count)
        .where(*asked)
        .group_by(Rollup.destination_id, Rollup.bucket)
    )
    found: Pasts = defaultdict(Past)
    for destination_id, start, result, n in await session.execute(by_time):
        past = found[destination_id]
        past.results[result] += int(n)
        past.bars[start, result] += int(n)
    for destination_id, bucket, n in await session.execute(by_duration):
        found[destination_id].buckets[bucket] += int(n)
    return found


async def delivered_before(session: AsyncSession, tenant_id: str, window: Window) -> Counter[str]:
    """Count by destination what was delivered in the window that ended where this one begins."""
    span = timedelta(seconds=window.seconds)
    until = slot_of((utcnow() - span).timestamp(), window.slot_s)
    since = slot_of((utcnow() - 2 * span).timestamp(), window.slot_s)
    kept = _before.setdefault(session.get_bind(), {})
    held = kept.get((tenant_id, window))
    if held is None or held[0] != until:
        own = select(Destination.id).where(Destination.tenant_id == tenant_id)
        query = (
            select(Rollup.destination_id, func.sum(Rollup.count))
            .where(
                Rollup.tenant_id == tenant_id,
                Rollup.destination_id.in_(own),
                Rollup.slot_s == window.slot_s,
                Rollup.slot.between(since + 1, until),
                Rollup.result == State.DELIVERED,
            )
            .group_by(Rollup.destination_id)
        )
        found = Counter({row[0]: int(row[1]) for row in await session.execute(query)})
        if len(kept) >= KEPT_MAX:
            kept.clear()
        held = kept[tenant_id, window] = until, found
    return held[1]


def sum_of(parts: Pasts) -> Past:
    total = Past()
    for part in parts.values():
        total.add(part)
    return total
