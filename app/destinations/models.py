"""A destination, its signing secrets, and its lane (what the engine learnt of the road there)."""

from datetime import datetime

from sqlalchemy import ForeignKeyConstraint, Index, Integer, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Instant, JsonText, utcnow
from app.database.base import id_column

#: Destinations with rules of their own, which are claimed one by one.
_STRICT = text("ordered OR rate_limit_per_second IS NOT NULL")


class Destination(Base):
    """A tenant's endpoint; deleting only marks it, so that its history stays readable."""

    __tablename__ = "destination"
    __table_args__ = (
        Index("ix_destination_live", "tenant_id", "deleted_at"),
        Index("ix_destination_strict", "tenant_id", "id", postgresql_where=_STRICT,
              sqlite_where=_STRICT),
    )  # fmt: skip

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, default="")
    endpoint_url: Mapped[str] = mapped_column(Text)
    event_types: Mapped[list[str]] = mapped_column(JsonText)  # empty: every type
    sealed_headers: Mapped[bytes | None] = mapped_column(LargeBinary)  # they often carry a key
    rate_limit_per_second: Mapped[int | None] = mapped_column(Integer)
    ordered: Mapped[bool] = mapped_column(default=False)
    asymmetric_signature: Mapped[bool] = mapped_column(default=False)  # also `v1a`, Ed25519
    trace_context: Mapped[bool] = mapped_column(default=False)  # wants `traceparent`
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    disabled_at: Mapped[datetime | None] = mapped_column(Instant)
    disabled_reason: Mapped[str | None] = mapped_column(String(200))
    deleted_at: Mapped[datetime | None] = mapped_column(Instant)

    @property
    def headers_context(self) -> str:
        """What its sealed headers are bound to."""
        return headers_context(self.tenant_id, self.id)


class SigningSecret(Base):
    """A sealed signing secret; several are live while a rotation overlaps."""

    __tablename__ = "signing_secret"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "destination_id"], ["destination.tenant_id", "destination.id"]
        ),
    )

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    destination_id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    fingerprint: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    created_by: Mapped[str] = mapped_column(String(254))
    expires_at: Mapped[datetime | None] = mapped_column(Instant)  # null: the current one


class SigningKeyPair(Base):
    """An Ed25519 key pair of the installation, for every destination that asks for `v1a`.

    Of no tenant: it proves who sent, and its public half is published for all.
    """

    __tablename__ = "signing_key"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(id_column())
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    public: Mapped[str] = mapped_column(String(60))  # whpk_ + base64
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)


def key_context(key_id: str) -> str:
    """Return what the sealed half of a key pair is bound to."""
    return f"signing-key:{key_id}"


def secret_context(tenant_id: str, destination_id: str) -> str:
    """Return what a sealed secret is bound to: it opens for no other destination."""
    return f"secret:{tenant_id}:{destination_id}"


def headers_context(tenant_id: str, destination_id: str) -> str:
    """Return what a destination's sealed headers are bound to."""
    return f"headers:{tenant_id}:{destination_id}"


class Lane(Base):
    """What the engine learnt of a destination; apart from it, because it changes with traffic."""

    __tablename__ = "lane"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    destination_id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    consecutive_failures: Mapped[int] = mapped_column(Integer, default=0)
    failing_since: Mapped[datetime | None] = mapped_column(Instant)
    open_until: Mapped[datetime | None] = mapped_column(Instant)  # breaker open: nothing is sent
    slow_until: Mapped[datetime | None] = mapped_column(Instant)  # the receiver asked for a pause
    paced_until: Mapped[datetime | None] = mapped_column(Instant)  # sends are booked up to here
    noticed: Mapped[str] = mapped_column(String(12), default="ok")  # what its tenant was told
