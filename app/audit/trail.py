"""Write the trail and read it."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.models import Action, Actor, AuditEntry, AuditHead, Target
from app.database import insert_if_absent, new_id, utcnow
from app.database.base import EPOCH

GENESIS: Final = bytes(32)


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What to show of a trail; `actor` and `target` match an id or a label exactly."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    before: datetime | None = None
    after: datetime | None = None


async def record(
    session: AsyncSession,
    tenant_id: str,
    actor: Actor,
    action: Action,
    target: Target,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Append one entry to the tenant's chain, in the caller's transaction."""
    head = await _lock_head(session, tenant_id)
    entry = AuditEntry(
        tenant_id=tenant_id,
        sequence=head.sequence + 1,
        id=new_id("aud"),
        at=utcnow(),
        action=action.value,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_label=actor.label,
        address=actor.address,
        user_agent=actor.user_agent[:300],
        target_kind=target.kind,
        target_id=target.id,
        target_label=target.label[:300],
        changes=msgspec.to_builtins(dict(changes or {})),
        previous_hash=head.hash,
    )
    entry.hash = entry_hash(entry)
    session.add(entry)
    await session.execute(
        update(AuditHead)
        .where(AuditHead.tenant_id == tenant_id)
        .values(sequence=entry.sequence, hash=entry.hash)
    )


async def _lock_head(session: AsyncSession, tenant_id: str) -> AuditHead:
    # The row lock makes writers of one tenant take turns; SQLite's write lock does it anyway.
    wanted = (
        select(AuditHead)
        .where(AuditHead.tenant_id == tenant_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    head = (await session.execute(wanted)).scalar_one_or_none()
    if head is None:
        first = {"tenant_id": tenant_id, "sequence": 0, "hash": GENESIS}
        await session.execute(insert_if_absent(session, AuditHead, first))
        head = (await session.execute(wanted)).scalar_one()
    return head


def entry_hash(entry: AuditEntry) -> bytes:
    """SHA-256 over the previous hash and every other column, in a fixed order."""
    facts = [
        entry.tenant_id,
        entry.sequence,
        entry.id,
        (entry.at - EPOCH) // timedelta(microseconds=1),
        entry.action,
        entry.actor_kind,
        entry.actor_id,
        entry.actor_label,
        entry.address,
        entry.user_agent,
        entry.target_kind,
        entry.target_id,
        entry.target_label,
        entry.changes,
    ]
    if any(isinstance(fact, bytes) for fact in facts):
        raise TypeError("bytes are encoded like text that they are not")
    return hashlib.sha256(
        entry.previous_hash + msgspec.json.encode(facts, order="deterministic")
    ).digest()


def filtered(tenant_id: str, wanted: AuditFilter) -> Select[tuple[AuditEntry]]:
    """Select what the filter wants of a tenant's trail."""
    query = select(AuditEntry).where(AuditEntry.tenant_id == tenant_id)
    if wanted.actor:
        query = query.where(
            (AuditEntry.actor_id == wanted.actor) | (AuditEntry.actor_label == wanted.actor)
        )
    if wanted.action:
        query = query.where(AuditEntry.action == wanted.action)
    if wanted.target:
        query = query.where(
            (AuditEntry.target_id == wanted.target) | (AuditEntry.target_label == wanted.target)
        )
    if wanted.before:
        query = query.where(AuditEntry.at < wanted.before)
    if wanted.after:
        query = query.where(AuditEntry.at >= wanted.after)
    return query


async def page(
    session: AsyncSession,
    tenant_id: str,
    wanted: AuditFilter,
    *,
    limit: int,
    below: int | None = None,
) -> list[AuditEntry]:
    """Return up to `limit` entries, newest first, with a sequence under `below`."""
    query = filtered(tenant_id, wanted)
    if below is not None:
        query = query.where(AuditEntry.sequence < below)
    query = query.order_by(AuditEntry.sequence.desc()).limit(limit)
    return list((await session.execute(query)).scalars())


async def walk(
    session: AsyncSession,
    tenant_id: str,
    wanted: AuditFilter,
    *,
    chunk: int = 500,
    up_to: int | None = None,
) -> AsyncIterator[AuditEntry]:
    """Yield every matching entry, oldest first, a chunk in memory at a time."""
    above: int | None = None
    while True:
        query = filtered(tenant_id, wanted)
        if above is not None:
            query = query.where(AuditEntry.sequence > above)
        if up_to is not None:
            query = query.where(AuditEntry.sequence <= up_to)
        query = query.order_by(AuditEntry.sequence).limit(chunk)
        entries = list((await session.execute(query)).scalars())
        for entry in entries:
            yield entry
        if len(entries) < chunk:
            return
        above = entries[-1].sequence
        session.expunge_all()
