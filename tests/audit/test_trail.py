"""The chain: one per tenant, without a gap, whoever writes at once."""

import asyncio

import pytest
from sqlalchemy import update

from app.audit import Action, Target, record, trail
from app.audit.models import AuditEntry
from app.audit.proof import Verdict
from app.audit.trail import AuditFilter
from tests.audit.chain import ANN, Chain, chain_in
from tests.world import World


@pytest.fixture
async def chain(shared: World) -> Chain:
    return await chain_in(shared)


async def test_an_untouched_chain_is_intact_whatever_its_entries_hold(chain: Chain) -> None:
    await chain.write(2)

    verdict = await chain.verify()

    head = (await chain.rows())[-1]["hash"].hex()
    assert Verdict(intact=True, entries=7, head=head) == verdict


async def test_each_tenant_has_a_chain_of_its_own(chain: Chain) -> None:
    other = Chain(chain.database, chain.notary)
    assert Verdict(intact=True, entries=0, head=bytes(32).hex()) == await other.verify()
    await other.write(2)

    await other.tamper(update(AuditEntry).where(*other.entry(1)).values(actor_label="nobody"))

    assert not (await other.verify()).intact
    assert (await chain.verify()).intact


async def test_writers_at_once_take_turns_and_leave_no_gap(chain: Chain) -> None:
    await asyncio.gather(*(chain.write(3) for _ in range(8)))

    verdict = await chain.verify()
    assert (True, 5 + 24) == (verdict.intact, verdict.entries)


async def test_the_first_entries_of_a_tenant_may_race(shared: World) -> None:
    chain = await chain_in(shared, 0)

    await asyncio.gather(*(chain.write(1) for _ in range(5)))

    verdict = await chain.verify()
    assert (True, 5) == (verdict.intact, verdict.entries)


async def test_writing_while_the_chain_is_verified_is_no_alarm(chain: Chain) -> None:
    done = asyncio.Event()

    async def keep_writing() -> None:
        while not done.is_set():
            await chain.write(2)

    writer = asyncio.create_task(keep_writing())
    verdicts = [await chain.verify() for _ in range(25)]
    try:
        async with asyncio.timeout(10):  # the writer had its turn between two of them
            while verdicts[-1].entries == verdicts[0].entries:
                verdicts.append(await chain.verify())
    finally:
        done.set()
        await writer

    assert [] == [verdict for verdict in verdicts if not verdict.intact]


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


def test_actions_stand_in_alphabetical_order() -> None:
    assert list(Action) == sorted(Action)
