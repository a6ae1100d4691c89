"""What a worker does for the trail: seal what grew, prune what is older than its retention."""

import asyncio
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import seals
from app.audit.models import SYSTEM, Action, AuditEntry, AuditHead, AuditSeal, Target
from app.audit.proof import START, Broken, Point, reach
from app.audit.seals import Kind, Notary
from app.audit.trail import record
from app.database import Database, utcnow

log = structlog.get_logger(__name__)

#: One sweep seals at most so many chains; the next takes the rest.
CHAINS: Final = 1_000
CHUNK: Final = 2_000
PAUSE_S: Final = 0.05


async def seal_heads(database: Database, notary: Notary) -> int:
    """Seal each chain that grew, if it follows from its last seal; return how many were sealed."""
    behind = (
        select(AuditHead.tenant_id)
        .outerjoin(
            AuditSeal,
            (AuditSeal.tenant_id == AuditHead.tenant_id) & (AuditSeal.kind == Kind.HEAD.value),
        )
        .where(or_(AuditSeal.sequence.is_(None), AuditSeal.sequence < AuditHead.sequence))
        .where(AuditHead.sequence > 0)
        .limit(CHAINS)
    )
    async with database.reading() as session:
        tenants = list((await session.execute(behind)).scalars())
    done = [await _seal_head(database, notary, tenant_id) for tenant_id in tenants]
    return sum(done)


async def _seal_head(database: Database, notary: Notary, tenant_id: str) -> bool:
    async with database.reading(tenant_id) as session:
        found = await seals.read(session, tenant_id)
        head = (
            await session.execute(select(AuditHead).where(AuditHead.tenant_id == tenant_id))
        ).scalar_one()
        newest = max(
            (Point(seal.sequence, seal.hash) for seal in found.values()),
            key=lambda point: point.sequence,
            default=START,
        )
        last = await _reach(session, tenant_id, newest, head.sequence, found, notary)
    if last is None:
        return False
    if last != Point(head.sequence, head.hash):
        _tell(Broken(last.sequence + 1, "the head does not fit", last), tenant_id)
        return False
    async with database.transaction(tenant_id) as session:
        await seals.write(session, tenant_id, Kind.HEAD, last.sequence, last.hash, notary)
    # Kept outside the database too: with it, a trail cut back to an older seal is found.
    log.info("audit.sealed", tenant_id=tenant_id, sequence=last.sequence, hash=last.hash.hex())
    return True


async def _reach(
    session: AsyncSession,
    tenant_id: str,
    start: Point,
    up_to: int,
    found: dict[str, AuditSeal],
    notary: Notary,
) -> Point | None:
    """Return the last link behind `start`, or None, told, when something does not fit.

    A seal over that would turn what somebody did into what we vouch for.
    """
    foreign = next((seal for seal in found.values() if not seals.is_ours(seal, notary)), None)
    if foreign:
        _tell(Broken(foreign.sequence, f"its {foreign.kind} is not sealed by us", start), tenant_id)
        return None
    try:
        return await reach(session, tenant_id, start, up_to=up_to)
    except Broken as broken:
        _tell(broken, tenant_id)
        return None


def _tell(broken: Broken, tenant_id: str) -> None:
    log.error("audit.broken", tenant_id=tenant_id, at=broken.at, fault=broken.fault)


async def prune(
    database: Database, notary: Notary, *, days: int, now: datetime | None = None
) -> dict[str, int]:
    """Remove entries older than `days` from the oldest end of each chain; return how many of each.

    The hash of the last one removed is sealed as the anchor, so that what stays still verifies.
    A stretch that does not fit is evidence, and stays.
    """
    limit = (now or utcnow()) - timedelta(days=days)
    async with database.reading() as session:
        tenants = list((await session.execute(select(AuditHead.tenant_id))).scalars())
    removed: dict[str, int] = {}
    for tenant_id in tenants:
        while count := await _prune_chunk(database, notary, tenant_id, limit):
            removed[tenant_id] = removed.get(tenant_id, 0) + count
            if count < CHUNK:
                break
            await asyncio.sleep(PAUSE_S)
    return removed


async def _prune_chunk(database: Database, notary: Notary, tenant_id: str, limit: datetime) -> int:
    """Move the anchor and remove what it covers, in one transaction."""
    async with database.reading(tenant_id) as session:
        found = await seals.read(session, tenant_id)
        anchor = found.get(Kind.ANCHOR)
        start = Point(anchor.sequence, anchor.hash) if anchor else START
        end = await _last_old(session, tenant_id, start, limit)
        last = await _reach(session, tenant_id, start, end, found, notary)
    if last is None or last == start:
        return 0
    async with database.transaction(tenant_id) as session:
        await seals.write(session, tenant_id, Kind.ANCHOR, last.sequence, last.hash, notary)
        await session.execute(
            delete(AuditEntry).where(
                AuditEntry.tenant_id == tenant_id, AuditEntry.sequence <= last.sequence
            )
        )
        count = last.sequence - start.sequence
        target = Target("audit", tenant_id, "Audit trail")
        changes = {"entries": count, "through": last.sequence, "older_than": limit}
        await record(session, tenant_id, SYSTEM, Action.AUDIT_PRUNED, target, changes)
    log.info("audit.pruned", tenant_id=tenant_id, entries=count, through=last.sequence)
    return count


async def _last_old(session: AsyncSession, tenant_id: str, start: Point, limit: datetime) -> int:
    """Return the last entry of the oldest chunk before which none is younger than the limit."""
    query = (
        select(AuditEntry.sequence, AuditEntry.at)
        .where(AuditEntry.tenant_id == tenant_id, AuditEntry.sequence > start.sequence)
        .order_by(AuditEntry.sequence)
        .limit(CHUNK)
    )
    last = start.sequence
    for sequence, at in await session.execute(query):
        if at >= limit:
            break
        last = sequence
    return last
