"""The chain: nothing can be altered, removed or put in without `verify` naming the place."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.sql.expression import Executable

from app.audit import Action, Actor, Target, record, trail
from app.audit.models import AuditEntry, AuditHead
from app.audit.trail import AuditFilter, Verdict
from app.database import Database
from tests.world import World

ANN = Actor(kind="member", id="usr_1", label="ann@acme.example", address="192.0.2.7")
COLUMNS = tuple(column.name for column in AuditEntry.__table__.columns)


class Chain:
    """The trail of one tenant of its own, and someone who can write past the application."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tenant = f"t-{uuid4().hex}"

    async def write(self, number: int) -> None:
        async with self.database.transaction() as session:
            for n in range(number):
                target = Target("destination", f"dst_{n}", f"Destination {n}")
                changes = {"n": n, "ü": [None, True, {"b": 1, "a": "\u2028"}], "f": 0.5}
                await record(session, self.tenant, ANN, Action.DESTINATION_UPDATED, target, changes)

    async def verify(self) -> Verdict:
        async with self.database.reading() as session:
            return await trail.verify(session, self.tenant)

    async def rows(self) -> list[dict[str, Any]]:
        query = select(AuditEntry).where(AuditEntry.tenant_id == self.tenant)
        async with self.database.reading() as session:
            entries = (await session.execute(query.order_by(AuditEntry.sequence))).scalars()
            return [{name: getattr(entry, name) for name in COLUMNS} for entry in entries]

    async def tamper(self, statement: Executable) -> None:
        async with self.database.transaction() as session:
            await session.execute(statement)

    def entry(self, sequence: int, tenant: str | None = None) -> tuple[Any, Any]:
        """Return what finds one row."""
        return (
            AuditEntry.tenant_id == (tenant or self.tenant),
            AuditEntry.sequence == sequence,
        )


@pytest.fixture
async def chain(shared: World) -> Chain:
    made = Chain(shared.database)
    await made.write(5)
    return made


def altered(value: Any) -> Any:
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, int):
        return value + 1_000
    if isinstance(value, dict):
        return value | {"n": -1}
    return value + timedelta(milliseconds=1)


async def test_an_untouched_chain_is_intact_whatever_its_entries_hold(chain: Chain) -> None:
    await chain.write(2)

    verdict = await chain.verify()

    assert Verdict(True, 7, (await chain.rows())[-1]["hash"].hex()) == verdict


async def test_altering_any_column_of_any_row_is_found(chain: Chain) -> None:
    missed = []
    for entry in await chain.rows():
        for column in COLUMNS:
            value = altered(entry[column])
            there = chain.entry(entry["sequence"])
            moved = {"tenant_id": chain.tenant, "sequence": entry["sequence"]} | {column: value}
            await chain.tamper(update(AuditEntry).where(*there).values({column: value}))
            verdict = await chain.verify()
            if verdict.intact or verdict.broken_at != entry["sequence"]:
                missed.append((entry["sequence"], column, verdict))
            there = chain.entry(moved["sequence"], moved["tenant_id"])
            await chain.tamper(update(AuditEntry).where(*there).values({column: entry[column]}))

    assert [] == missed
    assert (await chain.verify()).intact


@pytest.mark.parametrize("shared_url", ["postgresql"], indirect=True, scope="module")
async def test_a_changed_microsecond_is_found_where_the_engine_keeps_them(chain: Chain) -> None:
    later = text(
        "UPDATE audit_entry SET at = at + interval '1 microsecond'"
        " WHERE tenant_id = :tenant AND sequence = 2"
    )
    await chain.tamper(later.bindparams(tenant=chain.tenant))

    assert "entry 2 was altered" == (await chain.verify()).fault


async def test_removing_a_row_is_found_at_the_start_in_the_middle_and_at_the_tail(
    chain: Chain,
) -> None:
    entries = await chain.rows()
    for sequence in (1, 3, 5):
        await chain.tamper(delete(AuditEntry).where(*chain.entry(sequence)))
        verdict = await chain.verify()
        assert (False, sequence) == (verdict.intact, verdict.broken_at)
        await chain.tamper(insert(AuditEntry).values(**entries[sequence - 1]))

    assert (await chain.verify()).intact


