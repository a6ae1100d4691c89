"""Accept events: each, and everything owed for it, in the caller's one transaction."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import and_, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import new_id
from app.deliveries.store import Owed, Store
from app.destinations.models import Destination
from app.destinations.rules import wants
from app.errors import Conflict, FieldError, Invalid
from app.events.gate import NO_VERDICTS, Verdict
from app.events.intake import NewEvent, data_of
from app.events.models import Event, EventWarning, IdempotencyKey
from app.identity.models import Tenant


class Accepted(msgspec.Struct, frozen=True):
    """The answer to a publisher; the same for a repeat, which only `duplicate` tells apart.

    `warnings` stand in it only when the event was kept although it does not fit its schema.
    """

    id: str
    deliveries: int
    duplicate: bool = False
    warnings: list[FieldError] | UnsetType = UNSET


Key = tuple[str, str]
Subscriptions = dict[str, list[tuple[str, list[str], bool]]]


async def accept(
    c: AsyncConnection,
    store: Store,
    events: Sequence[NewEvent],
    verdicts: Mapping[str, Verdict] = NO_VERDICTS,
) -> list[Accepted]:
    """Write all events with their deliveries, or raise and write none.

    An event whose key was used before is not written again: with the same type and data the
    first answer is repeated, otherwise Conflict says so. At most five statements, however many,
    and a sixth where events are kept with warnings. A repeat is not judged again.
    """
    fresh, firsts = await _without_repeats(c, store, events)
    _require_fit(fresh, verdicts)
    answers: dict[str, Accepted] = {}
    if fresh:
        subscriptions = await _subscriptions(c, fresh)
        owed = [one for event in fresh for one in _owed(event, subscriptions[event.tenant_id])]
        counts: dict[str, int] = dict.fromkeys((event.id for event in fresh), 0)
        for one in owed:
            counts[one.event_id] += 1
        await store.insert_events(c, fresh, list(counts.values()))
        if owed:
            await store.insert_deliveries(c, owed)
        warned = await _keep_warnings(c, fresh, verdicts)
        answers = {
            event_id: Accepted(event_id, n, warnings=warned.get(event_id, UNSET))
            for event_id, n in counts.items()
        }
    return [_answer(event, answers, firsts) for event in events]


def _require_fit(fresh: Sequence[NewEvent], verdicts: Mapping[str, Verdict]) -> None:
    judged = (verdicts[event.id] for event in fresh if event.id in verdicts)
    if refused := [fault for verdict in judged for fault in verdict.refused]:
        raise Invalid.fields(refused)


async def _keep_warnings(
    c: AsyncConnection, fresh: Sequence[NewEvent], verdicts: Mapping[str, Verdict]
) -> dict[str, list[FieldError]]:
    warned = {
        event.id: (event.tenant_id, verdicts[event.id].warnings)
        for event in fresh
        if event.id in verdicts and verdicts[event.id].warnings
    }
    if warned:
        rows = [
            {
                "tenant_id": tenant_id,
                "event_id": event_id,
                "warnings": msgspec.json.encode(warnings).decode(),
            }
            for event_id, (tenant_id, warnings) in warned.items()
        ]
        await c.execute(insert(EventWarning), rows)
    return {event_id: warnings for event_id, (_, warnings) in warned.items()}


def _answer(
    event: NewEvent, answers: dict[str, Accepted], firsts: dict[str, Accepted | str]
) -> Accepted:
    first = firsts.get(event.id)
    if first is None:
        return answers[event.id]
    if isinstance(first, str):  # the repeat of an event of this very batch
        first = answers.get(first) or firsts[first]
    assert isinstance(first, Accepted)  # noqa: S101  # a repeat never points at a repeat
    return msgspec.structs.replace(first, duplicate=True)


async def _without_repeats(
    c: AsyncConnection, store: Store, events: Sequence[NewEvent]
) -> tuple[list[NewEvent], dict[str, Accepted | str]]:
    """Split off repeats; each maps to its first answer, or to the id of the first in this batch."""
    firsts: dict[str, Accepted | str] = {}
    by_key: dict[Key, NewEvent] = {}
    for event in events:
        if event.idempotency_key is None:
            continue
        first = by_key.setdefault((event.tenant_id, event.idempotency_key), event)
        if first is not event:
            _require_same(event, first.type, first.body)
            firsts[event.id] = first.id
    if not by_key:
        return list(events), firsts
    free = await store.take_keys(c, list(by_key.values()))
    known = {key: event for key, event in by_key.items() if key not in free}
    if known:
        for event, stored in await _stored(c, known):
            _require_same(event, stored.type, stored.body)
            firsts[event.id] = Accepted(stored.id, stored.delivery_count)
    return [event for event in events if event.id not in firsts], firsts


async def _stored(c: AsyncConnection, known: dict[Key, NewEvent]) -> list[tuple[NewEvent, Event]]:
    tenants = {tenant for tenant, _ in known}
    keys = {key for _, key in known}
    query = (
        select(IdempotencyKey.tenant_id, IdempotencyKey.key, Event)
        .join(
            Event,
            and_(Event.tenant_id == IdempotencyKey.tenant_id, Event.id == IdempotencyKey.event_id),
        )
        .where(IdempotencyKey.tenant_id.in_(tenants), IdempotencyKey.key.in_(keys))
    )
    rows = (await c.execute(query)).all()
    return [(known[r.tenant_id, r.key], r) for r in rows if (r.tenant_id, r.key) in known]  # type: ignore[misc]  # a row has the event's columns


def _require_same(event: NewEvent, first_type: str, first_body: bytes) -> None:
    # Compared as values: a retry through another serialiser is still the same event.
    if event.type != first_type or data_of(event.body) != data_of(first_body):
        raise Conflict(f"An event with id {event.idempotency_key!r} exists with another body.")


async def _subscriptions(c: AsyncConnection, events: Sequence[NewEvent]) -> Subscriptions:
    """Return each tenant's live destinations with their patterns; Invalid for an unknown tenant."""
    tenants = {event.tenant_id for event in events}
    query = (
        select(Tenant.id, Destination.id, Destination.event_types, Destination.ordered)
        .outerjoin(
            Destination,
            and_(
                Destination.tenant_id == Tenant.id,
                Destination.disabled_at.is_(None),
                Destination.deleted_at.is_(None),
            ),
        )
        .where(Tenant.id.in_(tenants))
    )
    found: Subscriptions = defaultdict(list)
    for tenant_id, destination_id, patterns, ordered in await c.execute(query):
        found[tenant_id]  # a tenant without destinations is known all the same
        if destination_id is not None:
            found[tenant_id].append((destination_id, patterns, ordered))
    if unknown := sorted(tenants - found.keys()):
        text = f"tenant {unknown[0]!r} does not exist"
        raise Invalid.fields([FieldError("tenant", text)])
    return found


def _owed(event: NewEvent, subscriptions: list[tuple[str, list[str], bool]]) -> list[Owed]:
    return [
        Owed(event.tenant_id, new_id("dlv"), destination_id, event.id, event.type, ordered=ordered)
        for destination_id, patterns, ordered in subscriptions
        if wants(patterns, event.type)
    ]
