"""A claim and every list walk an index, whatever they are filtered by, and never too far."""

import itertools
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import event as sa_event
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import reading
from app.audit.trail import AuditFilter
from app.database import Database, utcnow
from app.deliveries import history, owed, queries
from app.deliveries.models import State
from app.deliveries.queries import DeliveryFilter, EventFilter
from app.deliveries.store import ClaimRequest
from app.sending.outcome import OutcomeKind
from app.tools.measure.rows import fill
from tests.world import World

#: Every way in which the page filters; None: not by this.
CHOICES: dict[str, tuple[Any, ...]] = {
    "state": (None, *State),
    "outcome": (None, OutcomeKind.DELIVERED, OutcomeKind.TIMEOUT),
    "destination_id": (None, "one of them"),
    "event_type": (None, "license.expired"),
    "after": (None, utcnow() - timedelta(days=6)),
}
ROWS = 6_000
WALK = 500
#: What a plan may touch besides: a page, and the counting of what waits.
MARGIN = 120
#: An empty partition may be scanned: there is nothing to read, and nothing that is removed.
READ_ALL = re.compile(r"Seq Scan on (?:event_|audit_entry|delivery).*actual rows=(?!0[ .])")
REMOVED = re.compile(r"Rows Removed by Filter: (\d+)")


def combinations(place: str) -> list[DeliveryFilter]:
    made = [
        DeliveryFilter(**dict(zip(CHOICES, values, strict=True)))
        for values in itertools.product(*CHOICES.values())
    ]
    return [
        msgspec.structs.replace(one, destination_id=one.destination_id and place) for one in made
    ]


async def filled(world: World, count: int) -> list[str]:
    """Give acme three destinations and so many deliveries; return the destinations."""
    places = [(await world.make_destination(f"http://127.0.0.1:9/{n}"))["id"] for n in range(3)]
    await fill(world.database, "acme", places, count)
    return places


