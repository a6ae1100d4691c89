"""The lists that people look at walk an index, whatever they are filtered by."""

from datetime import timedelta

import pytest
from sqlalchemy import event as sa_event
from sqlalchemy import text

from app.database import utcnow
from app.deliveries import queries
from app.deliveries.models import State
from app.deliveries.queries import DeliveryFilter
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
    plan = await explained(world, wanted)

    scanned = "Seq Scan on delivery" in plan or "SCAN delivery\n" in f"{plan}\n"
    assert not scanned, plan
    assert "delivery" in plan


async def explained(world: World, wanted: DeliveryFilter) -> str:
    """Return the plan of the very statement that the list runs."""
    database = world.database
    seen: list[tuple[str, object]] = []

    def remember(_c: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        seen.append((statement, values))

    async with database.reading() as session:
        if database.dialect == "postgresql":
            await session.execute(text("SET LOCAL enable_seqscan = off"))
        engine = session.get_bind()
        sa_event.listen(engine, "before_cursor_execute", remember)
        try:
            await queries.list_deliveries(session, "acme", wanted, limit=50)
        finally:
            sa_event.remove(engine, "before_cursor_execute", remember)
        statement, values = seen[-1]
        prefix = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
        connection = await session.connection()
        rows = await connection.exec_driver_sql(f"{prefix} {statement}", values)
        return "\n".join(str(row[3] if database.dialect == "sqlite" else row[0]) for row in rows)
