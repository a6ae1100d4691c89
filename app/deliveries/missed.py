"""Which events a replay sends again: those that its destination wants and never got."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import replay
from app.deliveries.control import TEST_EVENT_TYPE
from app.deliveries.models import OPEN, Delivery, ReplayJob, State
from app.deliveries.watch import PREFIX as NOTICE
from app.destinations.models import Destination
from app.destinations.rules import wants
from app.events.models import Event

#: Events looked at in one transaction.
CHUNK: Final = 500


async def next_events(session: AsyncSession, job: ReplayJob) -> Sequence[Any]:
    query = (
        select(Event.id, Event.type)
        .where(
            Event.tenant_id == job.tenant_id,
            Event.id > job.cursor,
            Event.id < replay.bounds(job)[1],
        )
        .order_by(Event.id)
        .limit(CHUNK)
    )
    return (await session.execute(query)).all()


def matches(job: ReplayJob, destination: Destination, event_type: str) -> bool:
    # A test event was meant for one destination at one time: it tells nothing later.
    return (
        event_type != TEST_EVENT_TYPE
        and wants(destination.event_types, event_type)
        and wants(job.event_types, event_type)
    )


async def missed_of(session: AsyncSession, job: ReplayJob, events: Sequence[Any]) -> set[str]:
    """Return the events to replay: by the state of their latest delivery, or missed altogether."""
    if not events:
        return set()
    query = (
        select(Delivery.event_id, Delivery.state)
        .where(
            Delivery.tenant_id == job.tenant_id,
            Delivery.destination_id == job.destination_id,
            Delivery.event_id.in_([one.id for one in events]),
        )
        .order_by(Delivery.id)
    )
    states: dict[str, list[str]] = defaultdict(list)
    for event_id, state in await session.execute(query):
        states[event_id].append(state)
    return {
        one.id
        for one in events
        # A notice about a destination is for those who were listening: it is news or nothing.
        if (states[one.id] or not one.type.startswith(NOTICE))
        and _is_missed(states[one.id], job.states)
    }


def _is_missed(states: list[str], wanted: list[str]) -> bool:
    if not set(states).isdisjoint(OPEN):  # still owed
        return False
    if wanted:
        return bool(states) and states[-1] in wanted
    return State.DELIVERED not in states
