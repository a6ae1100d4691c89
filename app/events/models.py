"""An event, the key that makes a repeat harmless, and what is known of the types of events."""

from datetime import datetime

from sqlalchemy import Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Instant, utcnow
from app.database.base import id_column


class Event(Base):
    """A fact; `body` holds the very bytes that every attempt signs and sends.

    Partitioned on PostgreSQL by `id`, which rises with time: retention drops a partition, and a
    look-up by id touches exactly one.
    """

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_type", "tenant_id", "type", "id"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    type: Mapped[str] = mapped_column(String(128))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    delivery_count: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(Instant)
    trace_context: Mapped[str | None] = mapped_column(String(55))  # W3C traceparent


class IdempotencyKey(Base):
    """The publisher's own id of an event: whoever inserts it first owns the event."""

    __tablename__ = "idempotency_key"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    event_id: Mapped[str] = mapped_column(id_column())
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)


class EventType(Base):
    """What is known of a type: a tenant's own word, or under the tenant `platform` for everybody.

    JSON is kept as text: the order of its keys is a person's, and `jsonb` takes no NUL.
    """

    __tablename__ = "event_type"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    type: Mapped[str] = mapped_column(String(128), primary_key=True)
    description: Mapped[str] = mapped_column(Text, default="")
    example: Mapped[str | None] = mapped_column(Text)  # JSON: the `data` of such an event
    json_schema: Mapped[str | None] = mapped_column(Text)  # JSON: what `data` has to fit
    schema_mode: Mapped[str] = mapped_column(String(12), default="off")
    updated_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    updated_by: Mapped[str] = mapped_column(String(254), default="")


class EventWarning(Base):
    """Where a kept event does not fit its schema; apart from it, because few events have any."""

    __tablename__ = "event_warning"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    event_id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    warnings: Mapped[str] = mapped_column(Text)  # JSON: a list of field and message
