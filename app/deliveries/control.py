"""What a tenant admin can do to deliveries: test, retry, cancel, and stop a destination's."""

import msgspec
from msgspec import UNSET
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import audit
from app.audit.models import Action, Actor, Target
from app.crypto import Keyring
from app.database import new_id, utcnow
from app.deliveries.models import WAITING, Delivery, State, Trigger
from app.deliveries.store import Owed, Store
from app.destinations import service as destinations
from app.destinations.models import Destination
from app.destinations.rules import Draft
from app.errors import Conflict, NotFound
from app.events.intake import NewEvent

TEST_EVENT_TYPE = "oneprotect.test"
#: How the reason begins when a person disabled a destination.
BY_A_PERSON = "disabled by "


async def send_test(
    session: AsyncSession, store: Store, tenant_id: str, destination_id: str, *, actor: Actor
) -> str:
    """Owe a test event to this destination alone; return the delivery's id."""
    destination = await destinations.get(session, tenant_id, destination_id)
    if destination.disabled_at is not None:
        raise Conflict("The destination is disabled; enable it to send a test event.")
    event = _test_event(destination)
    owed = Owed(
        tenant_id, new_id("dlv"), destination_id, event.id, event.type, Trigger.TEST,
        destination.ordered,
    )  # fmt: skip
    c = await session.connection()
    await store.insert_events(c, [event], [1])
    await store.insert_deliveries(c, [owed])
    target = Target("destination", destination.id, destination.name)
    changes = {"delivery_id": owed.id}
    await audit.record(session, tenant_id, actor, Action.DESTINATION_TESTED, target, changes)
    return owed.id


def _test_event(destination: Destination) -> NewEvent:
    now = utcnow()
    event_id = new_id("evt")
    body = {
        "id": event_id,
        "type": TEST_EVENT_TYPE,
        "timestamp": now,
        "tenant": destination.tenant_id,
        "data": {
            "message": "This is a test event. Your endpoint works when it answers 2xx.",
            "destination_id": destination.id,
        },
    }
    encoded = msgspec.json.encode(body)
    return NewEvent(destination.tenant_id, event_id, TEST_EVENT_TYPE, encoded, None, now)


async def retry(
    session: AsyncSession, tenant_id: str, delivery_id: str, *, actor: Actor
) -> Delivery:
    """Make the delivery due now, also a failed or cancelled one; a delivered one stays final."""
    delivery = await _for_change(session, tenant_id, delivery_id)
    if delivery.state not in (State.RETRYING, State.FAILED, State.CANCELLED, State.PENDING):
        raise Conflict(f"The delivery is {delivery.state}; only an unfinished one can be retried.")
    destination = await destinations.get(session, tenant_id, delivery.destination_id)
    if destination.disabled_at is not None:
        raise Conflict("The destination is disabled; enable it to retry its deliveries.")
    if delivery.state != State.PENDING:
        delivery.state, delivery.trigger = State.RETRYING, Trigger.MANUAL
    delivery.next_attempt_at = utcnow()
    delivery.settled_at = delivery.reason = None
    await _audit(session, delivery, destination, actor, Action.DELIVERY_RETRIED)
    return delivery


async def cancel(
    session: AsyncSession, tenant_id: str, delivery_id: str, *, actor: Actor
) -> Delivery:
    """Give up a waiting delivery; one that is being tried right now has to end first.

    A dead letter of an ordered destination is cancelled too: that lets the line go on without it.
    """
    delivery = await _for_change(session, tenant_id, delivery_id)
    holds_line = delivery.ordered and delivery.state == State.FAILED
    if delivery.state not in WAITING and not holds_line:
        raise Conflict(f"The delivery is {delivery.state}; only a waiting one can be cancelled.")
    destination = await destinations.get(session, tenant_id, delivery.destination_id)
    delivery.state, delivery.next_attempt_at = State.CANCELLED, None
    delivery.settled_at, delivery.reason = utcnow(), f"cancelled by {actor.label}"[:200]
    await _audit(session, delivery, destination, actor, Action.DELIVERY_CANCELLED)
    return delivery


async def change_destination(
    session: AsyncSession,
    tenant_id: str,
    destination_id: str,
    draft: Draft,
    *,
    keyring: Keyring,
    actor: Actor,
) -> Destination:
    """Change it; what waits for it enters or leaves the line when `ordered` changes."""
    destination = await destinations.change(
        session, tenant_id, destination_id, draft, keyring=keyring, actor=actor
    )
    if draft.ordered is not UNSET:
        await session.execute(
            update(Delivery)
            .where(
                Delivery.tenant_id == tenant_id,
                Delivery.destination_id == destination_id,
                Delivery.state.in_((*WAITING, State.DELIVERING)),
                Delivery.ordered != draft.ordered,
            )
            .values(ordered=draft.ordered)
        )
    return destination


async def disable_destination(
    session: AsyncSession, tenant_id: str, destination_id: str, *, reason: str, actor: Actor
) -> Destination:
    """Disable it and cancel what waits for it; what is in flight ends by itself."""
    destination = await destinations.disable(
        session, tenant_id, destination_id, reason=reason, actor=actor
    )
    await _cancel_waiting(session, tenant_id, destination_id, "the destination was disabled")
    return destination


async def delete_destination(
    session: AsyncSession, tenant_id: str, destination_id: str, *, actor: Actor
) -> None:
    """Delete it and cancel what waits for it; its history stays readable."""
    await destinations.delete(session, tenant_id, destination_id, actor=actor)
    await _cancel_waiting(session, tenant_id, destination_id, "the destination was deleted")


async def _cancel_waiting(
    session: AsyncSession, tenant_id: str, destination_id: str, reason: str
) -> None:
    await session.execute(
        update(Delivery)
        .where(
            Delivery.tenant_id == tenant_id,
            Delivery.destination_id == destination_id,
            Delivery.state.in_(WAITING),
        )
        .values(state=State.CANCELLED, next_attempt_at=None, settled_at=utcnow(), reason=reason)
    )


async def _for_change(session: AsyncSession, tenant_id: str, delivery_id: str) -> Delivery:
    query = select(Delivery).where(Delivery.tenant_id == tenant_id, Delivery.id == delivery_id)
    delivery = (await session.execute(query.with_for_update())).scalar_one_or_none()
    if delivery is None:
        raise NotFound
    return delivery


async def _audit(
    session: AsyncSession,
    delivery: Delivery,
    destination: Destination,
    actor: Actor,
    action: Action,
) -> None:
    target = Target("delivery", delivery.id, f"{delivery.event_type} → {destination.name}")
    await audit.record(session, delivery.tenant_id, actor, action, target)
