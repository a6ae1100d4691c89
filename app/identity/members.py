"""The people of a tenant: invited, given another role, removed; one admin always stays."""

import asyncio
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import audit
from app.audit.models import Action, Actor, Target
from app.crypto import mint_token, token_hash
from app.database import utcnow
from app.errors import Conflict, NotFound
from app.identity import service
from app.identity.models import Member, PortalSession, Tenant
from app.identity.passwords import hash_password
from app.identity.permissions import Role

INVITE_LIFETIME: Final = timedelta(days=7)
PAGE_MAX: Final = 200


async def page(
    session: AsyncSession, tenant_id: str, *, limit: int = PAGE_MAX, below: str | None = None
) -> list[Member]:
    """Return up to `limit` members, newest first, with an id under `below`."""
    query = select(Member).where(Member.tenant_id == tenant_id)
    if below is not None:
        query = query.where(Member.id < below)
    return list((await session.execute(query.order_by(Member.id.desc()).limit(limit))).scalars())


async def get(session: AsyncSession, tenant_id: str, member_id: str) -> Member:
    query = select(Member).where(Member.tenant_id == tenant_id, Member.id == member_id)
    member = (await session.execute(query)).scalar_one_or_none()
    if member is None:
        raise NotFound
    return member


async def invite(
    session: AsyncSession, *, tenant_id: str, email: str, name: str, role: Role, actor: Actor
) -> tuple[Member, str]:
    """Make a member and the text of a one-time invite, which nobody can read again."""
    member = await service.new_member(
        session, tenant_id=tenant_id, email=email, name=name, role=role
    )
    text = await _issue_invite(session, member, actor)
    return member, text


async def invite_again(
    session: AsyncSession, tenant_id: str, member_id: str, *, actor: Actor
) -> tuple[Member, str]:
    """Replace an invite that was lost, or let a member choose a new password."""
    member = await get(session, tenant_id, member_id)
    _refuse_sign_on(member, "signs in by single sign-on and needs no password")
    return member, await _issue_invite(session, member, actor)


async def _issue_invite(session: AsyncSession, member: Member, actor: Actor) -> str:
    text = mint_token("")
    member.invite_hash = token_hash(text)
    member.invite_expires_at = utcnow() + INVITE_LIFETIME
    changes = {"role": member.role, "expires_at": member.invite_expires_at}
    target = Target("member", member.id, member.email)
    await audit.record(session, member.tenant_id, actor, Action.MEMBER_INVITED, target, changes)
    return text


async def invited(session: AsyncSession, text: str) -> Member:
    """Return whom an invite is for; NotFound when it is unknown, used or over."""
    query = select(Member).where(
        Member.invite_hash == token_hash(text), Member.invite_expires_at > utcnow()
    )
    member = (await session.execute(query)).scalar_one_or_none()
    if member is None:
        raise NotFound
    return member


async def join(
    session: AsyncSession, text: str, *, password: str, address: str, user_agent: str
) -> Member:
    """Accept an invite: the password counts from now on, and the invite never again."""
    hashed = await asyncio.to_thread(hash_password, password)
    used = (
        update(Member)
        .where(Member.invite_hash == token_hash(text), Member.invite_expires_at > utcnow())
        .values(password_hash=hashed, invite_hash=None, invite_expires_at=None)
        .returning(Member)
    )
    member = (await session.execute(used)).scalar_one_or_none()
    if member is None:
        raise NotFound
    # Whoever knew the old password must not stay signed in under it.
    await _drop_sessions(session, member)
    actor = service.member_actor(member, address=address, user_agent=user_agent)
    target = Target("member", member.id, member.email)
    await audit.record(session, member.tenant_id, actor, Action.MEMBER_JOINED, target)
    return member


async def change_role(
    session: AsyncSession, tenant_id: str, member_id: str, role: Role, *, actor: Actor
) -> Member:
    """Give another role; it counts from the member's next request on."""
    service.check_tenant_role(role)
    await take_turns(session, tenant_id)
    member = await get(session, tenant_id, member_id)
    _refuse_sign_on(member, "gets the role from single sign-on; change it there")
    if member.role != role:
        await _keep_an_admin(session, member, "given another role")
        await set_role(session, member, role, actor=actor)
    return member


async def set_role(session: AsyncSession, member: Member, role: Role, *, actor: Actor) -> None:
    changes = {"role": {"from": member.role, "to": role.value}}
    member.role = role
    target = Target("member", member.id, member.email)
    await audit.record(
        session, member.tenant_id, actor, Action.MEMBER_ROLE_CHANGED, target, changes
    )


async def remove(session: AsyncSession, tenant_id: str, member_id: str, *, actor: Actor) -> None:
    """Remove a member; its sessions end at once. The trail keeps the name."""
    await take_turns(session, tenant_id)
    member = await get(session, tenant_id, member_id)
    await _keep_an_admin(session, member, "removed")
    await _drop_sessions(session, member)
    await session.delete(member)
    target = Target("member", member.id, member.email)
    changes = {"role": member.role}
    await audit.record(session, tenant_id, actor, Action.MEMBER_REMOVED, target, changes)


async def take_turns(session: AsyncSession, tenant_id: str) -> None:
    """Let one change of members after the other look at who is left; SQLite's lock does it anyway.

    Weaker than FOR UPDATE: it does not hold up those who only refer to the tenant.
    """
    await session.execute(
        select(Tenant.id).where(Tenant.id == tenant_id).with_for_update(key_share=True)
    )


async def _keep_an_admin(session: AsyncSession, member: Member, what: str) -> None:
    if member.role != Role.TENANT_ADMIN or not member.has_joined:
        return
    others = (
        select(func.count())
        .select_from(Member)
        .where(
            Member.tenant_id == member.tenant_id,
            Member.id != member.id,
            Member.role == Role.TENANT_ADMIN,
            or_(Member.password_hash != "", Member.subject.is_not(None)),
        )
    )
    if not (await session.execute(others)).scalar_one():
        raise Conflict(f"The last tenant admin cannot be {what}: nobody could manage the tenant.")


async def _drop_sessions(session: AsyncSession, member: Member) -> None:
    await session.execute(
        delete(PortalSession).where(
            PortalSession.tenant_id == member.tenant_id, PortalSession.member_id == member.id
        )
    )


def _refuse_sign_on(member: Member, why: str) -> None:
    if member.subject is not None:
        raise Conflict(f"{member.email} {why}.")
