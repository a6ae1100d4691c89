"""Runs the migrations on a connection that the application opened (`oneprotect migrate`)."""

from typing import Any

from alembic import context

from app.database import Base


def ours(
    _object: Any, name: str | None, kind: str, reflected: bool, _compare_to: Any
) -> bool:  # alembic's signature
    """Leave alone what is in the database but not in our models: broker tables, partitions."""
    return not (kind == "table" and reflected and name not in Base.metadata.tables)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_object=ours,
    compare_type=True,
)
context.run_migrations()
