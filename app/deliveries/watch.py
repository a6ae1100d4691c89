"""Watch over destinations: tell a tenant when one fails, degrades, is disabled or recovers.

A notice is an event of its own, for destinations that subscribe to `destination.*` by name; what
takes every type does not get them, and the failing destination never gets its own. One that
brought nothing but failure for days is disabled by the system.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import SYSTEM
from app.database import Database, new_id, utcnow
from app.deliveries import control
from app.deliveries.store import Owed, Store
from app.destinations.models import Destination, Lane
from app.destinations.rules import wants
from app.events.intake import NewEvent

log = structlog.get_logger(__name__)

#: How long nothing but failure is borne before the tenant is told, told again, and spared.
FAILING_AFTER: Final = (timedelta(days=1), timedelta(days=3))
DISABLE_AFTER: Final = timedelta(days=5)
PREFIX: Final = "destination."
CHUNK: Final = 100


async def look(database: Database, store: Store, *, now: datetime | None = None) -> int:
    """Disable what failed too long and write the notices that are due; return how many."""
    moment = now or utcnow()
    await _disable_hopeless(database, moment)
    async with database.transaction() as session:
        news = await _news(session, moment)
        for destination, state in news:
            await _tell(session, store, destination, state, moment)
            await session.execute(
                update(Lane)
                .where(
                    Lane.tenant_id == destination.tenant_id,
                    Lane.destination_id == destination.id,
                )
                .values(noticed=state)
            )
    return len(news)


async def _disable_hopeless(database: Database, now: datetime) -> None:
    query = (
        select(Destination.tenant_id, Destination.id)
        .join(
            Lane,
            (Lane.tenant_id == Destination.tenant_id) & (Lane.destination_id == Destination.id),
        )
        .where(
            Lane.failing_since < now - DISABLE_AFTER,
            Destination.disabled_at.is_(None),
            Destination.deleted_at.is_(None),
        )
        .limit(CHUNK)
    )
    async with database.reading() as session:
        hopeless = (await session.execute(query)).all()
    for tenant_id, destination_id in hopeless:
        async with database.transaction() as session:
            await control.disable_destination(
                session,
                tenant_id,
                destination_id,
                reason=f"nothing but failure for {DISABLE_AFTER.days} days",
                actor=SYSTEM,
            )


async def _news(session: AsyncSession, now: datetime) -> list[tuple[Destination, str]]:
    """Return the destinations whose state is not what their tenant was told last, locked."""
    first, second = FAILING_AFTER
    state: Any = case(
        (Destination.disabled_at.is_not(None), "disabled"),
        (Lane.failing_since < now - second, "failing_long"),
        (Lane.failing_since < now - first, "failing"),
        (Lane.open_until.is_not(None), "degraded"),
        # Between the first failure and the next success nothing is recovered yet.
        (or_(Lane.failing_since.is_(None), Lane.noticed == "ok"), "ok"),
        else_=Lane.noticed,
    )
    query = (
        select(Destination, state)
        .join(
            Lane,
            (Lane.tenant_id == Destination.tenant_id) & (Lane.destination_id == Destination.id),
        )
        .where(Destination.deleted_at.is_(None), Lane.noticed != state)
        .limit(CHUNK)
        .with_for_update(of=Lane, skip_locked=True)
    )
    return [(row[0], str(row[1])) for row in await session.execute(query)]


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A destination that needs a person: `disabled` not by one, `degraded`, or `failing`."""

    id: str
    name: str
    word: str
    reason: str | None
    failures: int
    since: datetime | None
    ends: datetime | None  # when it is disabled if nothing succeeds until then


def troubles(lanes: Iterable[tuple[Destination, Lane]]) -> list[Trouble]:
    """Return what the notices of these destinations speak of, as it stands now."""
    now = utcnow()
    named = sorted(lanes, key=lambda one: one[0].name)
    return [_trouble(*one, now=now) for one in named if _is_in_trouble(*one, now)][:CHUNK]


def _is_in_trouble(destination: Destination, lane: Lane, now: datetime) -> bool:
    if destination.disabled_at is not None:
        reason = destination.disabled_reason
        return reason is not None and not reason.startswith(control.BY_A_PERSON)
    return lane.open_until is not None or _is_failing(lane, now)


def _is_failing(lane: Lane, now: datetime) -> bool:
    return lane.failing_since is not None and lane.failing_since < now - FAILING_AFTER[0]


def _trouble(destination: Destination, lane: Lane, *, now: datetime) -> Trouble:
    since = lane.failing_since
    is_failing = _is_failing(lane, now)
    word = "disabled" if destination.disabled_at else "failing" if is_failing else "degraded"
    return Trouble(
        id=destination.id,
        name=destination.name,
        word=word,
        reason=destination.disabled_reason,
        failures=lane.consecutive_failures,
        since=since,
        ends=since + DISABLE_AFTER if since else None,
    )


_WORDS: Final = {
    "ok": "recovered",
    "degraded": "degraded",
    "failing": "failing",
    "failing_long": "failing",
    "disabled": "disabled",
}


async def _tell(
    session: AsyncSession, store: Store, destination: Destination, state: str, now: datetime
) -> None:
    event_type = PREFIX + _WORDS[state]
    listeners = await _listeners(session, destination, event_type)
    log.info("destination.notice", destination_id=destination.id, notice=event_type)
    event_id = new_id("evt")
    body = msgspec.json.encode(
        {
            "id": event_id,
            "type": event_type,
            "timestamp": now,
            "tenant": destination.tenant_id,
            "data": {
                "destination_id": destination.id,
                "name": destination.name,
                "reason": destination.disabled_reason,
            },
        }
    )
    event = NewEvent(destination.tenant_id, event_id, event_type, body, None, now)
    owed = [
        Owed(
            destination.tenant_id, new_id("dlv"), one.id, event_id, event_type, ordered=one.ordered
        )
        for one in listeners
    ]
    c = await session.connection()
    await store.insert_events(c, [event], [len(owed)])
    if owed:
        await store.insert_deliveries(c, owed)


async def _listeners(
    session: AsyncSession, about: Destination, event_type: str
) -> list[Destination]:
    query = select(Destination).where(
        Destination.tenant_id == about.tenant_id,
        Destination.id != about.id,
        Destination.disabled_at.is_(None),
        Destination.deleted_at.is_(None),
    )
    named = (await session.execute(query)).scalars()
    return [
        one
        for one in named
        if wants([p for p in one.event_types if p.startswith(PREFIX)] or ["-"], event_type)
    ]
