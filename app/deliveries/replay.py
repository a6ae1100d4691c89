"""Replays: send a destination again what it missed in a range of time, as a durable job.

A replay never edits: it makes new deliveries with the same event ids, so that receivers can drop
doubles. Here a person starts, pauses, resumes and cancels one; deliveries.replaying does the work.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import audit
from app.audit.models import Action, Actor, Target
from app.database import new_id, utcnow
from app.database.base import id_floor
from app.deliveries.models import UNENDED, JobState, ReplayJob, State
from app.destinations import rules
from app.destinations import service as destinations
from app.destinations.models import Destination
from app.errors import Conflict, FieldError, Invalid, NotFound, unknown_field

#: What may be replayed; a delivery in another state is still owed and will be sent anyway.
SETTLED: Final = (State.DELIVERED, State.FAILED, State.CANCELLED)
DEFAULT_RATE: Final = 100
MAX_RATE: Final = 500
DISABLED: Final = "The destination is disabled; enable it to replay to it."
FIELDS: Final = ("since", "until", "states", "event_types", "rate_per_second")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What to replay; both ends of the range belong to it.

    Without `states` it is whatever was missed: no delivery of the event to this destination ever
    succeeded, and none is still owed.
    """

    since: datetime
    until: datetime
    states: list[State] = []
    event_types: list[str] = []  # patterns as a destination's; empty: every type it wants
    rate_per_second: int = DEFAULT_RATE


def check_wish(fields: Mapping[str, Any], now: datetime) -> Wish:
    """Read what to replay; Invalid names every wrong field. A later `until` means now."""
    errors = [unknown_field(name, FIELDS) for name in fields if name not in FIELDS]
    if fields.get("since") is None:
        errors.append(FieldError("since", "since is required"))
    since, until = (_moment(fields, name, now, errors) for name in ("since", "until"))
    if not errors and since >= min(until, now):
        errors.append(FieldError("since", "since must lie before until, and in the past"))
    states = fields.get("states") or []
    if not isinstance(states, list) or not all(state in SETTLED for state in states):
        rule = f"states must be a list of: {', '.join(SETTLED)}; the others are still owed"
        errors.append(FieldError("states", rule))
    rate = fields.get("rate_per_second", DEFAULT_RATE)
    if type(rate) is not int or not 1 <= rate <= MAX_RATE:
        rule = f"rate_per_second must be a whole number from 1 to {MAX_RATE}"
        errors.append(FieldError("rate_per_second", rule))
    types: list[str] = []
    try:
        types = rules.event_types_of(fields.get("event_types"))
    except rules.FieldFault as fault:
        errors.append(FieldError("event_types", str(fault.faults[0])))
    if errors:
        raise Invalid.fields(errors)
    return Wish(
        since=since,
        until=min(until, now),
        states=[State(state) for state in dict.fromkeys(states)],
        event_types=types,
        rate_per_second=rate,
    )


def _moment(
    fields: Mapping[str, Any], name: str, now: datetime, errors: list[FieldError]
) -> datetime:
    given = fields.get(name)
    if given is None:
        return now
    try:
        moment = msgspec.convert(given, datetime)
        if moment.tzinfo is not None:
            return moment
    except (msgspec.ValidationError, ValueError):
        pass
    example = "2026-11-23T14:00:00Z"
    rule = f"{name} must be an RFC 3339 time with its offset, such as {example}"
    errors.append(FieldError(name, rule))
    return now


def bounds(job: ReplayJob) -> tuple[str, str]:
    """Return the ids that enclose the events of the range: ids rise with time."""
    after = job.until + timedelta(milliseconds=1)
    return id_floor("evt", job.since), id_floor("evt", after)


async def start(
    session: AsyncSession, tenant_id: str, destination_id: str, wish: Wish, *, actor: Actor
) -> ReplayJob:
    """Write the job; a worker takes it up after the commit. One at a time per destination."""
    destination = await destinations.get(session, tenant_id, destination_id, for_change=True)
    if destination.disabled_at is not None:
        raise Conflict(DISABLED)
    others = await list_jobs(session, tenant_id, destination_id=destination_id, limit=1)
    if others and others[0].state in UNENDED:
        raise Conflict("A replay to this destination is under way; let it end or cancel it.")
    now = utcnow()
    job = ReplayJob(
        tenant_id=tenant_id,
        id=new_id("job"),
        destination_id=destination_id,
        since=wish.since,
        until=wish.until,
        states=[state.value for state in wish.states],
        event_types=wish.event_types,
        rate_per_second=wish.rate_per_second,
        state=JobState.RUNNING,
        cursor=id_floor("evt", wish.since),
        scanned=0,
        matched=0,
        created=0,
        created_by=actor.label,
        created_at=now,
        updated_at=now,
    )
    session.add(job)
    asked = {name: value for name, value in msgspec.to_builtins(wish).items() if value}
    await record(session, job, destination.name, actor, Action.REPLAY_STARTED, asked)
    return job


