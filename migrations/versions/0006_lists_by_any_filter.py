"""Indexes that let people's lists and counts walk few rows, whatever they are filtered by"""

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"

NOTABLE = text("state IN ('retrying', 'failed', 'cancelled')")
UNDELIVERED = text("last_outcome <> 'delivered'")


def upgrade() -> None:
    # Of one destination, by state; the last column answers the counts of health from the index.
    op.create_index(
        "ix_delivery_trouble",
        "delivery",
        ["tenant_id", "destination_id", "state", "id", "next_attempt_at"],
        postgresql_where=NOTABLE,
        sqlite_where=NOTABLE,
    )
    op.create_index(
        "ix_delivery_outcome",
        "delivery",
        ["tenant_id", "last_outcome", "id"],
        postgresql_where=UNDELIVERED,
        sqlite_where=UNDELIVERED,
    )
    op.create_index("ix_delivery_type", "delivery", ["tenant_id", "event_type", "id"])
    op.create_index("ix_event_type", "event", ["tenant_id", "type", "id"])


def downgrade() -> None:
    op.drop_index("ix_event_type", "event")
    for name in ("ix_delivery_type", "ix_delivery_outcome", "ix_delivery_trouble"):
        op.drop_index(name, "delivery")
