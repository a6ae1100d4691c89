"""The trail as people read it: a page that looks at a bounded number of entries."""

from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.export import EntryOut, out
from app.audit.models import AuditEntry
from app.audit.trail import AuditFilter, filtered

#: How many entries one page of a filtered trail looks at, at most.
WALK: Final = 10_000
#: Clocks of writers may differ by a few entries: a time is looked for this much further on.
SLACK: Final = 1_000


async def look_for(
    session: AsyncSession,
    tenant_id: str,
    wanted: AuditFilter,
    *,
    limit: int,
    below: int | None = None,
    walk: int = WALK,
) -> tuple[list[EntryOut], int | None]:
    """Return a page, newest first, and the sequence at which its look ended (None: at the end).

    What is kept of the chain has no gaps, so that a span of sequences is a number of rows: a page
    looks at no more than `walk` of them, and goes on from there.
    """
    start = await _start(session, tenant_id, wanted, below)
    if start is None:
        return [], None
    query = filtered(tenant_id, wanted).where(
        AuditEntry.sequence < start, AuditEntry.sequence >= start - walk
    )
    found = await session.scalars(query.order_by(AuditEntry.sequence.desc()).limit(limit))
    rows = [out(entry) for entry in found]
    end = start - walk
    is_over = len(rows) == limit or await _is_last(session, tenant_id, wanted, end)
    return rows, None if is_over else end


async def _start(
    session: AsyncSession, tenant_id: str, wanted: AuditFilter, below: int | None
) -> int | None:
    """Return the sequence under which the first match may lie."""
    newest = select(AuditEntry.sequence).where(AuditEntry.tenant_id == tenant_id)
    if wanted.before:
        newest = newest.where(AuditEntry.at < wanted.before).order_by(AuditEntry.at.desc())
    else:
        newest = newest.order_by(AuditEntry.sequence.desc())
    found = (await session.execute(newest.limit(1))).scalar_one_or_none()
    if found is None:
        return None
    start = found + (SLACK if wanted.before else 1)
    return min(start, below) if below is not None else start


async def _is_last(
    session: AsyncSession, tenant_id: str, wanted: AuditFilter, sequence: int
) -> bool:
    """Whether nothing lies before (retention takes the oldest), or only what is too old."""
    own = AuditEntry.tenant_id == tenant_id
    oldest = await session.scalar(select(func.min(AuditEntry.sequence)).where(own))
    if oldest is None or sequence <= oldest:
        return True
    if wanted.after is None:
        return False
    near = max(oldest, sequence - SLACK)
    moment = await session.scalar(select(AuditEntry.at).where(own, AuditEntry.sequence == near))
    return moment is not None and moment < wanted.after
