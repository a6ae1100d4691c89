"""One face over two engines: what is committed, what is rolled back, what comes back unchanged."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from app.database import Database, insert_if_absent, new_id, utcnow
from app.database.base import EPOCH, from_millis, id_floor, to_millis
from app.identity.models import Tenant
from tests.api.rows import count
from tests.world import World


@pytest.fixture
def world(shared: World) -> World:
    return shared


async def add(database: Database, tenant_id: str) -> None:
    async with database.transaction() as session:
        session.add(Tenant(id=tenant_id, name="x"))


async def test_a_transaction_commits_at_its_end(world: World) -> None:
    await add(world.database, "new")

    assert 1 == await count(world.database, Tenant, id="new")


async def test_a_transaction_that_fails_leaves_nothing_and_the_next_one_works(world: World) -> None:
    async def half_way() -> None:
        async with world.database.transaction() as session:
            session.add(Tenant(id="half", name="x"))
            await session.flush()
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        await half_way()
    with pytest.raises(IntegrityError):
        await add(world.database, "acme")
    await add(world.database, "after")

    assert [0, 1] == [await count(world.database, Tenant, id=one) for one in ("half", "after")]


async def test_a_cancelled_transaction_leaves_nothing_and_blocks_nobody(world: World) -> None:
    inside = asyncio.Event()

    async def slow() -> None:
        async with world.database.transaction() as session:
            session.add(Tenant(id="slow", name="x"))
            await session.flush()
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(slow())
    await inside.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(add(world.database, "next"), 5)

    assert [0, 1] == [await count(world.database, Tenant, id=one) for one in ("slow", "next")]


async def test_a_reader_is_not_kept_waiting_by_a_writer(world: World) -> None:
    async with world.database.transaction() as session:
        session.add(Tenant(id="unseen", name="x"))
        await session.flush()
        seen = await asyncio.wait_for(count(world.database, Tenant, id="unseen"), 5)

    assert (0, 1) == (seen, await count(world.database, Tenant, id="unseen"))


async def test_many_writers_at_once_all_get_their_turn(world: World) -> None:
    before = await count(world.database, Tenant)

    await asyncio.gather(*(add(world.database, f"t{number}") for number in range(60)))

    assert before + 60 == await count(world.database, Tenant)


async def test_two_processes_write_to_one_database(world: World) -> None:
    other, before = Database(world.url), await count(world.database, Tenant)
    try:
        await asyncio.gather(
            *(add(world.database, f"a{n}") for n in range(20)),
            *(add(other, f"b{n}") for n in range(20)),
        )
    finally:
        await other.close()

    assert before + 40 == await count(world.database, Tenant)


@pytest.mark.parametrize("shared_url", ["sqlite"], indirect=True, scope="module")
async def test_on_sqlite_a_commit_is_on_the_disk_and_reads_cannot_write(world: World) -> None:
    async def pragma(name: str) -> int:
        async with world.database.transaction() as session:
            return int((await session.execute(text(f"PRAGMA {name}"))).scalar_one())

    assert (2, 1) == (await pragma("synchronous"), await pragma("foreign_keys"))
    with pytest.raises(Exception, match="readonly"):
        async with world.database.reading() as session:
            await session.execute(text("DELETE FROM tenant"))


async def test_an_existing_row_is_left_alone(world: World) -> None:
    async with world.database.transaction() as session:
        for name in ("Other", "Another"):
            values = {"id": "acme", "name": name, "created_at": utcnow()}
            await session.execute(insert_if_absent(session, Tenant, values))
        found = await session.get_one(Tenant, "acme")

    assert "Acme Corp" == found.name


async def test_moments_come_back_in_utc_as_they_went_in(world: World) -> None:
    moments = [
        utcnow(),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 11, 23, 15, 0, 0, 123_000, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    ]
    for number, moment in enumerate(moments):
        async with world.database.transaction() as session:
            session.add(Tenant(id=f"m{number}", name="x", created_at=moment))
    async with world.database.reading() as session:
        query = select(Tenant.created_at).where(Tenant.id.like("m%")).order_by(Tenant.id)
        found = list((await session.execute(query)).scalars())

    assert found == moments
    assert {timedelta(0)} == {moment.utcoffset() for moment in found}


def test_ids_rise_in_the_order_they_are_made_and_with_time() -> None:
    ids = [new_id("evt") for _ in range(5_000)]

    assert ids == sorted(set(ids))
    assert all(len(one) == 36 for one in ids)


def test_the_floor_of_a_moment_divides_the_ids_before_it_from_those_after() -> None:
    before = new_id("evt")
    stamp = int(before.removeprefix("evt_")[:12], 16)
    made = EPOCH + timedelta(milliseconds=stamp)

    assert id_floor("evt", made) <= before < id_floor("evt", made + timedelta(milliseconds=1))
    assert "evt_000000000000" == id_floor("evt", EPOCH - timedelta(days=1))


def test_now_is_in_whole_milliseconds_which_survive_both_engines() -> None:
    now = utcnow()

    assert now == from_millis(to_millis(now))
    assert abs(datetime.now(UTC) - now) < timedelta(seconds=5)


def test_the_repr_of_a_database_url_hides_its_password() -> None:
    database = Database("postgresql://u:hidden@h/d")

    assert "hidden" not in repr(database.url) + str(database.url) + repr(database.engine)


async def test_a_connection_that_the_server_closed_is_never_handed_out(postgres_url: str) -> None:
    database = Database(postgres_url)
    before = await backend(database)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (before,))

    after = await backend(database)
    await database.close()

    assert after != before


async def backend(database: Database) -> int:
    async with database.begin() as c:
        return int((await c.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one())
