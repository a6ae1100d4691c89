"""The migrations make exactly the tables of the models, on both engines, whoever runs them."""

import asyncio
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect

from app.database import Base, Database
from app.database.migrate import current_revision, known_revisions, migrate, newest_revision
from tests.world import World

#: Indexes that differ between the engines, and are therefore no part of the models.
OF_ONE_ENGINE = {"ix_delivery_due", "ix_destination_id"}


def differences(connection: Connection) -> list[Any]:
    def ours(_item: Any, name: str | None, kind: str, reflected: bool, _other: Any) -> bool:
        if kind == "table" and reflected:
            return name in Base.metadata.tables  # not: partitions, the broker's tables
        return not (kind == "index" and name in OF_ONE_ENGINE)

    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "include_object": ours}
    )
    return list(compare_metadata(context, Base.metadata))


async def test_the_models_and_the_migrated_database_are_the_same(world: World) -> None:
    async with world.database.engine.connect() as connection:
        assert [] == await connection.run_sync(differences)


async def test_the_comparison_sees_a_column_that_is_missing(world: World) -> None:
    async with world.database.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE tenant RENAME COLUMN name TO title")

    async with world.database.engine.connect() as connection:
        found = await connection.run_sync(differences)
    assert {"add_column", "remove_column"} == {found_one[0] for found_one in found}


async def test_every_key_of_a_tenants_table_leads_with_the_tenant(world: World) -> None:
    def keys(connection: Connection) -> dict[str, list[str]]:
        inspector = inspect(connection)
        return {
            table: inspector.get_pk_constraint(table)["constrained_columns"]
            for table in Base.metadata.tables
            if "tenant_id" in Base.metadata.tables[table].columns
        }

    async with world.database.engine.connect() as connection:
        found = await connection.run_sync(keys)

    assert len(found) >= 12
    assert {"tenant_id"} == {columns[0] for columns in found.values()}


async def test_a_second_run_changes_nothing(empty: str) -> None:
    database = Database(empty)
    try:
        first = await migrate(database)
        second = await migrate(database)
    finally:
        await database.close()

    assert ((None, newest_revision()), (newest_revision(),) * 2) == (first, second)


async def test_processes_that_migrate_at_once_do_not_meet(empty: str) -> None:
    databases = [Database(empty) for _ in range(3)]
    try:
        await asyncio.gather(*(migrate(database) for database in databases))
        assert newest_revision() == await current_revision(databases[0])
    finally:
        for database in databases:
            await database.close()


def test_the_newest_revision_is_among_the_known() -> None:
    assert newest_revision() in known_revisions()
