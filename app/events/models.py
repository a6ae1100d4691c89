"""An event, and the key that keeps a repeated publish from becoming a second event."""

from datetime import datetime

from sqlalchemy import Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Instant, utcnow
from app.database.base import id_column


class Event(Base):
    """A fact; `body` holds the very bytes that every attempt signs and sends.

    Partitioned on PostgreSQL by `id`, which rises with time: retention drops a partition, and a
    look-up by id touches exactly one.
    """

    __tablename__ = "event"
    __table_args__ = ({"postgresql_partition_by": "RANGE (id)"},)

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    type: Mapped[str] = mapped_column(String(128))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    delivery_count: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(Instant)


class IdempotencyKey(Base):
    """The publisher's own id of an event: whoever inserts it first owns the event."""

    __tablename__ = "idempotency_key"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    event_id: Mapped[str] = mapped_column(id_column())
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
