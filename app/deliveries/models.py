"""A delivery, its attempts, and the rolled-up counts that health is read from."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BigInteger, Index, Integer, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Instant, JsonText, utcnow
from app.database.base import id_column


class State(StrEnum):
    """Where a delivery stands; TRANSITIONS says what may follow what."""

    PENDING = "pending"  # owed, not tried yet
    DELIVERING = "delivering"  # leased to a worker that is trying now
    DELIVERED = "delivered"  # the receiver answered 2xx; final
    RETRYING = "retrying"  # tried in vain; `next_attempt_at` says when again
    FAILED = "failed"  # given up: the dead letters
    CANCELLED = "cancelled"  # no longer wanted: cancelled, or its destination went away


#: The states from which a delivery may be claimed once it is due.
WAITING: Final = (State.PENDING, State.RETRYING)
#: The states that people look for: not as it should be, or not any more.
NOTABLE: Final = (State.RETRYING, State.FAILED, State.CANCELLED)
#: The states in which something is still owed.
OPEN: Final = (State.PENDING, State.RETRYING, State.DELIVERING)

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.PENDING: frozenset({State.DELIVERING, State.CANCELLED}),
    State.DELIVERING: frozenset(
        {State.DELIVERED, State.RETRYING, State.FAILED, State.CANCELLED, State.PENDING}
    ),
    State.RETRYING: frozenset({State.DELIVERING, State.CANCELLED}),
    State.FAILED: frozenset({State.RETRYING}),  # a manual retry
    State.CANCELLED: frozenset({State.RETRYING}),  # a manual retry
    State.DELIVERED: frozenset(),
}


class Trigger(StrEnum):
    """Why an attempt was made."""

    SCHEDULED = "scheduled"  # the first one, and every retry by the schedule
    MANUAL = "manual"  # a person asked for it
    REPLAY = "replay"  # a part of a replay
    TEST = "test"  # a test event


_WAITING = text("state IN ('pending', 'retrying')")
_DELIVERING = text("state = 'delivering'")
_LINE = text("ordered AND state IN ('pending', 'retrying', 'delivering', 'failed')")
_RUNNING = text("state = 'running'")
_NOTABLE = text("state IN ('retrying', 'failed', 'cancelled')")
_UNDELIVERED = text("last_outcome <> 'delivered'")


class Delivery(Base):
    """An event owed to a destination. This row is the only authority on what happens next.

    No foreign keys: they would cost a probe per row on the hot path, and rows of event and
    destination are never removed before their deliveries.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        Index("ix_delivery_destination", "tenant_id", "destination_id", "id"),
        Index("ix_delivery_event", "tenant_id", "event_id"),
        Index("ix_delivery_lease", "lease_until", postgresql_where=_DELIVERING,
              sqlite_where=_DELIVERING),
        Index("ix_delivery_line", "tenant_id", "destination_id", "id",
              postgresql_where=_LINE, sqlite_where=_LINE),
        Index("ix_delivery_notable", "tenant_id", "state", "id", postgresql_where=_NOTABLE,
              sqlite_where=_NOTABLE),
        Index("ix_delivery_outcome", "tenant_id", "last_outcome", "id",
              postgresql_where=_UNDELIVERED, sqlite_where=_UNDELIVERED),
        Index("ix_delivery_trouble", "tenant_id", "destination_id", "state", "id",
              "next_attempt_at", postgresql_where=_NOTABLE, sqlite_where=_NOTABLE),
        Index("ix_delivery_type", "tenant_id", "event_type", "id"),
    )  # fmt: skip

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    destination_id: Mapped[str] = mapped_column(id_column())
    event_id: Mapped[str] = mapped_column(id_column())
    event_type: Mapped[str] = mapped_column(String(128))
    state: Mapped[State] = mapped_column(String(12))
    trigger: Mapped[Trigger] = mapped_column(String(12))  # of the next attempt
    ordered: Mapped[bool] = mapped_column(default=False)  # waits for what came before it
    attempt_count: Mapped[int] = mapped_column(Integer, default=0)
    retries_used: Mapped[int] = mapped_column(Integer, default=0)  # steps of the schedule
    next_attempt_at: Mapped[datetime | None] = mapped_column(Instant)
    lease_until: Mapped[datetime | None] = mapped_column(Instant)
    lease_token: Mapped[str | None] = mapped_column(String(40))  # the fence of a late record
    last_outcome: Mapped[str | None] = mapped_column(String(30))
    last_status: Mapped[int | None] = mapped_column(SmallInteger)
    last_duration_ms: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str | None] = mapped_column(String(200))  # why it was cancelled or given up
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    settled_at: Mapped[datetime | None] = mapped_column(Instant)


