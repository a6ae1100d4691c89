"""A second wall between tenants on PostgreSQL: row level security, forced on the owner too"""

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"

# The connection says for whom it acts: one tenant, or `*`; one that says nothing sees nothing.
# In a subselect it is read once per statement, not once per row.
ACTING_FOR = "(SELECT current_setting('oneprotect.tenant', true))"


def upgrade() -> None:
    for table, column in _tables_of_tenants():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_only ON {table} USING ({ACTING_FOR} IN ('*', {column}))")


def downgrade() -> None:
    for table, _column in _tables_of_tenants():
        op.execute(f"DROP POLICY IF EXISTS tenant_only ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


def _tables_of_tenants() -> list[tuple[str, str]]:
    """Return each table with rows of tenants and the column that says whose; none on SQLite."""
    if op.get_context().dialect.name != "postgresql":
        return []
    # Partitions are reached through their parent, whose policy holds for them.
    rows = op.get_bind().execute(
        text(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid"
            " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')"
            " AND NOT c.relispartition AND a.attname = 'tenant_id' AND NOT a.attisdropped"
            " ORDER BY 1"
        )
    )
    return [("tenant", "id"), *((row[0], "tenant_id") for row in rows)]
