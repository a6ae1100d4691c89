"""A claim, and the lists that people look at, walk an index whatever they are filtered by."""

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import event as sa_event
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import utcnow
from app.deliveries import queries
from app.deliveries.models import State
from app.deliveries.queries import DeliveryFilter
from app.deliveries.store import ClaimRequest
from tests.world import World

FILTERS = {
    "all": DeliveryFilter(),
    "of a destination": DeliveryFilter(destination_id="dst_1"),
    "of an event": DeliveryFilter(event_id="evt_1"),
    "dead letters": DeliveryFilter(state=State.FAILED),
    "retrying": DeliveryFilter(state=State.RETRYING),
    "of a time": DeliveryFilter(before=utcnow(), after=utcnow() - timedelta(hours=1)),
}


@pytest.mark.parametrize("wanted", FILTERS.values(), ids=FILTERS.keys())
async def test_a_list_of_deliveries_never_scans_the_table(
    world: World, wanted: DeliveryFilter
) -> None:
    plan = await explained(
        world, lambda session: queries.list_deliveries(session, "acme", wanted, limit=50)
    )

    assert not scans(plan), plan
    assert "delivery" in plan


async def test_a_claim_scans_no_table(world: World) -> None:
    request = ClaimRequest(limit=100, per_lane=16, busy={"dst_1": 3}, token="t", lease_s=30)

    plan = await explained(world, lambda session: claim(world, session, request))

    assert not scans(plan), plan
    assert "delivery" in plan


async def claim(world: World, session: AsyncSession, request: ClaimRequest) -> None:
    await world.services.store.claim(await session.connection(), request)


def scans(plan: str) -> list[str]:
    """Return the lines that read a whole table; a common table expression is none."""
    of_postgres = re.findall(r"Seq Scan on (?:delivery|event|destination|lane)\w*.*", plan)
    of_sqlite = re.findall(r"SCAN (?:delivery|event|destination|lane|d|e|s|l)(?: |$)(?!USING).*",
                           plan, re.MULTILINE)  # fmt: skip
    return of_postgres + of_sqlite


async def explained(world: World, run: Callable[[AsyncSession], Awaitable[object]]) -> str:
    """Return the plan of the very statement that does the work: the first that it runs."""
    database = world.database
    seen: list[tuple[str, object]] = []

    def remember(_c: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            seen.append((statement, values))

    async with database.transaction() as session:
        if database.dialect == "postgresql":
            await session.execute(text("SET LOCAL enable_seqscan = off"))
        engine = session.get_bind()
        sa_event.listen(engine, "before_cursor_execute", remember)
        try:
            await run(session)
        finally:
            sa_event.remove(engine, "before_cursor_execute", remember)
        statement, values = seen[0]
        prefix = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
        connection = await session.connection()
        rows = await connection.exec_driver_sql(f"{prefix} {statement}", values)
        return "\n".join(str(row[3] if database.dialect == "sqlite" else row[0]) for row in rows)
