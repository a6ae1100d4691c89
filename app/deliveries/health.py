"""Delivery health: what waits, what failed, how it went over time; read from rows and rollups."""

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import utcnow
from app.database.base import from_millis
from app.deliveries import history, owed
from app.deliveries.history import Past, Window
from app.deliveries.models import OPEN, State
from app.deliveries.owed import Owing
from app.deliveries.rollup import percentile, slot_of
from app.destinations.models import Destination, Lane

__all__ = ["Window"]


class Status(StrEnum):
    """The state of a destination."""

    ACTIVE = "active"  # what is due is sent
    DEGRADED = "degraded"  # it failed so often that only probes are sent
    DISABLED = "disabled"  # switched off


class Bar(msgspec.Struct, frozen=True):
    """Attempts that ended in one slice of time, by where they left their delivery."""

    start: datetime
    delivered: int
    retrying: int
    failed: int


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with one destination, or with all of a tenant's together.

    `states` counts deliveries now: everything open, dead letters, and what was delivered in the
    window. A state in `capped` has at least so many: counting ends there.
    `success_rate` is of the window's attempts (0 to 1); times are in milliseconds.
    """

    states: dict[str, int]
    success_rate: float | None
    p50_ms: float | None
    p95_ms: float | None
    oldest_due_at: datetime | None
    next_retry_at: datetime | None
    consecutive_failures: int = 0
    capped: list[str] = []
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


class Picture(msgspec.Struct, frozen=True):
    """A tenant's health: all together, each destination, and the rows that it was read from."""

    total: Health
    rows: list[DestinationHealth]
    lanes: list[tuple[Destination, Lane]]


_COUNTED: Final = (*OPEN, State.FAILED)


async def health_of_tenant(
    session: AsyncSession, tenant_id: str, window: Window = Window.DAY
) -> tuple[Health, list[DestinationHealth]]:
    """Return the health of all destinations together, and of each (newest first)."""
    picture = await picture_of(session, tenant_id, window)
    return picture.total, picture.rows


async def picture_of(session: AsyncSession, tenant_id: str, window: Window) -> Picture:
    lanes = await _destinations(session, tenant_id)
    now = await owed.by_destination(session, tenant_id)
    past = await history.pasts(session, tenant_id, window)
    starts = _starts(window)
    rows = [
        _destination_health(destination, lane, now[destination.id], past[destination.id], starts)
        for destination, lane in lanes
    ]
    total = _health(owed.sum_of(now), history.sum_of(past), starts, failures=0)
    return Picture(total, rows, lanes)


def _destination_health(
    destination: Destination,
    lane: Lane,
    now: Owing,
    past: Past,
    starts: list[tuple[int, datetime]],
) -> DestinationHealth:
    status = status_of(destination, lane)
    return DestinationHealth(
        id=destination.id,
        name=destination.name,
        endpoint_url=destination.endpoint_url,
        status=status,
        disabled_reason=destination.disabled_reason,
        last_outcome_word=_word(status, lane, now, past),
        health=_health(now, past, starts, failures=lane.consecutive_failures),
    )


def status_of(destination: Destination, lane: Lane | None) -> Status:
    if destination.disabled_at is not None:
        return Status.DISABLED
    if lane is not None and lane.open_until is not None:
        return Status.DEGRADED
    return Status.ACTIVE


def _word(status: Status, lane: Lane, now: Owing, past: Past) -> str:
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


def _health(now: Owing, past: Past, starts: list[tuple[int, datetime]], *, failures: int) -> Health:
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
        capped=sorted(now.capped),
        bars=_bars(past, starts),
    )


def _bars(past: Past, starts: list[tuple[int, datetime]]) -> list[Bar]:
    """Return every slice of the window, empty ones too, oldest first."""
    count = past.bars.get
    delivered, retrying, failed = (
        state.value for state in (State.DELIVERED, State.RETRYING, State.FAILED)
    )
    return [
        Bar(
            moment,
            count((start, delivered), 0),
            count((start, retrying), 0),
            count((start, failed), 0),
        )
        for start, moment in starts
    ]


def _starts(window: Window) -> list[tuple[int, datetime]]:
    last = slot_of(utcnow().timestamp(), window.bar_s)
    first = last - window.seconds + window.bar_s
    return [(start, from_millis(start * 1000)) for start in range(first, last + 1, window.bar_s)]
