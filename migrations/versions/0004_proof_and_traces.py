"""Sealed audit trails that the database itself keeps append-only; trace contexts of events"""

import sqlalchemy as sa
from alembic import op

from app.database.base import Instant

revision = "0004"
down_revision = "0003"

TABLES = ("audit_entry", "audit_head", "audit_seal")
#: What may happen to a row that stands, by table; anything else is refused. `pruned` is
#: retention's own path: the anchor that covers the row was written first.
PRUNED = (
    "EXISTS (SELECT 1 FROM audit_seal s WHERE s.tenant_id = OLD.tenant_id"
    " AND s.kind = 'anchor' AND s.sequence >= OLD.sequence)"
)
ALLOWED = {
    ("audit_entry", "UPDATE"): "false",
    ("audit_entry", "DELETE"): PRUNED,
    ("audit_head", "UPDATE"): "NEW.tenant_id = OLD.tenant_id AND NEW.sequence = OLD.sequence + 1",
    ("audit_head", "DELETE"): "false",
    ("audit_seal", "UPDATE"): "NEW.tenant_id = OLD.tenant_id AND NEW.kind = OLD.kind"
    " AND NEW.sequence > OLD.sequence",
    ("audit_seal", "DELETE"): "false",
}


def upgrade() -> None:
    op.create_table(
        "audit_seal",
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "kind", name=op.f("pk_audit_seal")),
    )
    op.add_column("event", sa.Column("trace_context", sa.String(length=55), nullable=True))
    op.add_column(
        "destination",
        sa.Column("trace_context", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    if op.get_context().dialect.name == "sqlite":
        _guard_on_sqlite()
    else:
        _guard_on_postgres()


def _guard_on_sqlite() -> None:
    for (table, verb), allowed in ALLOWED.items():
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
            f" WHEN NOT ({allowed}) BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


def _guard_on_postgres() -> None:
    op.execute(
        "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';"
        " END $$"
    )
    for (table, verb), allowed in ALLOWED.items():
        # A trigger's WHEN may hold no subquery: the look at the anchor needs a function.
        name = f"{table}_no_{verb.lower()}"
        if allowed != PRUNED:
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW"
                f" WHEN (NOT ({allowed})) EXECUTE FUNCTION audit_refuse()"
            )
            continue
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF {PRUNED} THEN RETURN OLD; END IF;"
            f" RAISE EXCEPTION '{table} is append-only' USING ERRCODE = 'restrict_violation';"
            " END $$"
        )
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"
        )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
        )
    acting_for = "(SELECT current_setting('oneprotect.tenant', true))"
    op.execute("ALTER TABLE audit_seal ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE audit_seal FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant_only ON audit_seal USING ({acting_for} IN ('*', tenant_id))")


def downgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        for table, verb in ALLOWED:
            op.execute(f"DROP TRIGGER {table}_no_{verb.lower()}")
    else:
        for table in TABLES:
            op.execute(f"DROP TRIGGER {table}_no_truncate ON {table}")
        for table, verb in ALLOWED:
            op.execute(f"DROP TRIGGER {table}_no_{verb.lower()} ON {table}")
        op.execute("DROP FUNCTION audit_entry_no_delete()")
        op.execute("DROP FUNCTION audit_refuse()")
    op.drop_column("destination", "trace_context")
    op.drop_column("event", "trace_context")
    op.drop_table("audit_seal")
