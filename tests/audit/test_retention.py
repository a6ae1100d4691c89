"""Retention of the trail: from the oldest end only, and what stays still proves itself."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, update

from app.audit import upkeep
from app.audit.models import AuditEntry, AuditSeal
from app.database import utcnow
from tests.audit.chain import Chain, chain_in
from tests.world import World

#: A year on, everything that the test wrote is older than a day.
LATER = timedelta(days=365)


@pytest.fixture
async def chain(world: World) -> Chain:
    return await chain_in(world)


async def prune(chain: Chain) -> dict[str, int]:
    return await upkeep.prune(chain.database, chain.notary, days=1, now=utcnow() + LATER)


async def test_what_stays_verifies_from_a_sealed_anchor_on(chain: Chain) -> None:
    before = await chain.rows()

    removed = await prune(chain)

    verdict = await chain.verify()
    assert 5 == removed[chain.tenant]
    assert (True, 1, 6) == (verdict.intact, verdict.entries, verdict.first)
    anchor = (await chain.seals())["anchor"]
    assert (5, before[-1]["hash"]) == (anchor.sequence, anchor.hash)
    await chain.write(2)
    assert (True, 3) == ((await chain.verify()).intact, (await chain.verify()).entries)


async def test_it_is_itself_recorded_as_an_act_of_the_system(chain: Chain) -> None:
    await prune(chain)

    (entry,) = await chain.rows()
    assert ("audit.pruned", "system", "system") == (
        entry["action"], entry["actor_kind"], entry["actor_id"],
    )  # fmt: skip
    assert {"entries": 5, "through": 5} == {k: entry["changes"][k] for k in ("entries", "through")}


async def test_nothing_younger_goes_even_behind_something_older(chain: Chain) -> None:
    removed = await upkeep.prune(chain.database, chain.notary, days=1)

    assert {} == removed
    assert (True, 5) == ((await chain.verify()).intact, (await chain.verify()).entries)


async def test_it_goes_in_pieces(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "CHUNK", 2)
    monkeypatch.setattr(upkeep, "PAUSE_S", 0)
    now = utcnow()
    await chain.write(1)

    removed = await upkeep.prune(chain.database, chain.notary, days=0, now=now)

    assert 5 == removed[chain.tenant]
    rows = await chain.rows()
    assert ["destination.updated", *["audit.pruned"] * 3] == [row["action"] for row in rows]
    assert (await chain.verify()).intact


async def test_a_stretch_that_does_not_fit_is_evidence_and_stays(chain: Chain) -> None:
    await chain.tamper(update(AuditEntry).where(*chain.entry(2)).values(actor_label="nobody"))

    removed = await prune(chain)

    assert chain.tenant not in removed
    assert 5 == len(await chain.rows())
    assert 2 == (await chain.verify()).broken_at


async def test_an_anchor_of_anybody_else_is_found(chain: Chain) -> None:
    rows = await chain.rows()
    forged = {
        "tenant_id": chain.tenant, "kind": "anchor", "sequence": 2, "hash": rows[1]["hash"],
        "at": utcnow(), "key_id": chain.notary.key_id, "signature": bytes(64),
    }  # fmt: skip
    # No trigger stands in the way of this: who covers the rows first may remove them.
    async with chain.database.transaction() as session:
        await session.execute(insert(AuditSeal).values(**forged))
        await session.execute(
            delete(AuditEntry).where(AuditEntry.tenant_id == chain.tenant, AuditEntry.sequence <= 2)
        )

    verdict = await chain.verify()

    assert (False, 2, "what was pruned is not sealed by this installation") == (
        verdict.intact, verdict.broken_at, verdict.fault,
    )  # fmt: skip


async def test_a_pruned_row_that_comes_back_is_found(chain: Chain) -> None:
    rows = await chain.rows()
    await prune(chain)
    await chain.tamper(insert(AuditEntry).values(**rows[1]))

    verdict = await chain.verify()

    assert (False, 2) == (verdict.intact, verdict.broken_at)


async def test_a_chain_that_was_sealed_and_then_pruned_verifies(chain: Chain) -> None:
    await upkeep.seal_heads(chain.database, chain.notary)
    await prune(chain)
    assert (await chain.verify()).intact

    await upkeep.seal_heads(chain.database, chain.notary)

    verdict = await chain.verify()
    assert (True, 6, 6) == (verdict.intact, verdict.first, verdict.sealed)
