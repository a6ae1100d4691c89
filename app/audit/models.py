"""What is written down of a change: who, what, which object, when, from where; never a secret."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Instant, JsonText


class Action(StrEnum):
    """`resource.past_tense`, in alphabetical order; app.audit.words has its sentence for people."""

    AUDIT_PRUNED = "audit.pruned"
    DATA_PRUNED = "data.pruned"
    DELIVERIES_CANCELLED = "deliveries.cancelled"
    DELIVERIES_RETRIED = "deliveries.retried"
    DELIVERY_CANCELLED = "delivery.cancelled"
    DELIVERY_RETRIED = "delivery.retried"
    DESTINATION_CREATED = "destination.created"
    DESTINATION_DELETED = "destination.deleted"
    DESTINATION_DISABLED = "destination.disabled"
    DESTINATION_ENABLED = "destination.enabled"
    DESTINATION_SECRET_REVOKED = "destination.secret_revoked"
    DESTINATION_SECRET_ROTATED = "destination.secret_rotated"
    DESTINATION_TESTED = "destination.tested"
    DESTINATION_UPDATED = "destination.updated"
    EVENT_TYPE_REMOVED = "event_type.removed"
    EVENT_TYPE_SAVED = "event_type.saved"
    MEMBER_CREATED = "member.created"
    MEMBER_INVITED = "member.invited"
    MEMBER_JOINED = "member.joined"
    MEMBER_LINKED = "member.linked"
    MEMBER_REMOVED = "member.removed"
    MEMBER_ROLE_CHANGED = "member.role_changed"
    MEMBER_SIGN_IN_REFUSED = "member.sign_in_refused"
    MEMBER_SIGNED_IN = "member.signed_in"
    MEMBER_SIGNED_OUT = "member.signed_out"
    REPLAY_CANCELLED = "replay.cancelled"
    REPLAY_FAILED = "replay.failed"
    REPLAY_FINISHED = "replay.finished"
    REPLAY_PAUSED = "replay.paused"
    REPLAY_RESUMED = "replay.resumed"
    REPLAY_STARTED = "replay.started"
    SECRETS_REKEYED = "secrets.rekeyed"
    SESSION_ENDED = "session.ended"
    SESSIONS_ENDED = "sessions.ended"
    TENANT_CREATED = "tenant.created"
    TOKEN_CREATED = "token.created"
    TOKEN_REVOKED = "token.revoked"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who did it, as known at the time: copied, so that it outlives the account."""

    kind: str  # member, token, system
    id: str
    label: str
    address: str = ""
    user_agent: str = ""


SYSTEM = Actor(kind="system", id="system", label="system")


class Target(msgspec.Struct, frozen=True):
    """The object of a change; its label is copied too."""

    kind: str
    id: str
    label: str


class AuditEntry(Base):
    """One link of a tenant's chain; `sequence` counts from 1 without gaps."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("ix_audit_entry_at", "tenant_id", "at"),)

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(String(40))
    at: Mapped[datetime] = mapped_column(Instant)
    action: Mapped[str] = mapped_column(String(60))
    actor_kind: Mapped[str] = mapped_column(String(20))
    actor_id: Mapped[str] = mapped_column(String(64))
    actor_label: Mapped[str] = mapped_column(String(254))
    address: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(300))
    target_kind: Mapped[str] = mapped_column(String(30))
    target_id: Mapped[str] = mapped_column(String(64))
    target_label: Mapped[str] = mapped_column(String(300))
    changes: Mapped[dict[str, Any]] = mapped_column(JsonText)
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditHead(Base):
    """The newest link of a tenant's chain: the lock that orders writers, and proof of the tail."""

    __tablename__ = "audit_head"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditSeal(Base):
    """What the installation's key vouches for: that the chain had this hash at this entry.

    `head` is the newest entry that was sealed, `anchor` the last one that retention pruned: there
    is one of each per tenant, and both only move up.
    """

    __tablename__ = "audit_seal"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    at: Mapped[datetime] = mapped_column(Instant)
    key_id: Mapped[str] = mapped_column(String(40))
    signature: Mapped[bytes] = mapped_column(LargeBinary(64))
