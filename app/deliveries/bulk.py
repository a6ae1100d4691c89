"""Retry or cancel many deliveries with one call: a list, or whatever a filter finds."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Row, and_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import audit
from app.audit.models import Action, Actor, Target
from app.database import utcnow
from app.deliveries.models import WAITING, Delivery, State, Trigger
from app.deliveries.queries import DeliveryFilter, filtered
from app.destinations.models import Destination
from app.errors import FieldError, Invalid, unknown_field
from app.sending.outcome import OutcomeKind

MAX_IDS: Final = 1_000
#: A filter may find more than one call changes; the answer then says so.
MAX_FOUND: Final = 10_000
#: From these a retry leads somewhere; a pending delivery is due already.
RETRYABLE: Final = (State.RETRYING, State.FAILED, State.CANCELLED)
FILTERS: Final = ("destination_id", "state", "outcome", "event_type", "before", "after")
_CHUNK: Final = 1_000
_ID: Final = re.compile(r"dlv_[0-9a-f]{32}")


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """How many are due now, how many were left alone and why; `more`: ask once more."""

    retried: int
    skipped: dict[str, int]
    more: bool = False


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """How many are given up, how many were left alone and why; `more`: ask once more."""

    cancelled: int
    skipped: dict[str, int]
    more: bool = False


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries to change: these, or (without ids) what the filter finds."""

    ids: list[str] | None = None
    filter: DeliveryFilter = DeliveryFilter()


def check_selection(fields: Mapping[str, Any]) -> Selection:
    """Read a selection; Invalid names every wrong field. It is a list or a filter, not both."""
    errors = [
        unknown_field(name, ("ids", *FILTERS)) for name in fields if name not in ("ids", *FILTERS)
    ]
    given = [name for name in FILTERS if fields.get(name) is not None]
    if "ids" in fields:
        errors += _faults_of_ids(fields["ids"])
        errors += [FieldError(name, f"{name} cannot stand beside ids") for name in given]
    elif not given and not errors:
        rule = f"give ids, or at least one of: {', '.join(FILTERS)}"
        errors.append(FieldError("ids", rule))
    read: dict[str, Any] = {}
    for name in given:
        try:
            read[name] = _KINDS[name](name, fields[name])
        except ValueError as fault:
            errors.append(FieldError(name, str(fault)))
    if errors:
        raise Invalid.fields(errors)
    ids = fields.get("ids")
    return Selection(ids=list(dict.fromkeys(ids)) if ids else None, filter=DeliveryFilter(**read))


def _faults_of_ids(ids: Any) -> list[FieldError]:
    if (
        isinstance(ids, list)
        and 1 <= len(ids) <= MAX_IDS
        and all(isinstance(one, str) for one in ids)
    ):
        return []
    return [FieldError("ids", f"ids must be a list of 1 to {MAX_IDS} delivery ids")]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 128 or not value.isprintable():  # noqa: PLR2004
        raise ValueError(f"{name} must be text of 1 to 128 characters")
    return value


def _state(name: str, value: Any) -> State:
    if value not in RETRYABLE:
        raise ValueError(f"{name} must be one of: {', '.join(RETRYABLE)}")
    return State(value)


def _outcome(name: str, value: Any) -> str:
    if value not in list(OutcomeKind):
        raise ValueError(f"{name} must be one of: {', '.join(OutcomeKind)}")
    return str(value)


def _moment(name: str, value: Any) -> datetime:
    try:
        moment = msgspec.convert(value, datetime)
        if moment.tzinfo is not None:
            return moment
    except (msgspec.ValidationError, ValueError):
        pass
    raise ValueError(f"{name} must be an RFC 3339 time with its offset")


_KINDS: Final[Mapping[str, Any]] = {
    "destination_id": _text,
    "state": _state,
    "outcome": _outcome,
    "event_type": _text,
    "before": _moment,
    "after": _moment,
}


async def retry_many(
    session: AsyncSession, tenant_id: str, selection: Selection, *, actor: Actor
) -> Retried:
    """Make them due now, oldest first; what cannot be retried is counted, not an error."""
    able = and_(
        Delivery.state.in_(RETRYABLE),
        Destination.disabled_at.is_(None),
        Destination.deleted_at.is_(None),
    )
    values = {
        "state": State.RETRYING,
        "trigger": Trigger.MANUAL,
        "next_attempt_at": utcnow(),
        "settled_at": None,
        "reason": None,
    }
    count, skipped, more = await _change(
        session, tenant_id, selection, able, _why_not_retry, values
    )
    action = Action.DELIVERIES_RETRIED
    await _audit(session, tenant_id, selection, count, skipped, actor, action)
    return Retried(retried=count, skipped=skipped, more=more)


