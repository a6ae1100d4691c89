"""Tenants, their members, API tokens and portal sessions; what sign-in must remember."""

import re
from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
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
    """A person of a tenant, who signs in to the portal.

    By password, or as `subject` of the single sign-on `issuer`; who was only invited has neither.
    """

    __tablename__ = "member"
    __table_args__ = (
        UniqueConstraint("email", name="uq_member_email"),
        Index("ix_member_subject", "issuer", "subject", unique=True),
        Index("ix_member_invite", "invite_hash", unique=True),
    )

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    email: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[Role] = mapped_column(String(20))
    password_hash: Mapped[str] = mapped_column(Text)  # empty: no password signs in
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    issuer: Mapped[str | None] = mapped_column(String(300))
    subject: Mapped[str | None] = mapped_column(String(255))
    invite_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    invite_expires_at: Mapped[datetime | None] = mapped_column(Instant)
    signed_in_at: Mapped[datetime | None] = mapped_column(Instant)

    @property
    def has_joined(self) -> bool:
        return bool(self.password_hash or self.subject)


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
    __table_args__ = (
        UniqueConstraint("token_hash", name="uq_portal_session_hash"),
        Index("ix_portal_session_member", "tenant_id", "member_id"),
    )

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    member_id: Mapped[str] = mapped_column(id_column())
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    last_seen_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    expires_at: Mapped[datetime] = mapped_column(Instant)
    address: Mapped[str] = mapped_column(String(64), default="")
    user_agent: Mapped[str] = mapped_column(String(300), default="")


class SignInWindow(Base):
    """How many sign-ins failed in a span of time that ends at `until` (see throttle.py)."""

    __tablename__ = "sign_in_window"

    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    tries: Mapped[int]
    until: Mapped[datetime] = mapped_column(Instant)


class SpentState(Base):
    """A single sign-on that came back: its state is good for nothing any more."""

    __tablename__ = "spent_state"

    state_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Instant)
