"""Make tenants, members and tokens, and turn a bearer text or a password into a Principal."""

import asyncio
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import audit
from app.audit.models import Action, Actor, Target
from app.crypto import mint_token, token_hash
from app.database import new_id, utcnow
from app.errors import Conflict, FieldError, Invalid, NotFound, Unauthenticated
from app.identity.models import PLATFORM, SLUG, ApiToken, Member, PortalSession, Tenant
from app.identity.passwords import hash_password, password_matches
from app.identity.permissions import TENANT_ROLES, Principal, Role

NAME_MAX: Final = 100
EMAIL: Final = re.compile(r"[^@\s\0]{1,64}@[^@\s\0]{1,189}")
TOKEN_PREFIX: Final = "op_"
SESSION_LIFETIME: Final = timedelta(hours=12)
SESSION_IDLE: Final = timedelta(hours=2)
#: A last-used time is written at most this often: reads must not become writes.
TOUCH_EVERY: Final = timedelta(minutes=1)


async def create_tenant(
    session: AsyncSession, *, tenant_id: str, name: str, actor: Actor
) -> Tenant:
    if not SLUG.fullmatch(tenant_id):
        rule = "id must be lower-case letters, digits and inner hyphens, 1 to 63 characters"
        raise Invalid.fields([FieldError("id", rule)])
    if tenant_id == PLATFORM or await tenant_exists(session, tenant_id):
        raise Conflict(f"A tenant {tenant_id!r} exists already.")
    tenant = Tenant(id=tenant_id, name=_named(name) or tenant_id)
    session.add(tenant)
    await session.flush()
    target = Target("tenant", tenant.id, tenant.name)
    await audit.record(session, tenant.id, actor, Action.TENANT_CREATED, target)
    return tenant


async def create_member(
    session: AsyncSession,
    *,
    tenant_id: str,
    email: str,
    name: str,
    role: Role,
    password: str,
    actor: Actor,
) -> Member:
    await _require_tenant(session, tenant_id)
    member = await new_member(
        session,
        tenant_id=tenant_id,
        email=email,
        name=name,
        role=role,
        password_hash=await asyncio.to_thread(hash_password, password),
    )
    target = Target("member", member.id, member.email)
    await audit.record(
        session, tenant_id, actor, Action.MEMBER_CREATED, target, {"role": role.value}
    )
    return member


async def new_member(
    session: AsyncSession,
    *,
    tenant_id: str,
    email: str,
    name: str,
    role: Role,
    password_hash: str = "",
) -> Member:
    """Add a member; whoever calls gives them a way to sign in, and records what happened."""
    email = email.strip().lower()
    if not EMAIL.fullmatch(email):
        raise Invalid.fields([FieldError("email", "email must look like name@company.example")])
    check_tenant_role(role)
    taken = select(Member.id).where(Member.email == email)
    if (await session.execute(taken)).first():
        raise Conflict(f"A user {email} exists already.")
    member = Member(
        tenant_id=tenant_id,
        id=new_id("usr"),
        email=email,
        name=_named(name) or email,
        role=role,
        password_hash=password_hash,
    )
    session.add(member)
    return member


async def create_token(
    session: AsyncSession,
    *,
    tenant_id: str,
    name: str,
    role: Role,
    actor: Actor,
    expires_at: datetime | None = None,
    text: str | None = None,
) -> tuple[ApiToken, str]:
    """Return the stored token and its text, which nobody can read again."""
    if role is Role.PLATFORM or tenant_id == PLATFORM:
        if (tenant_id, role) != (PLATFORM, Role.PLATFORM):
            rule = "role platform belongs to tenant platform, and to no other"
            raise Invalid.fields([FieldError("role", rule)])
    else:
        check_tenant_role(role)
        await _require_tenant(session, tenant_id)
    text = text or mint_token(TOKEN_PREFIX)
    token = ApiToken(
        tenant_id=tenant_id,
        id=new_id("tok"),
        name=_named(name),
        role=role,
        token_hash=token_hash(text),
        hint=f"{text[:6]}…{text[-4:]}",
        created_by=actor.label,
        expires_at=expires_at,
    )
    session.add(token)
    target = Target("token", token.id, token.name)
    await audit.record(
        session, tenant_id, actor, Action.TOKEN_CREATED, target, {"role": role.value}
    )
    return token, text


async def list_tokens(session: AsyncSession, tenant_id: str) -> list[ApiToken]:
    query = select(ApiToken).where(ApiToken.tenant_id == tenant_id, ApiToken.revoked_at.is_(None))
    return list((await session.execute(query.order_by(ApiToken.id.desc()))).scalars())


async def revoke_token(
    session: AsyncSession, tenant_id: str, token_id: str, *, actor: Actor
) -> None:
    """Revoke at once: the next request with it is not signed in."""
    query = select(ApiToken).where(ApiToken.tenant_id == tenant_id, ApiToken.id == token_id)
    token = (await session.execute(query)).scalar_one_or_none()
    if token is None or token.revoked_at is not None:
        raise NotFound
    token.revoked_at = utcnow()
    target = Target("token", token.id, token.name)
    await audit.record(session, tenant_id, actor, Action.TOKEN_REVOKED, target)


async def verify_token(
    session: AsyncSession, text: str, *, address: str, user_agent: str
) -> tuple[Principal, ApiToken]:
    """Return who holds the token; Unauthenticated when it is unknown, revoked or expired."""
    query = (
        select(ApiToken, Tenant.name)
        .outerjoin(Tenant, Tenant.id == ApiToken.tenant_id)
        .where(ApiToken.token_hash == token_hash(text))
    )
    found = (await session.execute(query)).one_or_none()
    if found is None or not _is_live(found[0]):
        raise Unauthenticated("The token is unknown, expired or revoked.")
    token, tenant_name = found
    actor = Actor(
        kind="token",
        id=token.id,
        label=token.name,
        address=address,
        user_agent=user_agent[:300],
    )
    principal = Principal(
        tenant_id=token.tenant_id,
        tenant_name=tenant_name or "Platform",
        role=Role(token.role),
        actor=actor,
    )
    return principal, token


