"""The database itself refuses what no part of the product does to a trail."""

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.expression import Executable

from app.audit import seals
from app.audit.models import AuditEntry, AuditHead, AuditSeal
from app.audit.seals import Kind
from tests.audit.chain import COLUMNS, Chain, chain_in
from tests.world import World


@pytest.fixture
async def chain(shared: World) -> Chain:
    return await chain_in(shared, 3)


async def refused(chain: Chain, statement: Executable) -> str:
    async with chain.database.transaction() as session:
        with pytest.raises(IntegrityError) as caught:
            await session.execute(statement)
        await session.rollback()
    assert (await chain.verify()).intact
    return str(caught.value.orig)


async def test_no_column_of_an_entry_can_be_updated(chain: Chain) -> None:
    entry = (await chain.rows())[1]
    for column in COLUMNS:
        same = update(AuditEntry).where(*chain.entry(2)).values({column: entry[column]})

        assert "audit_entry is append-only" in await refused(chain, same), column


async def test_no_entry_can_be_deleted_before_an_anchor_covers_it(chain: Chain) -> None:
    rows = await chain.rows()
    async with chain.database.transaction() as session:
        await seals.write(session, chain.tenant, Kind.ANCHOR, 1, rows[0]["hash"], chain.notary)
        await session.execute(delete(AuditEntry).where(*chain.entry(1)))

    for sequence in (2, 3):
        gone = delete(AuditEntry).where(*chain.entry(sequence))
        assert "audit_entry is append-only" in await refused(chain, gone)
    assert 2 == (await chain.verify()).first


async def test_a_head_only_moves_on_by_one(chain: Chain) -> None:
    head = update(AuditHead).where(AuditHead.tenant_id == chain.tenant)
    gone = delete(AuditHead).where(AuditHead.tenant_id == chain.tenant)

    for wrong in (head.values(sequence=2), head.values(sequence=3), head.values(sequence=5), gone):
        assert "audit_head is append-only" in await refused(chain, wrong)


async def test_a_seal_only_moves_up(chain: Chain) -> None:
    rows = await chain.rows()
    async with chain.database.transaction() as session:
        await seals.write(session, chain.tenant, Kind.HEAD, 3, rows[2]["hash"], chain.notary)
        # An older one that comes late changes nothing, and is no error.
        await seals.write(session, chain.tenant, Kind.HEAD, 2, rows[1]["hash"], chain.notary)
    where = AuditSeal.tenant_id == chain.tenant

    for wrong in (
        update(AuditSeal).where(where).values(sequence=2),
        update(AuditSeal).where(where).values(hash=bytes(32)),
        update(AuditSeal).where(where).values(sequence=4, kind="anchor"),
        delete(AuditSeal).where(where),
    ):
        assert "audit_seal is append-only" in await refused(chain, wrong)
    assert 3 == (await chain.verify()).sealed


@pytest.mark.parametrize("shared_url", ["postgresql"], indirect=True, scope="module")
async def test_no_table_of_the_trail_can_be_emptied_at_once(chain: Chain) -> None:
    for table in ("audit_entry", "audit_head", "audit_seal"):
        assert f"{table} is append-only" in await refused(chain, text(f"TRUNCATE {table}"))
