"""Delivery health: what waits, what failed, how it went over time; read from rows and rollups."""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import utcnow
from app.database.base import from_millis
from app.deliveries.models import OPEN, Delivery, Rollup, State
from app.deliveries.rollup import percentile, slot_of
from app.destinations.models import Destination, Lane


class Status(StrEnum):
    """The state of a destination."""

    ACTIVE = "active"  # what is due is sent
    DEGRADED = "degraded"  # it failed so often that only probes are sent
    DISABLED = "disabled"  # switched off


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


class Bar(msgspec.Struct, frozen=True):
    """Attempts that ended in one slice of time, by where they left their delivery."""

    start: datetime
    delivered: int
    retrying: int
    failed: int


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with one destination, or with all of a tenant's together.

    `states` counts deliveries now: everything open, dead letters, and what was delivered in the
    window. `success_rate` is of the window's attempts (0 to 1); times are in milliseconds.
    """

    states: dict[str, int]
    success_rate: float | None
    p50_ms: float | None
    p95_ms: float | None
    oldest_due_at: datetime | None
    next_retry_at: datetime | None
    consecutive_failures: int = 0
    bars: list[Bar] = []


class DestinationHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A destination beside its health: a row of the list."""

    id: str
    name: str
    endpoint_url: str
    status: Status
    disabled_reason: str | None
    last_outcome_word: str
    health: Health


_COUNTED: Final = (*OPEN, State.FAILED)


class _Now(msgspec.Struct):
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    oldest_due_at: datetime | None = None
    next_retry_at: datetime | None = None


class _Past(msgspec.Struct):
    results: Counter[str] = msgspec.field(default_factory=Counter)
    buckets: Counter[int] = msgspec.field(default_factory=Counter)
    bars: defaultdict[int, Counter[str]] = msgspec.field(
        default_factory=lambda: defaultdict(Counter)
    )


async def health_of_tenant(
    session: AsyncSession, tenant_id: str, window: Window = Window.DAY
) -> tuple[Health, list[DestinationHealth]]:
    """Return the health of all destinations together, and of each (newest first). Four queries."""
    lanes = await _destinations(session, tenant_id)
    now = await _now(session, tenant_id)
    past = await _past(session, tenant_id, window)
    rows = [
        _destination_health(destination, lane, now[destination.id], past[destination.id], window)
        for destination, lane in lanes
    ]
    return _health(_sum_now(now), _sum_past(past), window, failures=0), rows


def _destination_health(
    destination: Destination, lane: Lane, now: _Now, past: _Past, window: Window
) -> DestinationHealth:
    status = status_of(destination, lane)
    return DestinationHealth(
        id=destination.id,
        name=destination.name,
        endpoint_url=destination.endpoint_url,
        status=status,
        disabled_reason=destination.disabled_reason,
        last_outcome_word=_word(status, lane, now, past),
        health=_health(now, past, window, failures=lane.consecutive_failures),
    )


def status_of(destination: Destination, lane: Lane | None) -> Status:
    if destination.disabled_at is not None:
        return Status.DISABLED
    if lane is not None and lane.open_until is not None:
        return Status.DEGRADED
    return Status.ACTIVE


def _word(status: Status, lane: Lane, now: _Now, past: _Past) -> str:
    """Return the one word that tells an operator how it goes."""
    if status is not Status.ACTIVE:
        return status.value
    if lane.consecutive_failures or now.counts[State.RETRYING]:
        return (
            "retrying" if now.counts[State.RETRYING] or now.counts[State.DELIVERING] else "failed"
        )
    if past.results[State.DELIVERED]:
        return "delivered"
    return "failed" if past.results[State.FAILED] else "waiting"


async def _destinations(session: AsyncSession, tenant_id: str) -> list[tuple[Destination, Lane]]:
    query = (
        select(Destination, Lane)
        .join(
            Lane,
            (Lane.tenant_id == Destination.tenant_id) & (Lane.destination_id == Destination.id),
        )
        .where(Destination.tenant_id == tenant_id, Destination.deleted_at.is_(None))
        .order_by(Destination.id.desc())
    )
    return [(row[0], row[1]) for row in await session.execute(query)]


