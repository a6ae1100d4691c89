"""Who and what an installation holds, for its operators: tenants, people, tokens, destinations."""

from datetime import datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import utcnow
from app.deliveries.health import status_of
from app.destinations.models import Destination, Lane
from app.identity.models import ApiToken, Member, Tenant


class TenantLine(msgspec.Struct, frozen=True):
    id: str
    name: str
    created_at: datetime


class UserLine(msgspec.Struct, frozen=True):
    tenant: str
    email: str
    name: str
    role: str
    created_at: datetime


class TokenLine(msgspec.Struct, frozen=True):
    """A token by its hint; its text is nowhere."""

    tenant: str
    id: str
    name: str
    role: str
    hint: str
    state: str  # live, expired, revoked
    expires_at: datetime | None
    last_used_at: datetime | None


class DestinationLine(msgspec.Struct, frozen=True):
    tenant: str
    id: str
    name: str
    status: str
    endpoint_url: str


async def tenants(session: AsyncSession) -> list[TenantLine]:
    found = await session.execute(select(Tenant).order_by(Tenant.id))
    return [TenantLine(one.id, one.name, one.created_at) for one in found.scalars()]


async def users(session: AsyncSession, tenant_id: str | None) -> list[UserLine]:
    query = select(Member).order_by(Member.tenant_id, Member.email)
    if tenant_id:
        query = query.where(Member.tenant_id == tenant_id)
    return [
        UserLine(one.tenant_id, one.email, one.name, str(one.role), one.created_at)
        for one in (await session.execute(query)).scalars()
    ]


async def tokens(session: AsyncSession, tenant_id: str | None) -> list[TokenLine]:
    query = select(ApiToken).order_by(ApiToken.tenant_id, ApiToken.id)
    if tenant_id:
        query = query.where(ApiToken.tenant_id == tenant_id)
    now = utcnow()
    return [
        TokenLine(
            one.tenant_id, one.id, one.name, str(one.role), one.hint, _state(one, now),
            one.expires_at, one.last_used_at,
        )
        for one in (await session.execute(query)).scalars()
    ]  # fmt: skip


def _state(token: ApiToken, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "live"


async def destinations(session: AsyncSession, tenant_id: str | None) -> list[DestinationLine]:
    query = (
        select(Destination, Lane)
        .outerjoin(
            Lane,
            (Lane.tenant_id == Destination.tenant_id) & (Lane.destination_id == Destination.id),
        )
        .where(Destination.deleted_at.is_(None))
        .order_by(Destination.tenant_id, Destination.id)
    )
    if tenant_id:
        query = query.where(Destination.tenant_id == tenant_id)
    return [
        DestinationLine(
            one.tenant_id, one.id, one.name, str(status_of(one, lane)), one.endpoint_url
        )
        for one, lane in await session.execute(query)
    ]
