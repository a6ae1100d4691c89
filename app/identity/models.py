"""Tenants, their members, API tokens and portal sessions."""

import re
from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Instant, utcnow
from app.database.base import id_column
from app.identity.permissions import Role

#: The reserved tenant id of tokens that stand outside all tenants (role `platform`).
PLATFORM = "platform"
#: What a tenant's id looks like: it stands in JSON, file names and URLs as it is.
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Tenant(Base):
    """A customer of the platform; `id` is its slug and stands in every event it receives."""

    __tablename__ = "tenant"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)


class Member(Base):
    """A person of a tenant, who signs in to the portal."""

    __tablename__ = "member"
    __table_args__ = (UniqueConstraint("email", name="uq_member_email"),)

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    email: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[Role] = mapped_column(String(20))
    password_hash: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)


class ApiToken(Base):
    """A bearer token: only its hash is kept, and a hint by which people recognise it."""

    __tablename__ = "api_token"
    __table_args__ = (UniqueConstraint("token_hash", name="uq_api_token_hash"),)

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[Role] = mapped_column(String(20))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    hint: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    created_by: Mapped[str] = mapped_column(String(254))
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    last_used_at: Mapped[datetime | None] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)


class PortalSession(Base):
    """A signed-in browser, found by the hash of the token in its cookie."""

    __tablename__ = "portal_session"
    __table_args__ = (UniqueConstraint("token_hash", name="uq_portal_session_hash"),)

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    member_id: Mapped[str] = mapped_column(id_column())
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    last_seen_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    address: Mapped[str] = mapped_column(String(64), default="")
    user_agent: Mapped[str] = mapped_column(String(300), default="")