def _is_live(token: ApiToken) -> bool:
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > utcnow())


def is_stale(last: datetime | None) -> bool:
    """Whether a last-used time is old enough to be worth a write."""
    return last is None or utcnow() - last > TOUCH_EVERY


async def touch_token(session: AsyncSession, token: ApiToken) -> None:
    await session.execute(
        update(ApiToken)
        .where(ApiToken.tenant_id == token.tenant_id, ApiToken.id == token.id)
        .values(last_used_at=utcnow())
    )


async def authenticate(session: AsyncSession, email: str, password: str) -> Member:
    """Return the member; Unauthenticated with one text for every cause."""
    query = select(Member).where(Member.email == email.strip().lower())
    member = (await session.execute(query)).scalar_one_or_none()
    stored = member.password_hash if member else None
    # argon2 takes tens of milliseconds: not on the event loop.
    if not await asyncio.to_thread(password_matches, stored, password) or member is None:
        raise Unauthenticated("Email or password is wrong.")
    return member


async def open_session(
    session: AsyncSession, member: Member, *, address: str, user_agent: str
) -> str:
    """Return the cookie text of a fresh session; it is never taken from the browser."""
    text = mint_token("")
    session.add(
        PortalSession(
            tenant_id=member.tenant_id,
            id=new_id("ses"),
            member_id=member.id,
            token_hash=token_hash(text),
            expires_at=utcnow() + SESSION_LIFETIME,
            address=address,
            user_agent=user_agent[:300],
        )
    )
    ours = (Member.tenant_id == member.tenant_id, Member.id == member.id)
    await session.execute(update(Member).where(*ours).values(signed_in_at=utcnow()))
    actor = member_actor(member, address=address, user_agent=user_agent)
    target = Target("member", member.id, member.email)
    await audit.record(session, member.tenant_id, actor, Action.MEMBER_SIGNED_IN, target)
    return text


async def find_session(
    session: AsyncSession, text: str, *, address: str, user_agent: str
) -> tuple[Principal, PortalSession] | None:
    """Return who is signed in with this cookie, or None when it is unknown, idle or over."""
    found = await find_sessions(session, [token_hash(text)])
    if not found:
        return None
    ((principal, current),) = found.values()
    actor = msgspec.structs.replace(principal.actor, address=address, user_agent=user_agent[:300])
    return msgspec.structs.replace(principal, actor=actor), current


async def find_sessions(
    session: AsyncSession, hashes: Iterable[bytes]
) -> dict[bytes, tuple[Principal, PortalSession]]:
    """Return who is signed in with each of these cookies, by their hash; without those that ended.

    One query, however many; whoever asks for a request's own actor wants `find_session`.
    """
    query = (
        select(PortalSession, Member, Tenant.name)
        .join(
            Member,
            (Member.tenant_id == PortalSession.tenant_id) & (Member.id == PortalSession.member_id),
        )
        .join(Tenant, Tenant.id == PortalSession.tenant_id)
        .where(PortalSession.token_hash.in_(list(hashes)))
    )
    now = utcnow()
    found: dict[bytes, tuple[Principal, PortalSession]] = {}
    for current, member, tenant_name in await session.execute(query):
        if current.expires_at <= now or now - current.last_seen_at > SESSION_IDLE:
            continue
        principal = Principal(
            tenant_id=member.tenant_id,
            tenant_name=tenant_name,
            role=Role(member.role),
            actor=member_actor(member, address="", user_agent=""),
        )
        found[current.token_hash] = principal, current
    return found


async def touch_session(session: AsyncSession, current: PortalSession) -> None:
    await session.execute(
        update(PortalSession)
        .where(PortalSession.tenant_id == current.tenant_id, PortalSession.id == current.id)
        .values(last_seen_at=utcnow())
    )


async def close_session(session: AsyncSession, text: str, actor: Actor) -> None:
    query = select(PortalSession).where(PortalSession.token_hash == token_hash(text))
    current = (await session.execute(query)).scalar_one_or_none()
    if current is None:
        return
    await session.delete(current)
    target = Target("member", current.member_id, actor.label)
    await audit.record(session, current.tenant_id, actor, Action.MEMBER_SIGNED_OUT, target)


def member_actor(member: Member, *, address: str, user_agent: str) -> Actor:
    return Actor(
        kind="member",
        id=member.id,
        label=member.email,
        address=address,
        user_agent=user_agent[:300],
    )


async def tenant_exists(session: AsyncSession, tenant_id: str) -> bool:
    return await session.get(Tenant, tenant_id) is not None


async def is_empty(session: AsyncSession) -> bool:
    return (await session.execute(select(func.count()).select_from(Tenant))).scalar_one() == 0


async def _require_tenant(session: AsyncSession, tenant_id: str) -> None:
    if not await tenant_exists(session, tenant_id):
        raise Invalid.fields([FieldError("tenant", f"tenant {tenant_id!r} does not exist")])


def _named(name: str) -> str:
    name = name.strip()
    if len(name) > NAME_MAX or not name.isprintable():
        raise Invalid.fields([FieldError("name", f"name must be at most {NAME_MAX} characters")])
    return name


def check_tenant_role(role: Role) -> None:
    if role not in TENANT_ROLES:
        rule = f"role must be one of: {', '.join(TENANT_ROLES)}"
        raise Invalid.fields([FieldError("role", rule)])