async def test_removing_everything_is_found(chain: Chain) -> None:
    await chain.tamper(delete(AuditEntry).where(AuditEntry.tenant_id == chain.tenant))

    verdict = await chain.verify()

    assert (False, 1) == (verdict.intact, verdict.broken_at)


async def test_a_row_put_in_is_found_even_when_it_chains_on(chain: Chain) -> None:
    last = (await chain.rows())[-1]
    forged = AuditEntry(**(last | {"sequence": 6, "previous_hash": last["hash"]}))
    forged.hash = trail.entry_hash(forged)
    async with chain.database.transaction() as session:
        session.add(forged)

    verdict = await chain.verify()

    assert (False, 6) == (verdict.intact, verdict.broken_at)


async def test_a_row_swapped_with_another_is_found(chain: Chain) -> None:
    entries = await chain.rows()
    for place, other in ((2, 3), (3, 2)):
        facts = {k: v for k, v in entries[other].items() if k not in ("tenant_id", "sequence")}
        await chain.tamper(update(AuditEntry).where(*chain.entry(place + 1)).values(**facts))

    assert 3 == (await chain.verify()).broken_at


async def test_a_head_set_back_is_found(chain: Chain) -> None:
    head = update(AuditHead).where(AuditHead.tenant_id == chain.tenant)
    await chain.tamper(head.values(sequence=4))

    assert not (await chain.verify()).intact


async def test_each_tenant_has_a_chain_of_its_own(chain: Chain) -> None:
    other = Chain(chain.database)
    assert Verdict(True, 0, bytes(32).hex()) == await other.verify()
    await other.write(2)

    await other.tamper(update(AuditEntry).where(*other.entry(1)).values(actor_label="nobody"))

    assert not (await other.verify()).intact
    assert (await chain.verify()).intact


async def test_writers_at_once_take_turns_and_leave_no_gap(chain: Chain) -> None:
    await asyncio.gather(*(chain.write(3) for _ in range(8)))

    verdict = await chain.verify()
    assert (True, 5 + 24) == (verdict.intact, verdict.entries)


async def test_the_first_entries_of_a_tenant_may_race(shared: World) -> None:
    chain = Chain(shared.database)

    await asyncio.gather(*(chain.write(1) for _ in range(5)))

    verdict = await chain.verify()
    assert (True, 5) == (verdict.intact, verdict.entries)


async def test_writing_while_the_chain_is_verified_is_no_alarm(chain: Chain) -> None:
    done = asyncio.Event()

    async def keep_writing() -> None:
        while not done.is_set():
            await chain.write(2)

    writer = asyncio.create_task(keep_writing())
    try:
        verdicts = [await chain.verify() for _ in range(25)]
    finally:
        done.set()
        await writer

    assert [] == [verdict for verdict in verdicts if not verdict.intact]
    assert verdicts[-1].entries > verdicts[0].entries


async def test_a_long_chain_is_walked_in_pieces(chain: Chain) -> None:
    await chain.write(18)
    async with chain.database.reading() as session:
        entries = trail.walk(session, chain.tenant, AuditFilter(), chunk=5)
        walked = [entry.sequence async for entry in entries]

    assert walked == list(range(1, 24))


async def test_an_entry_is_not_kept_when_its_change_is_not(chain: Chain) -> None:
    async def change_that_fails() -> None:
        async with chain.database.transaction() as session:
            target = Target("token", "tok_1", "x")
            await record(session, chain.tenant, ANN, Action.TOKEN_CREATED, target)
            raise RuntimeError("after its entry was written")

    with pytest.raises(RuntimeError):
        await change_that_fails()

    verdict = await chain.verify()
    assert (True, 5) == (verdict.intact, verdict.entries)


def test_every_action_has_a_sentence_and_the_shape_of_one() -> None:
    sentences = [action.sentence for action in Action]

    assert len(set(sentences)) == len(Action)
    assert "Destination secret rotated" == Action.DESTINATION_SECRET_ROTATED.sentence
    assert list(Action) == sorted(Action)
    assert all(sentence[0].isupper() and " " in sentence for sentence in sentences)
