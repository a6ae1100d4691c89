"""Forgetting what is old: rows in small steps, whole partitions on PostgreSQL."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from app.database import utcnow
from app.database.base import id_floor
from app.deliveries import partitions, retention
from tests.receiver import Receiver
from tests.world import World

LONG_AGO = utcnow() - timedelta(days=100)


async def rows(world: World, table: str) -> int:
    async with world.database.begin() as c:
        return int((await c.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


async def age(world: World, table: str, column: str, prefix: str) -> None:
    """Give every row of a table an id as if it had been made long ago."""
    floor = id_floor(prefix, LONG_AGO)
    async with world.database.begin() as c:
        cut = "substr" if world.database.dialect == "sqlite" else "right"
        rest = f"{cut}({column}, {'17' if cut == 'substr' else '20'})"
        await c.execute(text(f"UPDATE {table} SET {column} = :floor || {rest}"), {"floor": floor})


def _first_week(moment: datetime) -> list[str]:
    week = partitions.name_of("event", partitions.week_of(moment))
    return [one for one in partitions.statements(moment) if f" {week} " in one]


async def test_what_is_settled_and_old_is_forgotten_and_what_is_owed_stays(world: World) -> None:
    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        async with world.worker():
            await world.publish(id="first")
            await world.until(lambda: world.deliveries(state="delivered"))
    await age(world, "delivery", "id", "dlv")
    await world.publish(id="second")

    removed = await retention.run(world.database, days=90)

    assert 1 == removed["delivery"]
    assert ["pending"] == [row["state"] for row in await world.deliveries()]


async def test_old_events_go_with_their_deliveries(world: World) -> None:
    await world.publish()
    await age(world, "event", "id", "evt")
    await world.publish()
    if world.database.dialect == "postgresql":  # retention drops partitions: make the old one
        async with world.database.begin() as c:
            await c.execute(text("ALTER TABLE event DETACH PARTITION event_default"))
            for statement in _first_week(LONG_AGO):
                await c.execute(text(statement))
            await c.execute(text("INSERT INTO event SELECT * FROM event_default"))
            await c.execute(text("DROP TABLE event_default"))

    await retention.run(world.database, days=90)

    assert 1 == await rows(world, "event")


async def test_expired_keys_and_counts_are_forgotten(world: World) -> None:
    await world.publish(id="mine")
    old: object = LONG_AGO
    if world.database.dialect == "sqlite":
        old = int(LONG_AGO.timestamp() * 1000)
    async with world.database.begin() as c:
        await c.execute(text("UPDATE idempotency_key SET created_at = :old"), {"old": old})
        await c.execute(
            text("INSERT INTO rollup VALUES ('acme', 'dst', 60, :slot, 'delivered', 4, 1)"),
            {"slot": int(LONG_AGO.timestamp())},
        )

    removed = await retention.run(world.database, days=90)

    assert (1, 1) == (removed["idempotency_key"], removed["rollup"])


def test_a_week_starts_on_monday_at_midnight_utc() -> None:
    sunday = datetime(2026, 11, 29, 23, 59, tzinfo=UTC)

    assert datetime(2026, 11, 23, tzinfo=UTC) == partitions.week_of(sunday)
    assert "event_20261123" == partitions.name_of("event", partitions.week_of(sunday))


async def test_partitions_are_made_ahead_and_take_new_rows(world: World) -> None:
    if world.database.dialect == "sqlite":
        await partitions.make_ahead(world.database)  # nothing to do, and it says nothing
        assert 0 == await rows(world, "event")
        return
    await partitions.make_ahead(world.database)
    await partitions.make_ahead(world.database)
    await world.publish()

    async with world.database.begin() as c:
        where = await c.execute(text("SELECT tableoid::regclass::text FROM event"))
        assert partitions.name_of("event", partitions.week_of(utcnow())) == where.scalar_one()