async def cancel_many(
    session: AsyncSession, tenant_id: str, selection: Selection, *, actor: Actor
) -> Cancelled:
    """Give up what waits, oldest first; what cannot be cancelled is counted, not an error."""
    values = {
        "state": State.CANCELLED,
        "next_attempt_at": None,
        "settled_at": utcnow(),
        "reason": f"cancelled by {actor.label}"[:200],
    }
    able = Delivery.state.in_(WAITING)
    count, skipped, more = await _change(
        session, tenant_id, selection, able, _why_not_cancel, values
    )
    action = Action.DELIVERIES_CANCELLED
    await _audit(session, tenant_id, selection, count, skipped, actor, action)
    return Cancelled(cancelled=count, skipped=skipped, more=more)


async def _change(
    session: AsyncSession,
    tenant_id: str,
    selection: Selection,
    able: ColumnElement[bool],
    why_not: Callable[[Row[Any]], str | None],
    values: Mapping[str, Any],
) -> tuple[int, dict[str, int], bool]:
    """Return how many were changed, how many not and why, and whether there are more."""
    rows = await _found(session, tenant_id, selection, able)
    taken, skipped = [], Counter[str]()
    for row in rows[:MAX_FOUND]:
        reason = why_not(row)
        if reason is None:
            taken.append(row.id)
        else:
            skipped[reason] += 1
    if selection.ids is not None and len(rows) < len(selection.ids):
        skipped["not_found"] = len(selection.ids) - len(rows)
    for start in range(0, len(taken), _CHUNK):
        await _write(session, tenant_id, taken[start : start + _CHUNK], values)
    return len(taken), dict(skipped), len(rows) > MAX_FOUND


async def _found(
    session: AsyncSession, tenant_id: str, selection: Selection, able: ColumnElement[bool]
) -> Sequence[Any]:
    """Lock what was selected, in one order, so that two calls at once do not deadlock."""
    query = (
        select(Delivery.id, Delivery.state, Destination.disabled_at, Destination.deleted_at)
        .join(
            Destination,
            and_(
                Destination.tenant_id == Delivery.tenant_id,
                Destination.id == Delivery.destination_id,
            ),
        )
        .where(Delivery.tenant_id == tenant_id)
        .order_by(Delivery.id)
        .with_for_update(of=Delivery)
    )
    if selection.ids is not None:
        known = [one for one in selection.ids if _ID.fullmatch(one)]
        return (await session.execute(query.where(Delivery.id.in_(known)))).all()
    query = filtered(query, selection.filter).where(able)
    return (await session.execute(query.limit(MAX_FOUND + 1))).all()


def _why_not_retry(row: Row[Any]) -> str | None:
    if row.deleted_at is not None or row.disabled_at is not None:
        return "destination_disabled" if row.deleted_at is None else "destination_deleted"
    return None if row.state in RETRYABLE else str(row.state)


def _why_not_cancel(row: Row[Any]) -> str | None:
    return None if row.state in WAITING else str(row.state)


async def _write(
    session: AsyncSession, tenant_id: str, ids: list[str], values: Mapping[str, Any]
) -> None:
    await session.execute(
        update(Delivery)
        .where(Delivery.tenant_id == tenant_id, Delivery.id.in_(ids))
        .values(**values)
        .execution_options(synchronize_session=False)
    )


async def _audit(
    session: AsyncSession,
    tenant_id: str,
    selection: Selection,
    done: int,
    skipped: Mapping[str, int],
    actor: Actor,
    action: Action,
) -> None:
    if not done:
        return
    asked = msgspec.to_builtins(selection.filter)
    changes = {
        action.value.partition(".")[2]: done,
        "skipped": sum(skipped.values()),
        **{name: value for name, value in asked.items() if value is not None},
    }
    count = f"{done} deliver{'y' if done == 1 else 'ies'}"
    target = Target("deliveries", selection.filter.destination_id or tenant_id, count)
    await audit.record(session, tenant_id, actor, action, target, changes)
