"""From what the sign-on provider says of someone to a member of ours, or to a plain refusal."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import audit
from app.audit.models import Action, Actor, Target
from app.crypto import token_hash
from app.database import insert_if_absent
from app.database.base import from_millis
from app.errors import Forbidden, Invalid
from app.identity import members, service
from app.identity.jwt import Claims
from app.identity.models import PLATFORM, Member, SpentState, Tenant
from app.identity.permissions import RIGHTS, TENANT_ROLES, Principal, Role
from app.identity.sign_on import Ticket
from app.settings import Settings

ACTOR: Final = Actor(kind="system", id="sign-on", label="single sign-on")
#: What the audit keeps of a subject: an id column's width.
ACTOR_ID_MAX: Final = 64
LABEL_MAX: Final = 254


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who the provider says it is, as far as we use it."""

    subject: str
    email: str
    is_verified: bool
    name: str

    @property
    def label(self) -> str:
        return (self.email or self.name or self.subject)[:LABEL_MAX]


class Refused(Exception):
    """Why the person may not come in, for them and for the audit."""


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return a claim by its exact name, or else by a path such as `realm_access.roles`."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def role_in(value: Any, allowed: Sequence[Role] = TENANT_ROLES) -> Role:
    """Return the role that a claim, a word or a list, names exactly; Refused when none or unclear.

    Of several the one counts that may all that the others may.
    """
    words = {value} if isinstance(value, str) else set()
    if isinstance(value, list):
        words = {word for word in value if isinstance(word, str)}
    named = [role for role in allowed if role in words]
    if not named:
        raise Refused(f"Your account names none of the roles: {', '.join(allowed)}.")
    if any(not RIGHTS[other] <= RIGHTS[named[0]] for other in named):
        raise Refused(f"Your account names more than one role: {', '.join(named)}.")
    return named[0]


def person_of(claims: Claims) -> Person:
    def words(name: str) -> str:
        given = claims.get(name)
        return given.strip() if isinstance(given, str) and given.isprintable() else ""

    return Person(
        subject=claims["sub"],
        email=words("email").lower(),
        is_verified=claims.get("email_verified") is True,
        name=words("name")[: service.NAME_MAX],
    )


async def spend(session: AsyncSession, ticket: Ticket) -> None:
    """Use a ticket up: a state that came back once is refused for ever after."""
    values = {
        "state_hash": token_hash(ticket.state),
        "expires_at": from_millis(ticket.until * 1_000),
    }
    fresh = insert_if_absent(session, SpentState, values).returning(SpentState.state_hash)
    if (await session.execute(fresh)).first() is None:
        raise Invalid("This sign-in was used already. Start it again.")


async def admit(
    session: AsyncSession, claims: Claims, settings: Settings, *, address: str, user_agent: str
) -> Member | Refused:
    """Return the member, made at the first sign-in and given today's role; every step is audited.

    A refusal is returned, not raised, so that its audit entry is committed.
    """
    person = person_of(claims)
    tenant_id = claim(claims, settings.oidc_tenant_claim)
    tenant = await _tenant(session, tenant_id)
    try:
        return await _admitted(session, tenant, person, claims, settings)
    except Refused as refusal:
        actor = _actor("member", person, address, user_agent)
        target = Target("member", actor.id, person.label)
        changes = {"reason": str(refusal)}
        if tenant is None and isinstance(tenant_id, str):
            changes["tenant"] = tenant_id[:LABEL_MAX].replace("\0", "")
        await audit.record(
            session, tenant.id if tenant else PLATFORM, actor, Action.MEMBER_SIGN_IN_REFUSED,
            target, changes,
        )  # fmt: skip
        return refusal


async def _admitted(
    session: AsyncSession, tenant: Tenant | None, person: Person, claims: Claims, settings: Settings
) -> Member:
    if tenant is None:
        raise Refused("Your account belongs to no tenant of this installation.")
    role = role_in(claim(claims, settings.oidc_role_claim))
    await members.take_turns(session, tenant.id)
    issuer = settings.oidc_issuer
    known = select(Member).where(Member.issuer == issuer, Member.subject == person.subject)
    member = (await session.execute(known)).scalar_one_or_none()
    if member is None:
        return await _first_time(session, tenant.id, person, role, issuer)
    if member.tenant_id != tenant.id:
        raise Refused("You are a member of another tenant. Its admin must remove you there first.")
    await _follow(session, member, role)
    return member


async def _first_time(
    session: AsyncSession, tenant_id: str, person: Person, role: Role, issuer: str
) -> Member:
    if not service.EMAIL.fullmatch(person.email):
        raise Refused("Your account names no email address.")
    same = select(Member).where(Member.email == person.email)
    member = (await session.execute(same)).scalar_one_or_none()
    if member is not None:
        if member.tenant_id != tenant_id or member.subject is not None:
            raise Refused(f"{person.email} is another member's address.")
        if not person.is_verified:
            raise Refused(f"The provider has not verified that {person.email} is yours.")
        return await _link(session, member, person, role, issuer)
    member = await service.new_member(
        session, tenant_id=tenant_id, email=person.email, name=person.name, role=role
    )
    member.issuer, member.subject = issuer, person.subject
    target = Target("member", member.id, member.email)
    changes = {"role": role.value, "subject": person.subject}
    await audit.record(session, tenant_id, ACTOR, Action.MEMBER_CREATED, target, changes)
    return member


async def _link(
    session: AsyncSession, member: Member, person: Person, role: Role, issuer: str
) -> Member:
    """Let a local account go over to single sign-on: from now on it has no password."""
    member.issuer, member.subject = issuer, person.subject
    member.password_hash, member.invite_hash, member.invite_expires_at = "", None, None
    target = Target("member", member.id, member.email)
    changes = {"subject": person.subject}
    await audit.record(session, member.tenant_id, ACTOR, Action.MEMBER_LINKED, target, changes)
    await _follow(session, member, role)
    return member


async def _follow(session: AsyncSession, member: Member, role: Role) -> None:
    # The provider is the authority on roles, also on the last admin's.
    if member.role != role:
        await members.set_role(session, member, role, actor=ACTOR)


async def principal_of(
    session: AsyncSession, claims: Claims, settings: Settings, *, address: str, user_agent: str
) -> Principal:
    """Return who holds an access token for the API; Forbidden when it names no tenant or role."""
    person = person_of(claims)
    tenant_id = claim(claims, settings.oidc_tenant_claim)
    tenant = await _tenant(session, tenant_id)
    is_platform = tenant_id == PLATFORM
    if tenant is None and not is_platform:
        raise Forbidden("The token names no tenant of this installation.")
    try:
        allowed = (Role.PLATFORM,) if is_platform else TENANT_ROLES
        role = role_in(claim(claims, settings.oidc_role_claim), allowed)
    except Refused as refusal:
        raise Forbidden(str(refusal).replace("Your account", "The token")) from None
    return Principal(
        tenant_id=tenant.id if tenant else PLATFORM,
        tenant_name=tenant.name if tenant else "Platform",
        role=role,
        actor=_actor("token", person, address, user_agent),
    )


async def _tenant(session: AsyncSession, tenant_id: Any) -> Tenant | None:
    if not isinstance(tenant_id, str) or "\0" in tenant_id:
        return None
    return await session.get(Tenant, tenant_id)


def _actor(kind: str, person: Person, address: str, user_agent: str) -> Actor:
    is_short = len(person.subject) <= ACTOR_ID_MAX
    return Actor(
        kind=kind,
        id=person.subject if is_short else token_hash(person.subject).hex(),
        label=person.label,
        address=address,
        user_agent=user_agent[:300],
    )
