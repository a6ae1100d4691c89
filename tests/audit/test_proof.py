"""Nothing can be altered, removed, put in or moved without `verify` naming the place."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update

from app.audit import seals, trail, upkeep
from app.audit.models import AuditEntry, AuditHead, AuditSeal
from app.audit.seals import Kind, Notary
from app.sending.signing import SigningKey
from tests.audit.chain import COLUMNS, Chain, chain_in
from tests.world import World


@pytest.fixture
async def chain(shared: World) -> Chain:
    return await chain_in(shared)


def alterations(value: Any) -> Iterator[Any]:
    """Yield other values that the column can hold: near ones, empty ones."""
    if isinstance(value, bytes):
        yield bytes([value[0] ^ 1]) + value[1:]
        yield value[:-1] + bytes([value[-1] ^ 0x80])
        yield bytes(32) if value != bytes(32) else b"\1" * 32
        yield value[:-1]
    elif isinstance(value, str):
        yield value + "x"
        yield value.upper() if value.upper() != value else value + " "
        yield "" if value else " "
    elif isinstance(value, int):
        yield value + 1_000
        yield -value
    elif isinstance(value, dict):
        yield value | {"n": -1}
        yield {}
        yield value | {"more": None}
    else:
        yield value + timedelta(milliseconds=1)
        yield value - timedelta(days=400)


async def test_altering_any_column_of_any_row_is_found(chain: Chain) -> None:
    missed, tried = [], 0
    rows = await chain.rows()
    for entry in (rows[0], rows[len(rows) // 2], rows[-1]):
        here = chain.entry(entry["sequence"])
        for column in COLUMNS:
            for value in alterations(entry[column]):
                moved = {"tenant_id": chain.tenant, "sequence": entry["sequence"]} | {column: value}
                await chain.tamper(update(AuditEntry).where(*here).values({column: value}))
                verdict = await chain.verify()
                at = min(value, entry["sequence"]) if column == "sequence" else entry["sequence"]
                if verdict.intact or verdict.broken_at != at:
                    missed.append((entry["sequence"], column, value, verdict))
                there = chain.entry(moved["sequence"], moved["tenant_id"])
                await chain.tamper(update(AuditEntry).where(*there).values({column: entry[column]}))
                tried += 1

    assert [] == missed
    assert tried >= 3 * 2 * len(COLUMNS)
    assert (await chain.verify()).intact


@pytest.mark.parametrize("shared_url", ["sqlite"], indirect=True, scope="module")
async def test_a_value_of_another_type_is_found_where_the_engine_takes_it(chain: Chain) -> None:
    odd = ["x'00'", "x'59574a6a'", "1.5", "'{'", "9e99", "'\u00e9'", "CAST(x'ff' AS TEXT)"]
    missed, tried = [], 0
    (before, entry) = (await chain.rows())[1:3]
    assert before["hash"] == entry["previous_hash"]
    for column in COLUMNS:
        if column in ("tenant_id", "sequence"):
            continue  # those name the row: test_altering_any_column has them
        for value in odd:
            there = text(f"UPDATE audit_entry SET {column} = {value}"
                         " WHERE tenant_id = :tenant AND sequence = 3")  # fmt: skip
            await chain.tamper(there.bindparams(tenant=chain.tenant))
            verdict = await chain.verify()
            if (verdict.intact, verdict.broken_at) != (False, 3):
                missed.append((column, value, verdict))
            back = update(AuditEntry).where(*chain.entry(3)).values({column: entry[column]})
            await chain.tamper(back)
            tried += 1

    assert [] == missed
    assert tried == 14 * len(odd)
    assert (await chain.verify()).intact


async def test_bytes_do_not_pass_for_the_text_that_they_encode_to(chain: Chain) -> None:
    entry = AuditEntry(**(await chain.rows())[0])
    entry.actor_label = b"abc"  # type: ignore[assignment]  # what a forged row may hold

    with pytest.raises(TypeError):
        trail.entry_hash(entry)


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
    async with chain.intrusion() as session:
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


async def test_a_row_before_the_first_is_found(chain: Chain) -> None:
    for sequence in (0, -7):
        first = (await chain.rows())[0]
        await chain.tamper(insert(AuditEntry).values(**(first | {"sequence": sequence})))
        verdict = await chain.verify()
        await chain.tamper(delete(AuditEntry).where(*chain.entry(sequence)))

        assert (False, sequence) == (verdict.intact, verdict.broken_at)


async def rewrite(chain: Chain, rows: list[dict[str, Any]]) -> None:
    """Do what someone does who knows the product: chain the rows anew, and set the head."""
    previous = trail.GENESIS
    async with chain.intrusion() as session:
        await session.execute(delete(AuditEntry).where(AuditEntry.tenant_id == chain.tenant))
        for sequence, facts in enumerate(rows, start=1):
            entry = AuditEntry(**(facts | {"sequence": sequence, "previous_hash": previous}))
            previous = entry.hash = trail.entry_hash(entry)
            session.add(entry)
        await session.flush()
        head = update(AuditHead).where(AuditHead.tenant_id == chain.tenant)
        await session.execute(head.values(sequence=len(rows), hash=previous))


async def seal(chain: Chain) -> None:
    rows = await chain.rows()
    async with chain.database.transaction() as session:
        last = rows[-1]
        await seals.write(
            session, chain.tenant, Kind.HEAD, last["sequence"], last["hash"], chain.notary
        )


async def test_a_chain_that_was_wholly_rewritten_is_found_by_its_seal(chain: Chain) -> None:
    await seal(chain)
    rows = await chain.rows()
    forgeries = {
        "altered": [rows[0] | {"actor_label": "nobody"}, *rows[1:]],
        "the newest removed": rows[:-1],
        "the middle removed": rows[:2] + rows[3:],
        "all removed": [],
        "one put in": [*rows[:3], rows[1], *rows[3:]],
        "reordered": [rows[1], rows[0], *rows[2:]],
    }
    found = {}
    for name, forged in forgeries.items():
        await rewrite(chain, forged)
        verdict = await chain.verify()
        found[name] = (verdict.intact, verdict.broken_at)

    assert found == {
        "altered": (False, 5),
        "the newest removed": (False, 5),
        "the middle removed": (False, 5),
        "all removed": (False, 1),
        "one put in": (False, 5),
        "reordered": (False, 5),
    }
    await rewrite(chain, rows)
    assert (await chain.verify()).intact


async def test_a_seal_with_any_column_changed_is_found(chain: Chain) -> None:
    await seal(chain)
    kept = (await chain.seals())["head"]
    missed = []
    for column in ("sequence", "hash", "at", "key_id", "signature"):
        for value in alterations(getattr(kept, column)):
            where = (AuditSeal.tenant_id == chain.tenant, AuditSeal.kind == "head")
            await chain.tamper(update(AuditSeal).where(*where).values({column: value}))
            if (await chain.verify()).intact:
                missed.append((column, value))
            back = {column: getattr(kept, column)}
            await chain.tamper(update(AuditSeal).where(*where).values(back))

    assert [] == missed
    assert (await chain.verify()).intact


async def test_a_seal_by_a_key_that_the_intruder_made_is_not_ours(chain: Chain) -> None:
    forged = SigningKey.generate()
    theirs = Notary({}, next(iter(chain.notary.public)), forged.sign)
    last = (await chain.rows())[-1]
    async with chain.database.transaction() as session:
        await seals.write(session, chain.tenant, Kind.HEAD, 5, last["hash"], theirs)

    verdict = await chain.verify()

    assert (False, "the seal of entry 5 is not this installation's") == (
        verdict.intact, verdict.fault,
    )  # fmt: skip


async def test_what_does_not_follow_from_its_seal_is_not_sealed_again(chain: Chain) -> None:
    await seal(chain)
    rows = await chain.rows()
    await rewrite(chain, [rows[0] | {"actor_label": "nobody"}, *rows[1:]])
    await chain.write(1)

    await upkeep.seal_heads(chain.database, chain.notary)

    assert 5 == (await chain.seals())["head"].sequence
    assert not (await chain.verify()).intact


async def test_the_worker_seals_what_grew(chain: Chain) -> None:
    await upkeep.seal_heads(chain.database, chain.notary)
    first = await chain.verify()
    await chain.write(2)
    behind = await chain.verify()

    await upkeep.seal_heads(chain.database, chain.notary)
    again = await upkeep.seal_heads(chain.database, chain.notary)

    assert (True, 5, 5) == (first.intact, first.entries, first.sealed)
    assert (True, 7, 5) == (behind.intact, behind.entries, behind.sealed)
    assert 7 == (await chain.verify()).sealed
    async with chain.database.reading() as session:
        sealed = (await session.execute(select(AuditSeal.tenant_id))).scalars().all()
    assert chain.tenant in sealed
    assert 0 == again
