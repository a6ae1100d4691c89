"""Work on replays: a chunk of events per transaction, at a bounded rate, by one worker at a time.

A replay never overtakes live traffic by more than its share: it makes deliveries no faster than
its rate, and none while a window's worth of them waits, so a live event never stands behind more.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import msgspec
import structlog
from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import SYSTEM, Action
from app.database import Database, new_id, utcnow
from app.deliveries import replay
from app.deliveries.missed import CHUNK, matches, missed_of, next_events
from app.deliveries.models import (
    WAITING,
    Delivery,
    JobState,
    ReplayJob,
    State,
    Trigger,
)
from app.deliveries.store import Owed, Store
from app.destinations.models import Destination
from app.events.models import Event

log = structlog.get_logger(__name__)

#: Due deliveries of a destination beyond which its replay waits: few where they leave slowly.
WINDOW: Final = 500
WINDOW_ORDERED: Final = 50
WINDOW_S: Final = 5
#: How long it then waits before it looks again.
FULL_PAUSE_S: Final = 0.5
#: Longer than a step and the pause after it; a worker that died is replaced after this long.
LEASE_S: Final = 10.0
#: Events beyond this are not counted for the progress: it then only says "nearly".
COUNTED: Final = 1_000_000


class Step(msgspec.Struct, frozen=True):
    """What a transaction did; `is_over` when nothing is left to do for us."""

    created: int = 0
    is_over: bool = False
    is_full: bool = False


async def work(
    database: Database,
    store: Store,
    tenant_id: str,
    job_id: str,
    *,
    for_s: float,
    on_step: Callable[[str], None],
) -> bool:
    """Work on a replay for about so long; return whether something is left to do.

    False too when another worker holds it. `on_step` is called with the tenant after a commit.
    """
    token, ends = uuid4().hex, time.monotonic() + for_s
    job = await _lease(database, tenant_id, job_id, token)
    if job is None:
        return False
    while True:
        began = time.monotonic()
        async with database.transaction(tenant_id) as session:
            step = await _step(session, store, tenant_id, job_id, token)
        on_step(tenant_id)
        if step.is_over:
            return False
        pause_s = FULL_PAUSE_S if step.is_full else step.created / job.rate_per_second
        await asyncio.sleep(max(0.0, pause_s - (time.monotonic() - began)))
        if time.monotonic() >= ends:
            await _release(database, tenant_id, job_id, token)
            return True


async def abandoned(database: Database) -> list[tuple[str, str]]:
    """Return the running replays (tenant, id) that nobody works on."""
    query = select(ReplayJob.tenant_id, ReplayJob.id).where(
        ReplayJob.state == JobState.RUNNING,
        or_(ReplayJob.lease_until.is_(None), ReplayJob.lease_until < utcnow()),
    )
    async with database.reading() as session:
        return [(row[0], row[1]) for row in await session.execute(query.limit(100))]


async def _lease(database: Database, tenant_id: str, job_id: str, token: str) -> ReplayJob | None:
    async with database.transaction(tenant_id) as session:
        query = _wanted(tenant_id, job_id).with_for_update()
        job = (await session.execute(query)).scalar_one_or_none()
        if job is None or (job.lease_until and job.lease_until > utcnow()):
            return None
        job.lease_token = token
        job.lease_until = utcnow() + timedelta(seconds=LEASE_S)
        if job.total is None:
            job.total = await _count(session, job)
        return job


def _wanted(tenant_id: str, job_id: str) -> Select[tuple[ReplayJob]]:
    return select(ReplayJob).where(
        ReplayJob.tenant_id == tenant_id,
        ReplayJob.id == job_id,
        ReplayJob.state == JobState.RUNNING,
    )


async def _count(session: AsyncSession, job: ReplayJob) -> int:
    floor, ceiling = replay.bounds(job)
    some = (
        select(Event.id)
        .where(Event.tenant_id == job.tenant_id, Event.id > floor, Event.id < ceiling)
        .limit(COUNTED)
        .subquery()
    )
    return (await session.execute(select(func.count()).select_from(some))).scalar_one()


async def _release(database: Database, tenant_id: str, job_id: str, token: str) -> None:
    async with database.transaction(tenant_id) as session:
        await session.execute(
            update(ReplayJob)
            .where(
                ReplayJob.tenant_id == tenant_id,
                ReplayJob.id == job_id,
                ReplayJob.lease_token == token,
            )
            .values(lease_token=None, lease_until=None)
        )


async def _step(
    session: AsyncSession, store: Store, tenant_id: str, job_id: str, token: str
) -> Step:
    """Look at the next events; what they owe and how far we came is one commit."""
    query = _wanted(tenant_id, job_id).where(ReplayJob.lease_token == token).with_for_update()
    job = (await session.execute(query)).scalar_one_or_none()
    if job is None:  # paused, cancelled, or somebody else's now
        return Step(is_over=True)
    destination = await session.get(Destination, (tenant_id, job.destination_id))
    if destination is None or destination.deleted_at or destination.disabled_at:
        gone = "disabled" if destination and not destination.deleted_at else "deleted"
        return await _end(session, job, destination, f"the destination was {gone}")
    room = min(job.rate_per_second, _window(destination) - await _due(session, job))
    if room <= 0:
        job.lease_until = utcnow() + timedelta(seconds=LEASE_S)
        return Step(is_full=True)
    return await _advance(session, store, job, destination, room)


def _window(destination: Destination) -> int:
    if destination.ordered:
        return WINDOW_ORDERED
    return min(WINDOW, WINDOW_S * (destination.rate_limit_per_second or WINDOW))


async def _advance(
    session: AsyncSession, store: Store, job: ReplayJob, destination: Destination, room: int
) -> Step:
    events = await next_events(session, job)
    wanted = [one for one in events if matches(job, destination, one.type)]
    missed = await missed_of(session, job, wanted)
    chosen = [one for one in wanted if one.id in missed][:room]
    is_last = len(events) < CHUNK
    if len(missed) > room:  # the rate is used up: go on behind the last one chosen
        events = [one for one in events if one.id <= chosen[-1].id]
        is_last = False
    await _owe(session, store, job, destination, chosen)
    job.scanned += len(events)
    job.matched += sum(1 for one in wanted if one.id <= events[-1].id) if events else 0
    job.created += len(chosen)
    job.cursor = events[-1].id if events else job.cursor
    job.updated_at = utcnow()
    job.lease_until = job.updated_at + timedelta(seconds=LEASE_S)
    if is_last:
        return await _end(session, job, destination, None)
    return Step(created=len(chosen))


async def _owe(
    session: AsyncSession,
    store: Store,
    job: ReplayJob,
    destination: Destination,
    chosen: Sequence[Any],
) -> None:
    if not chosen:
        return
    if destination.ordered:
        await _clear_line(session, job, [one.id for one in chosen])
    owed = [
        Owed(
            job.tenant_id, new_id("dlv"), job.destination_id, one.id, one.type, Trigger.REPLAY,
            destination.ordered,
        )
        for one in chosen
    ]  # fmt: skip
    await store.insert_deliveries(await session.connection(), owed)


async def _clear_line(session: AsyncSession, job: ReplayJob, event_ids: list[str]) -> None:
    # A dead letter holds the line of an ordered destination; its replay takes its place.
    await session.execute(
        update(Delivery)
        .where(
            Delivery.tenant_id == job.tenant_id,
            Delivery.destination_id == job.destination_id,
            Delivery.event_id.in_(event_ids),
            Delivery.state == State.FAILED,
        )
        .values(state=State.CANCELLED, settled_at=utcnow(), reason=f"replayed by {job.id}")
    )


async def _due(session: AsyncSession, job: ReplayJob) -> int:
    some = (
        select(Delivery.id)
        .where(
            Delivery.tenant_id == job.tenant_id,
            Delivery.destination_id == job.destination_id,
            Delivery.state.in_(WAITING),
            Delivery.next_attempt_at <= utcnow(),
        )
        .limit(WINDOW)
        .subquery()
    )
    return (await session.execute(select(func.count()).select_from(some))).scalar_one()


async def _end(
    session: AsyncSession, job: ReplayJob, destination: Destination | None, fault: str | None
) -> Step:
    state = JobState.FAILED if fault else JobState.FINISHED
    action = Action.REPLAY_FAILED if fault else Action.REPLAY_FINISHED
    replay.settle(job, state, fault)
    name = destination.name if destination else job.destination_id
    reason = {"reason": fault} if fault else {}
    await replay.record(session, job, name, SYSTEM, action, replay.counts(job) | reason)
    log.info("replay.ended", job_id=job.id, state=state.value, **replay.counts(job))
    return Step(is_over=True)
