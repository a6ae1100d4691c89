"""What is owed now, per destination: counted along indexes, and never further than people read.

A count goes up to COUNTED; beyond that it says "at least", so that a look at health costs the same
with ten thousand dead letters and with a million.
"""

import functools
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Row, Select, String, bindparam, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.deliveries.models import NOTABLE, WAITING, Delivery, State
from app.destinations.models import Destination

#: Nobody reads more closely than "10,000+".
COUNTED: Final = 10_000


class Owing(msgspec.Struct):
    """Open deliveries and dead letters of one destination, or of several together."""

    counts: Counter[str] = msgspec.field(default_factory=Counter)
    oldest_due_at: datetime | None = None
    next_retry_at: datetime | None = None
    capped: set[str] = msgspec.field(default_factory=set)  # states with more than was counted


async def by_destination(session: AsyncSession, tenant_id: str) -> defaultdict[str, Owing]:
    """Return what is owed to each destination. Two queries."""
    found: defaultdict[str, Owing] = defaultdict(Owing)
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    asked = {"asked_tenant": tenant_id}
    for row in await session.execute(_counts(_due if is_sqlite else _waiting), asked):
        found[row.id] = _owing(row)
    for destination_id, count in await session.execute(_under_way(), asked):
        found[destination_id].counts[State.DELIVERING] = count
    return found


def _owing(row: Row[Any]) -> Owing:
    counts = {
        State.PENDING: max(0, row.waiting - row.retrying),
        State.RETRYING: row.retrying,
        State.FAILED: row.failed,
    }
    capped = {
        State.PENDING: row.waiting > COUNTED,
        State.RETRYING: row.retrying > COUNTED,
        State.FAILED: row.failed > COUNTED,
    }
    return Owing(
        counts=Counter({state: min(count, COUNTED) for state, count in counts.items() if count}),
        oldest_due_at=row.due_at,
        next_retry_at=row.retry_at,
        capped={state for state, is_capped in capped.items() if is_capped},
    )


Rows = Callable[..., Select[Any]]


#: Whose; a name that no column has.
_TENANT: Final = bindparam("asked_tenant", type_=String())


@functools.cache  # to put it together takes as long as to ask it
def _counts(waiting: Rows) -> Select[Any]:
    """Count for each destination what waits, is retried or failed: each along its own index."""
    return select(
        Destination.id,
        _counted(waiting).label("waiting"),
        _first(waiting).label("due_at"),
        _counted(_in_trouble, State.RETRYING).label("retrying"),
        _first(_in_trouble, State.RETRYING).label("retry_at"),
        _counted(_in_trouble, State.FAILED).label("failed"),
    ).where(Destination.tenant_id == _TENANT, Destination.deleted_at.is_(None))


@functools.cache
def _under_way() -> Select[Any]:
    return (
        select(Delivery.destination_id, func.count())
        .where(
            Delivery.tenant_id == _TENANT,
            Delivery.state == _word(State.DELIVERING),
            Delivery.lease_until.is_not(None),
        )
        .group_by(Delivery.destination_id)
        .with_hint(Delivery, "INDEXED BY ix_delivery_lease", "sqlite")
    )


def _waiting(column: Any, row: Any) -> Select[Any]:
    return _due(column, row).where(row.tenant_id == Destination.tenant_id)


def _due(column: Any, row: Any) -> Select[Any]:
    """Select what waits for a destination; without its tenant, whom SQLite's index does not know.

    The destination is the tenant's own, and so is what is owed to it.
    """
    query = select(column).where(
        row.destination_id == Destination.id, row.state.in_([_word(s) for s in WAITING])
    )
    return query.correlate(Destination).with_hint(row, "INDEXED BY ix_delivery_due", "sqlite")


def _in_trouble(column: Any, row: Any, state: State) -> Select[Any]:
    query = select(column).where(
        row.tenant_id == Destination.tenant_id,
        row.destination_id == Destination.id,
        row.state == _word(state),
        row.state.in_([_word(s) for s in NOTABLE]),
    )
    return query.correlate(Destination).with_hint(row, "INDEXED BY ix_delivery_trouble", "sqlite")


def _counted(of: Rows, *state: State) -> Any:
    some = of(literal_column("1").label("one"), aliased(Delivery), *state).limit(COUNTED + 1)
    return select(func.count()).select_from(some.subquery()).scalar_subquery()


def _first(of: Rows, *state: State) -> Any:
    row = aliased(Delivery)
    some = of(row.next_attempt_at, row, *state)
    # What waits is in the order of its time; of the retried, those that were counted are looked at.
    order = row.id.desc() if state else row.next_attempt_at
    first = some.order_by(order).limit(COUNTED if state else 1).subquery()
    return select(func.min(first.c.next_attempt_at)).scalar_subquery()


def _word(state: State) -> ColumnElement[str]:
    return literal_column(f"'{state}'")  # a literal: so a partial index is known to hold all


def sum_of(parts: dict[str, Owing]) -> Owing:
    total = Owing()
    for part in parts.values():
        total.counts.update(part.counts)
        total.oldest_due_at = _earliest(total.oldest_due_at, part.oldest_due_at)
        total.next_retry_at = _earliest(total.next_retry_at, part.next_retry_at)
        total.capped |= part.capped
    for state in total.capped:
        total.counts[state] = max(COUNTED, total.counts[state])
    return total


def _earliest(a: datetime | None, b: datetime | None) -> datetime | None:
    return min((moment for moment in (a, b) if moment is not None), default=None)
