"""Forgetting what is old: rows in small steps, whole partitions on PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event as sa_event
from sqlalchemy import text

from app.database import Database, utcnow
from app.database.base import id_floor, to_millis
from app.deliveries import heartbeat, partitions, retention
from app.deliveries.models import Heartbeat
from tests.receiver import Receiver
from tests.world import World

LONG_AGO = utcnow() - timedelta(days=100)
OVER_SESSION = """
INSERT INTO portal_session (tenant_id, id, member_id, token_hash, created_at, last_seen_at,
                            expires_at, address, user_agent)
VALUES ('acme', 'ses_1', 'usr_1', :hash, :old, :old, :old, '', '')
"""
OVER_JOB = """
INSERT INTO replay_job (tenant_id, id, destination_id, since, until, states, event_types,
                        rate_per_second, state, cursor, scanned, matched, created, created_by,
                        created_at, updated_at, ended_at)
VALUES ('acme', 'job_1', 'dst_1', :old, :old, '[]', '[]', 10, 'finished', '', 0, 0, 0, 'x',
        :old, :old, :old)
"""


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
    await into_their_week(world)
    await world.publish()

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


async def test_a_step_deletes_no_more_than_its_rows_and_a_rest_follows_each(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP_ROWS", 7)
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    await many_old_keys(world, 30)
    monkeypatch.setattr(retention.asyncio, "sleep", rest)
    deleted = await counted_deletes(world)

    assert [7, 7, 7, 7, 2] == deleted
    assert 4 == len(rests)
    assert all(seconds > 0 for seconds in rests)


async def test_what_may_not_go_is_stepped_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP_ROWS", 3)
    await many_old_deliveries(world, 20, "CASE WHEN n % 2 = 0 THEN 'pending' ELSE 'failed' END")

    removed = await retention.run(world.database, days=90)

    assert 10 == removed["delivery"]
    assert {"pending"} == await states(world)


async def test_a_run_that_was_cut_short_is_taken_up_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP_ROWS", 5)
    await many_old_keys(world, 23)
    with monkeypatch.context() as cut:
        cut.setattr(retention.asyncio, "sleep", cancelled)
        with pytest.raises(asyncio.CancelledError):
            await retention.run(world.database, days=90)
    left = await rows(world, "idempotency_key")
    removed = await retention.run(world.database, days=90)

    assert (18, 18) == (left, removed["idempotency_key"])


async def test_events_are_taken_in_while_much_is_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP_ROWS", 50)
    await many_old_deliveries(world, 600, "'delivered'")
    run = asyncio.create_task(retention.run(world.database, days=90))
    taken = 0
    while not run.done():
        await world.publish()
        taken += 1

    assert 600 == (await run)["delivery"]
    assert taken >= 5


async def test_sessions_jobs_secrets_and_minutes_go_when_their_time_is_over(world: World) -> None:
    await world.make_destination("https://8.8.8.8/")
    old = moment(world, LONG_AGO)
    async with world.database.begin() as c:
        await c.execute(text("UPDATE signing_secret SET expires_at = :old"), {"old": old})
        await c.execute(text(OVER_SESSION), {"old": old, "hash": bytes(32)})
        await c.execute(text(OVER_JOB), {"old": old})
        for slot_s in (60, 900):
            await c.execute(
                text("INSERT INTO rollup VALUES ('acme', 'dst', :s, :slot, 'delivered', 4, 1)"),
                {"s": slot_s, "slot": int((utcnow() - timedelta(days=2)).timestamp())},
            )

    removed = await retention.run(world.database, days=90)

    tables = ("signing_secret", "portal_session", "replay_job", "rollup")
    assert [1, 1, 1, 1] == [removed[table] for table in tables]
    assert 1 == await rows(world, "rollup"), "the quarters of an hour stay"


async def test_a_week_that_somebody_reads_is_dropped_later_and_holds_nobody_up(
    world: World,
) -> None:
    if world.database.dialect == "sqlite":
        assert {} == {k: v for k, v in (await retention.run(world.database, days=90)).items() if v}
        return
    async with world.database.begin() as c:
        for statement in _first_week(LONG_AGO):
            await c.execute(text(statement))
    reader = Database(world.url)
    try:
        async with reader.begin() as c:
            await c.execute(text("SELECT count(*) FROM event"))
            kept = await partitions.drop_before(world.database, utcnow() - timedelta(days=90))
            await asyncio.wait_for(world.publish(), 5)
    finally:
        await reader.close()
    dropped = await partitions.drop_before(world.database, utcnow() - timedelta(days=90))

    assert (0, 1) == (kept["event weeks"], dropped["event weeks"])


async def test_the_event_of_a_replay_that_is_still_owed_stays(world: World) -> None:
    await world.make_destination("https://8.8.8.8/")
    await world.publish()
    await age(world, "event", "id", "evt")
    async with world.database.begin() as c:
        await c.execute(text("UPDATE delivery SET event_id = (SELECT id FROM event)"))
    await into_their_week(world)
    owed = await retention.run(world.database, days=90)
    async with world.database.begin() as c:
        await c.execute(text("DELETE FROM delivery"))
    forgotten = await retention.run(world.database, days=90)

    name = "event weeks" if world.database.dialect == "postgresql" else "event"
    assert (0, 1) == (owed[name], forgotten[name])


async def test_workers_that_went_long_ago_are_forgotten_by_the_next_beat(world: World) -> None:
    async with world.database.transaction() as session:
        session.add(Heartbeat(worker_id="gone", started_at=LONG_AGO, seen_at=LONG_AGO, in_flight=0))
    async with world.database.transaction() as session:
        await heartbeat.beat(session, "here", started_at=utcnow(), load=0)

    assert 1 == await rows(world, "worker_heartbeat")


async def into_their_week(world: World) -> None:
    """Move what the default partition took into the old week's own, as if it had always been."""
    if world.database.dialect == "sqlite":
        return
    async with world.database.begin() as c:
        await c.execute(text("ALTER TABLE event DETACH PARTITION event_default"))
        for statement in _first_week(LONG_AGO):
            await c.execute(text(statement))
        await c.execute(text("INSERT INTO event SELECT * FROM event_default"))
        await c.execute(text("DROP TABLE event_default"))
        await c.execute(text("CREATE TABLE event_default PARTITION OF event DEFAULT"))


