"""How a list of deliveries is walked: along one index, and never further than a page is worth.

Every filter has an index of its own; two filters together have not. Then the narrower one leads,
and a page looks at no more than WALK of its rows: it ends there, says so, and the next page goes
on. That bounds what a page costs with any filters, however many rows there are.
"""

from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database.base import id_floor
from app.deliveries.models import NOTABLE, WAITING, Delivery, State
from app.destinations.models import Destination
from app.sending.outcome import OutcomeKind

#: How many rows of the leading index one page looks at, at most.
WALK: Final = 10_000

Condition = ColumnElement[bool]


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries to list; None does not restrict. Times are of the delivery's creation."""

    destination_id: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    outcome: str | None = None
    state: State | None = None
    before: datetime | None = None
    after: datetime | None = None


class Road(msgspec.Struct, frozen=True):
    """The index that leads, the conditions that it answers, and those left to each row.

    An empty index is the primary key. `is_short`: it has few rows, all of which may be looked at.
    """

    index: str
    leading: list[Condition]
    rest: list[Condition]
    is_short: bool = False


def filtered(query: Select[Any], wanted: DeliveryFilter) -> Select[Any]:
    """Restrict a query of deliveries to those that the filter wants."""
    return query.where(*(c for _, conditions in _asked(wanted) for c in conditions), *_span(wanted))


def _span(wanted: DeliveryFilter) -> list[Condition]:
    # Ids rise with time, so a range of time is a range of the key.
    span: list[Condition] = []
    if wanted.before:
        span.append(Delivery.id < id_floor("dlv", wanted.before))
    if wanted.after:
        span.append(Delivery.id >= id_floor("dlv", wanted.after))
    return span


def _asked(wanted: DeliveryFilter) -> list[tuple[str, list[Condition]]]:
    """Return each filter with its index, the one that likely leaves the fewest rows first.

    States and outcomes are literals, and the partial indexes' own conditions are said again:
    only so both engines see that the index holds every row that is asked for.
    """
    asked: list[tuple[str, list[Condition]]] = []
    state = wanted.state
    if wanted.event_id is not None:
        asked.append(("ix_delivery_event", [Delivery.event_id == wanted.event_id]))
    if wanted.outcome == OutcomeKind.DELIVERED:
        # The same rows; whoever asks for another state besides asks for none.
        delivered = Delivery.last_outcome == _word(OutcomeKind.DELIVERED)
        asked.append(("", [delivered, _is(State.DELIVERED)]))
    elif wanted.outcome is not None:
        undelivered = Delivery.last_outcome != _word(OutcomeKind.DELIVERED)
        asked.append(
            ("ix_delivery_outcome", [Delivery.last_outcome == wanted.outcome, undelivered])
        )
    of_place = [Delivery.destination_id == wanted.destination_id]
    if state in NOTABLE and wanted.destination_id is not None:
        asked.append(("ix_delivery_trouble", [*of_place, _is(state), _in(*NOTABLE)]))
    elif state in NOTABLE:
        asked.append(("ix_delivery_notable", [_is(state), _in(*NOTABLE)]))
    elif state is State.DELIVERING:
        asked.append(("ix_delivery_lease", [_is(state), Delivery.lease_until.is_not(None)]))
    elif state is not None:
        asked.append(("", [_is(state)]))
    if wanted.destination_id is not None and state not in NOTABLE:
        asked.append(("ix_delivery_destination", of_place))
    if wanted.event_type is not None:
        asked.append(("ix_delivery_type", [Delivery.event_type == wanted.event_type]))
    return asked


def _word(value: str) -> ColumnElement[str]:
    return literal_column(f"'{value}'")  # of an enumeration of ours, never of a request


def _is(state: State) -> Condition:
    return Delivery.state == _word(state)


def _in(*states: State) -> Condition:
    return Delivery.state.in_([_word(state) for state in states])


async def road_of(session: AsyncSession, tenant_id: str, wanted: DeliveryFilter) -> Road:
    """Choose the way to what the filter wants."""
    asked = _asked(wanted)
    if wanted.state is State.PENDING and await _few_wait(session, tenant_id):
        return Road("ix_delivery_due", _waiting(tenant_id), _conditions(asked), is_short=True)
    lead = next((n for n, (index, _) in enumerate(asked) if index), None)
    if lead is None:
        return Road("", [], _conditions(asked))
    index, leading = asked.pop(lead)
    is_short = index in {"ix_delivery_event", "ix_delivery_lease"}
    return Road(index, leading, _conditions(asked), is_short)


def _conditions(asked: list[tuple[str, list[Condition]]]) -> list[Condition]:
    return [condition for _, conditions in asked for condition in conditions]


def _waiting(tenant_id: str) -> list[Condition]:
    # By destination, because that is what SQLite's index of what is due begins with.
    own = select(Destination.id).where(Destination.tenant_id == tenant_id)
    return [_in(*WAITING), Delivery.destination_id.in_(own)]


async def _few_wait(session: AsyncSession, tenant_id: str) -> bool:
    """Whether all that waits can be looked at; else it is most of what there is anyway."""
    some: Select[Any] = select(literal_column("1").label("one")).select_from(Delivery)
    some = some.where(*_waiting(tenant_id))
    if session.get_bind().dialect.name != "sqlite":  # whose index does not know the tenant
        some = some.where(Delivery.tenant_id == tenant_id)
    some = _along("ix_delivery_due", some.limit(WALK + 1))
    count = select(func.count()).select_from(some.subquery())
    return (await session.execute(count)).scalar_one() <= WALK


def _along(index: str, query: Select[Any]) -> Select[Any]:
    """Lead SQLite, which knows no numbers of rows; PostgreSQL finds the way by its statistics."""
    return query.with_hint(Delivery, f"INDEXED BY {index}", "sqlite") if index else query


async def look(
    session: AsyncSession,
    tenant_id: str,
    wanted: DeliveryFilter,
    columns: tuple[Any, ...],
    *,
    limit: int,
    below: str | None = None,
    walk: int | None = WALK,
) -> tuple[Select[Any], str | None]:
    """Return the query of a page, newest first, and where its look ends (None: at the end).

    The page goes on with an id under where the look ended, also when it holds nothing.
    """
    road = await road_of(session, tenant_id, wanted)
    bounds = _span(wanted) + ([Delivery.id < below] if below else [])
    base = [Delivery.tenant_id == tenant_id, *road.leading, *bounds]
    end: str | None = None
    if walk is not None and road.rest and not road.is_short:
        far = select(Delivery.id).where(*base).order_by(Delivery.id.desc()).offset(walk).limit(1)
        end = (await session.execute(_along(road.index, far))).scalar_one_or_none()
    rows = select(*columns).where(*base, *road.rest)
    if end is not None:
        rows = rows.where(Delivery.id >= end)
    return _along(road.index, rows.order_by(Delivery.id.desc()).limit(limit)), end
