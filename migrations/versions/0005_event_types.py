"""A catalogue of event types with their schemas, and where kept events do not fit them"""

import sqlalchemy as sa
from alembic import op

from app.database import Instant
from app.database.base import id_column

revision = "0005"
down_revision = "0004"

ACTING_FOR = "(SELECT current_setting('oneprotect.tenant', true))"


def upgrade() -> None:
    op.create_table(
        "event_type",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=128), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("example", sa.Text(), nullable=True),
        sa.Column("json_schema", sa.Text(), nullable=True),
        sa.Column("schema_mode", sa.String(length=12), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("updated_by", sa.String(length=254), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "type", name=op.f("pk_event_type")),
    )
    op.create_table(
        "event_warning",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("event_id", id_column(), nullable=False),
        sa.Column("warnings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "event_id", name=op.f("pk_event_warning")),
    )
    if op.get_context().dialect.name != "postgresql":
        return
    for table in ("event_type", "event_warning"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_only ON {table} USING ({ACTING_FOR} IN ('*', tenant_id))")
    # What the platform says of its types is for every tenant to read, and for none to change.
    op.execute(
        "CREATE POLICY of_the_platform ON event_type FOR SELECT"
        f" USING (tenant_id = 'platform' AND {ACTING_FOR} <> '')"
    )


def downgrade() -> None:
    op.drop_table("event_warning")
    op.drop_table("event_type")
