"""Single sign-on, invites, and a brake on guessing that all web processes share"""

import sqlalchemy as sa
from alembic import op

from app.database.base import Instant

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("member", sa.Column("issuer", sa.String(length=300), nullable=True))
    op.add_column("member", sa.Column("subject", sa.String(length=255), nullable=True))
    op.add_column("member", sa.Column("invite_hash", sa.LargeBinary(length=32), nullable=True))
    op.add_column("member", sa.Column("invite_expires_at", Instant(), nullable=True))
    op.add_column("member", sa.Column("signed_in_at", Instant(), nullable=True))
    op.create_index("ix_member_subject", "member", ["issuer", "subject"], unique=True)
    op.create_index("ix_member_invite", "member", ["invite_hash"], unique=True)
    op.create_index("ix_portal_session_member", "portal_session", ["tenant_id", "member_id"])
    op.create_table(
        "sign_in_window",
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_sign_in_window")),
    )
    op.create_table(
        "spent_state",
        sa.Column("state_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("state_hash", name=op.f("pk_spent_state")),
    )


def downgrade() -> None:
    op.drop_table("spent_state")
    op.drop_table("sign_in_window")
    op.drop_index("ix_portal_session_member", "portal_session")
    op.drop_index("ix_member_invite", "member")
    op.drop_index("ix_member_subject", "member")
    for column in ("signed_in_at", "invite_expires_at", "invite_hash", "subject", "issuer"):
        op.drop_column("member", column)
