"""The open portal sessions of a tenant: seen, and ended one by one or all at once."""

from sqlalchemy import delete, select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncSession

from app import audit
from app.audit.models import Action, Actor, Target
from app.database import utcnow
from app.errors import NotFound
from app.identity.models import Member, PortalSession
from app.identity.service import SESSION_IDLE

PAGE_MAX = 200


async def page(
    session: AsyncSession,
    tenant_id: str,
    *,
    member_id: str | None = None,
    limit: int = PAGE_MAX,
    below: str | None = None,
) -> list[Row[tuple[PortalSession, Member]]]:
    """Return sessions that are not over, newest first, each with its member."""
    now = utcnow()
    query = (
        select(PortalSession, Member)
        .join(
            Member,
            (Member.tenant_id == PortalSession.tenant_id) & (Member.id == PortalSession.member_id),
        )
        .where(
            PortalSession.tenant_id == tenant_id,
            PortalSession.expires_at > now,
            PortalSession.last_seen_at >= now - SESSION_IDLE,
        )
    )
    if member_id is not None:
        query = query.where(PortalSession.member_id == member_id)
    if below is not None:
        query = query.where(PortalSession.id < below)
    query = query.order_by(PortalSession.id.desc()).limit(limit)
    return list((await session.execute(query)).all())


async def end(
    session: AsyncSession,
    tenant_id: str,
    session_id: str,
    *,
    actor: Actor,
    member_id: str | None = None,
) -> None:
    """End one session; with `member_id` only if it is that member's."""
    query = (
        select(PortalSession, Member.email)
        .outerjoin(
            Member,
            (Member.tenant_id == PortalSession.tenant_id) & (Member.id == PortalSession.member_id),
        )
        .where(PortalSession.tenant_id == tenant_id, PortalSession.id == session_id)
    )
    found = (await session.execute(query)).one_or_none()
    if found is None or member_id not in {None, found[0].member_id}:
        raise NotFound
    current, email = found
    await session.delete(current)
    target = Target("member", current.member_id, email or current.member_id)
    changes = {"session": current.id}
    await audit.record(session, tenant_id, actor, Action.SESSION_ENDED, target, changes)


async def end_all(session: AsyncSession, member: Member, *, actor: Actor) -> int:
    """Sign a member out everywhere; return how many sessions that ended."""
    ours = delete(PortalSession).where(
        PortalSession.tenant_id == member.tenant_id, PortalSession.member_id == member.id
    )
    ended = len((await session.execute(ours.returning(PortalSession.id))).all())
    target = Target("member", member.id, member.email)
    changes = {"sessions": ended}
    await audit.record(session, member.tenant_id, actor, Action.SESSIONS_ENDED, target, changes)
    return ended
