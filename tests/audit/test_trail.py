"""The chain: nothing can be altered, removed or put in without `verify` naming the place."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update

from app.audit import Action, Actor, Target, record, trail
from app.audit.models import AuditEntry, AuditHead
from app.audit.trail import AuditFilter, Verdict
from app.database import Database
from tests.world import World

ANN = Actor(kind="member", id="usr_1", label="ann@acme.example", address="192.0.2.7")
COLUMNS = tuple(column.name for column in AuditEntry.__table__.columns)


async def write(database: Database, number: int, tenant: str = "acme") -> None:
    async with database.transaction() as session:
        for n in range(number):
            target = Target("destination", f"dst_{n}", f"Destination {n}")
            changes = {"n": n, "ü": [None, True, {"b": 1, "a": "\u2028"}], "f": 0.5}
            await record(session, tenant, ANN, Action.DESTINATION_UPDATED, target, changes)


async def verify(database: Database, tenant: str = "acme") -> Verdict:
    async with database.reading() as session:
        return await trail.verify(session, tenant)


async def rows(database: Database) -> list[dict[str, Any]]:
    query = select(AuditEntry).where(AuditEntry.tenant_id == "acme").order_by(AuditEntry.sequence)
    async with database.reading() as session:
        return [
            {name: getattr(entry, name) for name in COLUMNS}
            for entry in (await session.execute(query)).scalars()
        ]


def altered(column: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, int):
        return value + 1_000
    if isinstance(value, dict):
        return value | {"n": -1}
    return value + timedelta(milliseconds=1)


async def test_an_untouched_chain_is_intact_whatever_its_entries_hold(world: World) -> None:
    before = await verify(world.database)

    await write(world.database, 5)

    after = await verify(world.database)
    assert before.intact
    assert after.intact
    assert before.entries + 5 == after.entries
    assert (await rows(world.database))[-1]["hash"].hex() == after.head


async def test_altering_any_column_of_any_row_is_found(world: World) -> None:
    await write(world.database, 2)
    entries = await rows(world.database)
    missed = []
    for entry in entries:
        for column in COLUMNS:
            changed = {column: altered(column, entry[column])}
            where = (
                AuditEntry.tenant_id == entry["tenant_id"],
                AuditEntry.sequence == entry["sequence"],
            )
            back = (
                AuditEntry.tenant_id == changed.get("tenant_id", entry["tenant_id"]),
                AuditEntry.sequence == changed.get("sequence", entry["sequence"]),
            )
            async with world.database.transaction() as session:
                await session.execute(update(AuditEntry).where(*where).values(**changed))
            verdict = await verify(world.database)
            if verdict.intact or verdict.broken_at != entry["sequence"]:
                missed.append((entry["sequence"], column, verdict))
            async with world.database.transaction() as session:
                restored = {column: entry[column]}
                await session.execute(update(AuditEntry).where(*back).values(**restored))

    assert [] == missed
    assert (await verify(world.database)).intact


@pytest.mark.parametrize("engine_name", ["postgresql"])  # SQLite keeps whole milliseconds
async def test_a_changed_microsecond_is_found_where_the_engine_keeps_them(world: World) -> None:
    async with world.database.transaction() as session:
        await session.execute(
            text("UPDATE audit_entry SET at = at + interval '1 microsecond' WHERE sequence = 2")
        )

    assert ("entry 2 was altered", False) == (
        (await verify(world.database)).fault, (await verify(world.database)).intact,
    )  # fmt: skip


async def test_removing_a_row_is_found_at_the_start_in_the_middle_and_at_the_tail(
    world: World,
) -> None:
    await write(world.database, 3)
    entries = await rows(world.database)
    last = len(entries)
    for sequence in (1, last // 2, last):
        async with world.database.transaction() as session:
            await session.execute(
                delete(AuditEntry).where(
                    AuditEntry.tenant_id == "acme", AuditEntry.sequence == sequence
                )
            )
        verdict = await verify(world.database)
        assert (False, sequence) == (verdict.intact, verdict.broken_at), sequence
        async with world.database.transaction() as session:
            await session.execute(insert(AuditEntry).values(**entries[sequence - 1]))

    assert (await verify(world.database)).intact


async def test_removing_everything_is_found(world: World) -> None:
    async with world.database.transaction() as session:
        await session.execute(delete(AuditEntry).where(AuditEntry.tenant_id == "acme"))

    verdict = await verify(world.database)

    assert (False, 1) == (verdict.intact, verdict.broken_at)


async def test_a_row_put_in_is_found_even_when_it_chains_on(world: World) -> None:
    await write(world.database, 1)
    last = (await rows(world.database))[-1]
    forged = AuditEntry(
        **(last | {"sequence": last["sequence"] + 1, "previous_hash": last["hash"]})
    )
    forged.hash = trail.entry_hash(forged)

    async with world.database.transaction() as session:
        session.add(forged)

    verdict = await verify(world.database)
    assert (False, forged.sequence) == (verdict.intact, verdict.broken_at)


async def test_a_row_swapped_with_another_is_found(world: World) -> None:
    await write(world.database, 2)
    one, two = (await rows(world.database))[-2:]
    async with world.database.transaction() as session:
        for row, other in ((one, two), (two, one)):
            facts = {k: v for k, v in other.items() if k not in ("tenant_id", "sequence")}
            await session.execute(
                update(AuditEntry)
                .where(AuditEntry.tenant_id == "acme", AuditEntry.sequence == row["sequence"])
                .values(**facts)
            )

    assert one["sequence"] == (await verify(world.database)).broken_at


async def test_a_head_set_back_is_found(world: World) -> None:
    async with world.database.transaction() as session:
        await session.execute(
            update(AuditHead).where(AuditHead.tenant_id == "acme").values(sequence=1)
        )

    assert not (await verify(world.database)).intact


async def test_each_tenant_has_a_chain_of_its_own(world: World) -> None:
    await write(world.database, 2, "globex")
    async with world.database.transaction() as session:
        await session.execute(
            update(AuditEntry).where(AuditEntry.tenant_id == "globex").values(actor_label="nobody")
        )

    assert (await verify(world.database)).intact
    assert not (await verify(world.database, "globex")).intact
    assert Verdict(True, 0, bytes(32).hex()) == await verify(world.database, "nobody")


async def test_writers_at_once_take_turns_and_leave_no_gap(world: World) -> None:
    before = (await verify(world.database)).entries

    await asyncio.gather(*(write(world.database, 3) for _ in range(8)))

    verdict = await verify(world.database)
    assert (True, before + 24) == (verdict.intact, verdict.entries)


async def test_the_first_entries_of_a_tenant_may_race(world: World) -> None:
    await asyncio.gather(*(write(world.database, 1, "newcomer") for _ in range(5)))

    verdict = await verify(world.database, "newcomer")
    assert (True, 5) == (verdict.intact, verdict.entries)


async def test_writing_while_the_chain_is_verified_is_no_alarm(world: World) -> None:
    done = asyncio.Event()

    async def keep_writing() -> None:
        while not done.is_set():
            await write(world.database, 2)

    writer = asyncio.create_task(keep_writing())
    try:
        verdicts = [await verify(world.database) for _ in range(25)]
    finally:
        done.set()
        await writer

    assert [] == [verdict for verdict in verdicts if not verdict.intact]
    assert verdicts[-1].entries > verdicts[0].entries


async def test_a_long_chain_is_walked_in_pieces(world: World) -> None:
    await write(world.database, 23)
    async with world.database.reading() as session:
        walked = [e.sequence async for e in trail.walk(session, "acme", AuditFilter(), chunk=5)]

    assert walked == list(range(1, len(walked) + 1))
    assert len(walked) == (await verify(world.database)).entries


async def test_an_entry_is_not_kept_when_its_change_is_not(world: World) -> None:
    before = await verify(world.database)

    async def change_that_fails() -> None:
        async with world.database.transaction() as session:
            await record(session, "acme", ANN, Action.TOKEN_CREATED, Target("token", "tok_1", "x"))
            raise RuntimeError("after its entry was written")

    with pytest.raises(RuntimeError):
        await change_that_fails()

    assert before == await verify(world.database)


def test_every_action_has_a_sentence_and_the_shape_of_one() -> None:
    sentences = [action.sentence for action in Action]

    assert len(set(sentences)) == len(Action)
    assert "Destination secret rotated" == Action.DESTINATION_SECRET_ROTATED.sentence
    assert list(Action) == sorted(Action)
    assert all(sentence[0].isupper() and " " in sentence for sentence in sentences)