async def test_what_fell_into_no_week_goes_by_rows(world: World) -> None:
    await world.publish()
    await age(world, "event", "id", "evt")
    await world.publish()

    await retention.run(world.database, days=90)

    assert 1 == await rows(world, "event")


async def states(world: World) -> set[str]:
    async with world.database.begin() as c:
        return set((await c.execute(text("SELECT state FROM delivery"))).scalars())


def moment(world: World, at: datetime) -> object:
    return to_millis(at) if world.database.dialect == "sqlite" else at


async def many_old_keys(world: World, count: int) -> None:
    async with world.database.begin() as c:
        await c.execute(
            text("INSERT INTO idempotency_key VALUES ('acme', :key, 'evt_1', :old)"),
            [{"key": f"k{n:04}", "old": moment(world, LONG_AGO)} for n in range(count)],
        )


async def many_old_deliveries(world: World, count: int, state: str) -> None:
    old = moment(world, LONG_AGO)
    cast = "timestamptz" if world.database.dialect == "postgresql" else "bigint"
    async with world.database.begin() as c:
        await c.execute(
            text(
                "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :count)"
                " INSERT INTO delivery (tenant_id, id, destination_id, event_id, event_type,"
                f" state, trigger, ordered, attempt_count, retries_used, created_at)"
                f" SELECT 'acme', :floor || substr('00000000000000' || n, -8), 'dst_1', 'evt_1',"
                f" 'alert.created', {state}, 'scheduled', false, 0, 0, CAST(:old AS {cast}) FROM s"
            ).bindparams(count=count, floor=id_floor("dlv", LONG_AGO), old=old)
        )


async def counted_deletes(world: World) -> list[int]:
    """Run the retention; return how many rows each transaction that deleted keys took."""
    seen: list[int] = []

    def count(_c: object, cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("DELETE FROM idempotency_key"):
            seen.append(cursor.rowcount)  # type: ignore[attr-defined]

    engine = world.database.engine.sync_engine
    sa_event.listen(engine, "after_cursor_execute", count)
    try:
        await retention.run(world.database, days=90)
    finally:
        sa_event.remove(engine, "after_cursor_execute", count)
    return seen


async def cancelled(_seconds: float) -> None:
    raise asyncio.CancelledError
