"""The first schema"""

import sqlalchemy as sa
from alembic import op

from app.database.base import Instant, JsonText, utcnow
from app.deliveries import partitions

revision = "0001"
down_revision = None

ID = sa.String(40).with_variant(sa.String(40, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "api_token",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hint", sa.String(length=40), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", sa.String(length=254), nullable=False),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("token_hash", name="uq_api_token_hash"),
    )
    op.create_table(
        "attempt",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("delivery_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("trigger", sa.String(length=12), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=30), nullable=False),
        sa.Column("response_status", sa.SmallInteger(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.Column("resolved_address", sa.String(length=64), nullable=True),
        sa.Column("detail", JsonText(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "delivery_id", "number", name=op.f("pk_attempt")),
        postgresql_partition_by="RANGE (delivery_id)",
    )
    op.create_table(
        "audit_entry",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("actor_kind", sa.String(length=20), nullable=False),
        sa.Column("actor_id", sa.String(length=64), nullable=False),
        sa.Column("actor_label", sa.String(length=254), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=300), nullable=False),
        sa.Column("target_kind", sa.String(length=30), nullable=False),
        sa.Column("target_id", sa.String(length=64), nullable=False),
        sa.Column("target_label", sa.String(length=300), nullable=False),
        sa.Column("changes", JsonText(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "sequence", name=op.f("pk_audit_entry")),
    )
    op.create_index("ix_audit_entry_at", "audit_entry", ["tenant_id", "at"], unique=False)
    op.create_table(
        "audit_head",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "delivery",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("destination_id", ID, nullable=False),
        sa.Column("event_id", ID, nullable=False),
        sa.Column("event_type", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("trigger", sa.String(length=12), nullable=False),
        sa.Column("ordered", sa.Boolean(), nullable=False),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("retries_used", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", Instant(), nullable=True),
        sa.Column("lease_until", Instant(), nullable=True),
        sa.Column("lease_token", sa.String(length=40), nullable=True),
        sa.Column("last_outcome", sa.String(length=30), nullable=True),
        sa.Column("last_status", sa.SmallInteger(), nullable=True),
        sa.Column("last_duration_ms", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("settled_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_delivery")),
    )
    op.create_index(
        "ix_delivery_destination", "delivery", ["tenant_id", "destination_id", "id"], unique=False
    )
    op.create_index("ix_delivery_event", "delivery", ["tenant_id", "event_id"], unique=False)
    op.create_index(
        "ix_delivery_lease",
        "delivery",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'delivering'"),
        sqlite_where=sa.text("state = 'delivering'"),
    )
    op.create_index(
        "ix_delivery_line",
        "delivery",
        ["tenant_id", "destination_id", "id"],
        unique=False,
        postgresql_where=sa.text(
            "ordered AND state IN ('pending', 'retrying', 'delivering', 'failed')"
        ),
        sqlite_where=sa.text(
            "ordered AND state IN ('pending', 'retrying', 'delivering', 'failed')"
        ),
    )
    op.create_index(
        "ix_delivery_notable",
        "delivery",
        ["tenant_id", "state", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('retrying', 'failed', 'cancelled')"),
        sqlite_where=sa.text("state IN ('retrying', 'failed', 'cancelled')"),
    )
    op.create_table(
        "destination",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("endpoint_url", sa.Text(), nullable=False),
        sa.Column("event_types", JsonText(), nullable=False),
        sa.Column("sealed_headers", sa.LargeBinary(), nullable=True),
        sa.Column("rate_limit_per_second", sa.Integer(), nullable=True),
        sa.Column("ordered", sa.Boolean(), nullable=False),
        sa.Column("asymmetric_signature", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("disabled_at", Instant(), nullable=True),
        sa.Column("disabled_reason", sa.String(length=200), nullable=True),
        sa.Column("deleted_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_destination")),
    )
    op.create_index(
        "ix_destination_strict",
        "destination",
        ["tenant_id", "id"],
        unique=False,
        postgresql_where=sa.text("ordered OR rate_limit_per_second IS NOT NULL"),
        sqlite_where=sa.text("ordered OR rate_limit_per_second IS NOT NULL"),
    )
    op.create_index("ix_destination_live", "destination", ["tenant_id", "deleted_at"], unique=False)
    op.create_table(
        "event",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("type", sa.String(length=128), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("delivery_count", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_event")),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_table(
        "idempotency_key",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("event_id", ID, nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "key", name=op.f("pk_idempotency_key")),
    )
    op.create_table(
        "lane",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("destination_id", ID, nullable=False),
        sa.Column("consecutive_failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", Instant(), nullable=True),
        sa.Column("open_until", Instant(), nullable=True),
        sa.Column("slow_until", Instant(), nullable=True),
        sa.Column("paced_until", Instant(), nullable=True),
        sa.Column("noticed", sa.String(length=12), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "destination_id", name=op.f("pk_lane")),
    )
    op.create_table(
        "portal_session",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("member_id", ID, nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_seen_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=300), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_portal_session")),
        sa.UniqueConstraint("token_hash", name="uq_portal_session_hash"),
    )
    op.create_table(
        "pulse",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_pulse")),
    )
    op.create_table(
        "replay_job",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("destination_id", ID, nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("states", JsonText(), nullable=False),
        sa.Column("event_types", JsonText(), nullable=False),
        sa.Column("rate_per_second", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("cursor", ID, nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("scanned", sa.BigInteger(), nullable=False),
        sa.Column("matched", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("lease_until", Instant(), nullable=True),
        sa.Column("lease_token", sa.String(length=40), nullable=True),
        sa.Column("created_by", sa.String(length=254), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_replay_job")),
    )
    op.create_index(
        "ix_replay_job_destination",
        "replay_job",
        ["tenant_id", "destination_id", "id"],
        unique=False,
    )
    op.create_index(
        "ix_replay_job_running",
        "replay_job",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'running'"),
        sqlite_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "rollup",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("destination_id", ID, nullable=False),
        sa.Column("slot_s", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("slot", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("result", sa.String(length=12), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant_id",
            "destination_id",
            "slot_s",
            "slot",
            "result",
            "bucket",
            name=op.f("pk_rollup"),
        ),
    )
    op.create_table(
        "tenant",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant")),
    )
    op.create_table(
        "worker_heartbeat",
        sa.Column("worker_id", sa.String(length=64), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("in_flight", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name=op.f("pk_worker_heartbeat")),
    )
    op.create_table(
        "member",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("fk_member_tenant_id_tenant")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_member")),
        sa.UniqueConstraint("email", name="uq_member_email"),
    )
    op.create_table(
        "signing_key",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("public", sa.String(length=60), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_signing_key")),
    )
    op.create_table(
        "signing_secret",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("destination_id", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.String(length=40), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", sa.String(length=254), nullable=False),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "destination_id"],
            ["destination.tenant_id", "destination.id"],
            name=op.f("fk_signing_secret_tenant_id_destination"),
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "destination_id", "id", name=op.f("pk_signing_secret")
        ),
    )
    _hot_path(op.get_context().dialect.name)


def downgrade() -> None:
    raise RuntimeError("the first schema has nothing before it: drop the database instead")


def _hot_path(dialect: str) -> None:
    """What the claim needs, in the shape each engine's planner can walk."""
    waiting = "WHERE state IN ('pending', 'retrying')"
    if dialect == "sqlite":
        # SQLite has no LATERAL over two columns: its walk goes by destination alone.
        op.execute(
            f"CREATE INDEX ix_delivery_due ON delivery (destination_id, next_attempt_at) {waiting}"
        )
        op.execute("CREATE INDEX ix_destination_id ON destination (id)")
        return
    op.execute(
        "CREATE INDEX ix_delivery_due ON delivery"
        f" (tenant_id, destination_id, next_attempt_at) {waiting}"
    )
    # A queue's rows are rewritten a few times each: vacuum early, by count rather than by share.
    op.execute(
        "ALTER TABLE delivery SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.0,"
        " autovacuum_vacuum_threshold = 20000, autovacuum_analyze_scale_factor = 0.02)"
    )
    op.execute("ALTER TABLE lane SET (fillfactor = 50)")
    op.execute("ALTER TABLE rollup SET (fillfactor = 70)")
    for table in ("event", "attempt"):
        # Catches what no week takes: ids from a clock that is far off.
        op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    for statement in partitions.statements(utcnow()):
        op.execute(statement)