async def get_job(
    session: AsyncSession, tenant_id: str, job_id: str, *, for_change: bool = False
) -> ReplayJob:
    query = select(ReplayJob).where(ReplayJob.tenant_id == tenant_id, ReplayJob.id == job_id)
    found = (
        await session.execute(query.with_for_update() if for_change else query)
    ).scalar_one_or_none()
    if found is None:
        raise NotFound
    return found


async def list_jobs(
    session: AsyncSession,
    tenant_id: str,
    *,
    limit: int,
    destination_id: str | None = None,
    state: JobState | None = None,
    below: str | None = None,
) -> list[ReplayJob]:
    """Return up to `limit` replays, newest first, with an id under `below`."""
    query = select(ReplayJob).where(ReplayJob.tenant_id == tenant_id)
    if destination_id is not None:
        query = query.where(ReplayJob.destination_id == destination_id)
    if state is not None:
        query = query.where(ReplayJob.state == state)
    if below:
        query = query.where(ReplayJob.id < below)
    return list((await session.execute(query.order_by(ReplayJob.id.desc()).limit(limit))).scalars())


async def pause(session: AsyncSession, tenant_id: str, job_id: str, *, actor: Actor) -> ReplayJob:
    """Make no more deliveries until it is resumed; what it made already is sent."""
    return await _move(
        session, tenant_id, job_id, JobState.PAUSED, actor=actor, action=Action.REPLAY_PAUSED
    )


async def resume(session: AsyncSession, tenant_id: str, job_id: str, *, actor: Actor) -> ReplayJob:
    """Go on where it stopped."""
    return await _move(
        session, tenant_id, job_id, JobState.RUNNING, actor=actor, action=Action.REPLAY_RESUMED
    )


async def cancel(session: AsyncSession, tenant_id: str, job_id: str, *, actor: Actor) -> ReplayJob:
    """Stop it for good; the deliveries that it made already stay."""
    return await _move(
        session, tenant_id, job_id, JobState.CANCELLED, actor=actor, action=Action.REPLAY_CANCELLED
    )


async def _move(
    session: AsyncSession,
    tenant_id: str,
    job_id: str,
    state: JobState,
    *,
    actor: Actor,
    action: Action,
) -> ReplayJob:
    """Change the state; a second call changes nothing and is not an error."""
    job = await get_job(session, tenant_id, job_id, for_change=True)
    if job.state == state:
        return job
    if job.state not in UNENDED:
        raise Conflict(f"The replay is {job.state}; only one that has not ended can be changed.")
    destination = await session.get_one(Destination, (tenant_id, job.destination_id))
    if state is JobState.RUNNING and (destination.disabled_at or destination.deleted_at):
        raise Conflict(DISABLED)
    settle(job, state)
    await record(session, job, destination.name, actor, action, counts(job))
    return job


def settle(job: ReplayJob, state: JobState, reason: str | None = None) -> None:
    """Put a locked job into a state; whoever works on it finds its lease gone and stops."""
    job.state, job.reason = state, reason
    job.lease_until = job.lease_token = None
    job.updated_at = utcnow()
    job.ended_at = None if state in UNENDED else job.updated_at


def counts(job: ReplayJob) -> dict[str, Any]:
    return {"scanned": job.scanned, "matched": job.matched, "created": job.created}


def progress(job: ReplayJob) -> float:
    """Return the share of the range that is done, from 0 to 1; 1 only when it has finished."""
    if job.state == JobState.FINISHED:
        return 1.0
    return min(0.99, round(job.scanned / job.total, 4)) if job.total else 0.0


async def record(
    session: AsyncSession,
    job: ReplayJob,
    destination_name: str,
    actor: Actor,
    action: Action,
    changes: Mapping[str, Any],
) -> None:
    target = Target("replay", job.id, destination_name)
    details = {"destination_id": job.destination_id, **changes}
    await audit.record(session, job.tenant_id, actor, action, target, details)