async def _now(session: AsyncSession, tenant_id: str) -> defaultdict[str, _Now]:
    retrying = case((Delivery.state == State.RETRYING, Delivery.next_attempt_at))
    query = (
        select(
            Delivery.destination_id,
            Delivery.state,
            func.count(),
            func.min(Delivery.next_attempt_at),
            func.min(retrying),
        )
        .where(Delivery.tenant_id == tenant_id, Delivery.state.in_(_COUNTED))
        .group_by(Delivery.destination_id, Delivery.state)
    )
    found: defaultdict[str, _Now] = defaultdict(_Now)
    for destination_id, state, count, due, retry in await session.execute(query):
        now = found[destination_id]
        now.counts[state] += count
        now.oldest_due_at = _earliest(now.oldest_due_at, due)
        now.next_retry_at = _earliest(now.next_retry_at, _moment(retry))
    return found


def _moment(value: datetime | int | None) -> datetime | None:
    # min() over a CASE loses the column's type on SQLite.
    return from_millis(value) if isinstance(value, int) else value


def _earliest(a: datetime | None, b: datetime | None) -> datetime | None:
    return min((moment for moment in (a, b) if moment is not None), default=None)


async def _past(session: AsyncSession, tenant_id: str, window: Window) -> defaultdict[str, _Past]:
    slot_s = 60 if window is Window.HOUR else 900
    since = slot_of((utcnow() - timedelta(seconds=window.seconds)).timestamp(), slot_s)
    query = select(
        Rollup.destination_id, Rollup.slot, Rollup.result, Rollup.bucket, Rollup.count
    ).where(Rollup.tenant_id == tenant_id, Rollup.slot_s == slot_s, Rollup.slot > since)
    found: defaultdict[str, _Past] = defaultdict(_Past)
    for destination_id, slot, result, bucket, count in await session.execute(query):
        past = found[destination_id]
        past.results[result] += count
        past.buckets[bucket] += count
        past.bars[slot_of(slot, window.bar_s)][result] += count
    return found


def _sum_now(parts: dict[str, _Now]) -> _Now:
    total = _Now()
    for part in parts.values():
        total.counts.update(part.counts)
        total.oldest_due_at = _earliest(total.oldest_due_at, part.oldest_due_at)
        total.next_retry_at = _earliest(total.next_retry_at, part.next_retry_at)
    return total


def _sum_past(parts: dict[str, _Past]) -> _Past:
    total = _Past()
    for part in parts.values():
        total.results.update(part.results)
        total.buckets.update(part.buckets)
        for start, counts in part.bars.items():
            total.bars[start].update(counts)
    return total


def _health(now: _Now, past: _Past, window: Window, *, failures: int) -> Health:
    attempts = sum(past.results.values())
    states = {state.value: now.counts[state] for state in _COUNTED}
    states[State.DELIVERED.value] = past.results[State.DELIVERED]
    return Health(
        states=states,
        success_rate=past.results[State.DELIVERED] / attempts if attempts else None,
        p50_ms=percentile(past.buckets, 0.50),
        p95_ms=percentile(past.buckets, 0.95),
        oldest_due_at=now.oldest_due_at,
        next_retry_at=now.next_retry_at,
        consecutive_failures=failures,
        bars=_bars(past, window),
    )


def _bars(past: _Past, window: Window) -> list[Bar]:
    """Return every slice of the window, empty ones too, oldest first."""
    last = slot_of(utcnow().timestamp(), window.bar_s)
    count = window.seconds // window.bar_s
    starts = range(last - (count - 1) * window.bar_s, last + 1, window.bar_s)
    return [
        Bar(
            from_millis(start * 1000),
            past.bars[start][State.DELIVERED],
            past.bars[start][State.RETRYING],
            past.bars[start][State.FAILED],
        )
        for start in starts
    ]