class Attempt(Base):
    """One HTTP exchange of a delivery.

    Partitioned on PostgreSQL by `delivery_id`, which rises with time, so that all attempts of a
    delivery lie in one partition and retention drops whole ones.
    """

    __tablename__ = "attempt"
    __table_args__ = ({"postgresql_partition_by": "RANGE (delivery_id)"},)

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    delivery_id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    trigger: Mapped[Trigger] = mapped_column(String(12))
    started_at: Mapped[datetime] = mapped_column(Instant)
    duration_ms: Mapped[int] = mapped_column(Integer)
    outcome: Mapped[str] = mapped_column(String(30))
    response_status: Mapped[int | None] = mapped_column(SmallInteger)
    response_body: Mapped[str | None] = mapped_column(Text)
    resolved_address: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[dict[str, Any] | None] = mapped_column(JsonText)  # timing, answer headers


class Rollup(Base):
    """Counts of attempts per destination, time slot, result and duration bucket.

    `result` is `delivered`, `retrying` or `failed`: where the attempt left its delivery.
    `bucket` is the duration's place on a logarithmic scale (deliveries.rollup).
    """

    __tablename__ = "rollup"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    destination_id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    slot_s: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    slot: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    result: Mapped[str] = mapped_column(String(12), primary_key=True)
    bucket: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    count: Mapped[int] = mapped_column(BigInteger)


class JobState(StrEnum):
    """Where a replay stands; only a running one is worked on."""

    RUNNING = "running"
    PAUSED = "paused"  # by a person, until a person resumes it
    CANCELLED = "cancelled"  # by a person; what it made already stays
    FINISHED = "finished"
    FAILED = "failed"  # its destination went away; `reason` says how


#: The states from which a replay may still go on.
UNENDED: Final = (JobState.RUNNING, JobState.PAUSED)


class ReplayJob(Base):
    """A replay of a range of events to one destination: its row is all its progress.

    `cursor` is the last event that was looked at. It moves in the very transaction that writes
    the deliveries of the events up to it, so that no crash loses or doubles one.
    """

    __tablename__ = "replay_job"
    __table_args__ = (
        Index("ix_replay_job_destination", "tenant_id", "destination_id", "id"),
        Index("ix_replay_job_running", "lease_until", postgresql_where=_RUNNING,
              sqlite_where=_RUNNING),
    )  # fmt: skip

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(id_column(), primary_key=True)
    destination_id: Mapped[str] = mapped_column(id_column())
    since: Mapped[datetime] = mapped_column(Instant)
    until: Mapped[datetime] = mapped_column(Instant)
    states: Mapped[list[str]] = mapped_column(JsonText)  # empty: whatever was missed
    event_types: Mapped[list[str]] = mapped_column(JsonText)  # empty: all that it wants
    rate_per_second: Mapped[int] = mapped_column(Integer)
    state: Mapped[JobState] = mapped_column(String(12), default=JobState.RUNNING)
    cursor: Mapped[str] = mapped_column(id_column())
    total: Mapped[int | None] = mapped_column(BigInteger)  # events of the range, once counted
    scanned: Mapped[int] = mapped_column(BigInteger, default=0)
    matched: Mapped[int] = mapped_column(BigInteger, default=0)
    created: Mapped[int] = mapped_column(BigInteger, default=0)
    reason: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[datetime | None] = mapped_column(Instant)
    lease_token: Mapped[str | None] = mapped_column(String(40))
    created_by: Mapped[str] = mapped_column(String(254))
    created_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(Instant, default=utcnow)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)


class Heartbeat(Base):
    """When a worker process was last alive; old ones are swept away."""

    __tablename__ = "worker_heartbeat"

    worker_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(Instant)
    seen_at: Mapped[datetime] = mapped_column(Instant)
    in_flight: Mapped[int] = mapped_column(Integer, default=0)