async def executed(
    database: Database, run: Callable[[Any], Awaitable[object]], *, writes: bool = False
) -> list[Any]:
    """Return each statement that `run` executes, with its values."""
    seen: list[Any] = []

    def remember(_c: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        is_asked = writes or statement.startswith(("SELECT", "WITH"))
        if is_asked and not statement.startswith("BEGIN") and "set_config" not in statement:
            seen.append((statement, values))

    async with database.transaction() if writes else database.reading() as session:
        engine = session.get_bind()
        sa_event.listen(engine, "before_cursor_execute", remember)
        try:
            await run(session)
        finally:
            sa_event.remove(engine, "before_cursor_execute", remember)
    return seen


async def explained(database: Database, statements: list[Any], how: str) -> list[str]:
    plans = []
    async with database.reading() as session:
        connection = await session.connection()
        if database.dialect == "postgresql":  # so few rows are scanned by choice, not for want
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for statement, values in statements:
            rows = await connection.exec_driver_sql(f"{how} {statement}", values)
            plans.append("\n".join(str(row[3] if "QUERY" in how else row[0]) for row in rows))
    return plans


def test_every_combination_of_filters_is_among_them() -> None:
    assert len({str(one) for one in combinations("dst_2")}) == 7 * 3 * 2 * 2 * 2


async def test_no_list_reads_more_than_it_may_whatever_it_is_filtered_by(world: World) -> None:
    database = world.database
    place, *_ = await filled(world, ROWS)
    too_far = {}
    for wanted in combinations(place):
        statements = await executed(
            database,
            lambda s, w=wanted: queries.look_for(s, "acme", w, limit=51, walk=WALK),  # type: ignore[misc]
        )
        if database.dialect == "sqlite":
            plans = await explained(database, statements, "EXPLAIN QUERY PLAN")
            scans = [p for p in plans if re.search(r"SCAN delivery\b(?! USING)", p)]
            # The index that leads is named in the statement: SQLite takes it or fails.
            if scans or not all("INDEX" in plan for plan in plans):
                too_far[str(wanted)] = plans
            continue
        plans = await explained(database, statements, "EXPLAIN (ANALYZE, TIMING OFF)")
        removed = [int(n) for plan in plans for n in REMOVED.findall(plan)]
        if max(removed, default=0) > WALK + MARGIN:
            too_far[str(wanted)] = plans

    assert too_far == {}


async def test_a_page_that_ends_at_its_bound_says_where_and_the_next_ones_find_all(
    world: World,
) -> None:
    await filled(world, ROWS)
    wanted = DeliveryFilter(state=State.DELIVERED, event_type="alert.kind_3")

    async with world.database.reading("acme") as session:
        whole = await queries.list_deliveries(session, "acme", wanted, limit=ROWS)
        found, below, pages = [], None, 0
        while True:
            page = await queries.look_for(session, "acme", wanted, limit=40, below=below, walk=100)
            found += page.rows
            pages += 1
            below = page.ended or (page.rows[-1].id if len(page.rows) == 40 else None)
            if below is None:
                break

    assert len(whole) > 300
    assert pages > 4
    assert [row.id for row in whole] == [row.id for row in found]


async def test_every_combination_finds_exactly_what_it_names(world: World) -> None:
    database = world.database
    place, *_ = await filled(world, 1_500)
    async with database.reading("acme") as session:
        everything = await queries.list_deliveries(session, "acme", DeliveryFilter(), limit=5_000)
        assert len(everything) == 1_500
        for wanted in combinations(place):
            found = await queries.list_deliveries(session, "acme", wanted, limit=5_000)
            expected = [
                row.id
                for row in everything
                if wanted.state in (None, row.state)
                and wanted.outcome in (None, row.last_outcome)
                and wanted.destination_id in (None, row.destination_id)
                and wanted.event_type in (None, row.event_type)
                and (wanted.after is None or row.created_at >= wanted.after)
            ]
            assert expected == [row.id for row in found], wanted


async def test_events_and_the_trail_are_read_by_their_indexes(world: World) -> None:
    database = world.database
    await filled(world, ROWS)
    day = utcnow() - timedelta(days=3)
    reads: list[Callable[[Any], Awaitable[object]]] = [
        lambda s: queries.event_types(s, "acme"),
        *(
            lambda s, w=w: queries.list_events(s, "acme", w, limit=51)  # type: ignore[misc]
            for w in (EventFilter(), EventFilter(type="license.expired"), EventFilter(before=day))
        ),
        *(
            lambda s, w=w: reading.look_for(s, "acme", w, limit=51, walk=WALK)  # type: ignore[misc]
            for w in (
                AuditFilter(),
                AuditFilter(actor="nobody"),
                AuditFilter(action="destination.disabled"),
                AuditFilter(target="nothing", before=day, after=day - timedelta(days=1)),
            )
        ),
        lambda s: owed.by_destination(s, "acme"),
        lambda s: history.pasts(s, "acme", history.Window.DAY),
    ]
    for read in reads:
        statements = await executed(database, read)
        assert statements
        if database.dialect == "sqlite":
            plans = await explained(database, statements, "EXPLAIN QUERY PLAN")
            for plan in plans:
                assert not re.search(r"SCAN (event|audit_entry|delivery|rollup)\b(?! USING)", plan)
        else:
            plans = await explained(database, statements, "EXPLAIN (ANALYZE, TIMING OFF)")
            for plan in plans:
                assert not READ_ALL.search(plan), plan
                removed = max(map(int, REMOVED.findall(plan)), default=0)
                assert removed <= reading.SLACK + WALK + MARGIN, plan


async def test_counts_end_where_nobody_reads_on(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(owed, "COUNTED", 20)
    places = [(await world.make_destination(f"http://127.0.0.1:9/{n}"))["id"] for n in range(2)]
    await fill(world.database, "acme", places, ROWS)
    async with world.database.begin() as c:
        failed = await c.execute(
            text("SELECT destination_id, count(*) FROM delivery WHERE state = 'failed' GROUP BY 1")
        )
        assert min(row[1] for row in failed) > 20

    async with world.database.reading("acme") as session:
        found = await owed.by_destination(session, "acme")

    assert {20} == {found[place].counts[State.FAILED] for place in places}
    assert all(State.FAILED in found[place].capped for place in places)
    total = owed.sum_of(found)
    assert (20 * 2, True) == (total.counts[State.FAILED], State.FAILED in total.capped)


async def test_a_claim_scans_no_table(world: World) -> None:
    request = ClaimRequest(limit=100, per_lane=16, busy={"dst_1": 3}, token="t", lease_s=30)

    async def claim(session: AsyncSession) -> None:
        await world.services.store.claim(await session.connection(), request)

    statements = await executed(world.database, claim, writes=True)
    how = "EXPLAIN QUERY PLAN" if world.database.dialect == "sqlite" else "EXPLAIN"
    (plan,) = await explained(world.database, statements[:1], how)

    assert not scans(plan), plan
    assert "delivery" in plan


def scans(plan: str) -> list[str]:
    """Return the lines that read a whole table; a common table expression is none."""
    of_postgres = re.findall(r"Seq Scan on (?:delivery|event|destination|lane)\w*.*", plan)
    of_sqlite = re.findall(r"SCAN (?:delivery|event|destination|lane|d|e|s|l)(?: |$)(?!USING).*",
                           plan, re.MULTILINE)  # fmt: skip
    return of_postgres + of_sqlite
