"""Every row's key begins with its tenant, so that tenants can be spread over database servers."""

from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text

from app.database import Base
from app.tools.shards import REFERENCE_TABLES
from tests.world import World

DISTRIBUTED = sorted(set(Base.metadata.tables) - REFERENCE_TABLES)


@pytest.fixture
def world(shared: World) -> World:
    return shared


def unique_keys(connection: Connection) -> dict[str, list[list[str]]]:
    """Return every key by which the database itself holds rows apart, per table."""
    inspector = inspect(connection)
    return {
        table: [
            inspector.get_pk_constraint(table)["constrained_columns"],
            *(one["column_names"] for one in inspector.get_unique_constraints(table)),
            *(one["column_names"] for one in inspector.get_indexes(table) if one["unique"]),
        ]
        for table in DISTRIBUTED
    }


async def test_every_unique_key_begins_with_the_tenant(world: World) -> None:
    async with world.database.engine.connect() as connection:
        keys = await connection.run_sync(unique_keys)

    assert len(keys) >= 11
    assert {"tenant_id"} == {key[0] for of_table in keys.values() for key in of_table}


async def test_every_foreign_key_stays_with_its_tenant(world: World) -> None:
    def foreign(connection: Connection) -> list[tuple[str, Any]]:
        inspector = inspect(connection)
        return [(t, key) for t in Base.metadata.tables for key in inspector.get_foreign_keys(t)]

    async with world.database.engine.connect() as connection:
        found = await connection.run_sync(foreign)

    assert len(found) >= 2
    for table, key in found:
        if key["referred_table"] in REFERENCE_TABLES:
            continue  # every server holds it
        assert table not in REFERENCE_TABLES, "a table of every server points at one server's"
        assert ("tenant_id", "tenant_id") == (
            key["constrained_columns"][0], key["referred_columns"][0],
        )  # fmt: skip


async def test_a_tenants_column_of_a_distributed_table_is_never_empty(world: World) -> None:
    def nullable(connection: Connection) -> set[bool]:
        inspector = inspect(connection)
        columns = {t: {c["name"]: c for c in inspector.get_columns(t)} for t in DISTRIBUTED}
        return {bool(columns[t]["tenant_id"]["nullable"]) for t in DISTRIBUTED}

    async with world.database.engine.connect() as connection:
        assert {False} == await connection.run_sync(nullable)


def test_the_tables_that_every_server_holds_exist_and_are_small_ones() -> None:
    assert REFERENCE_TABLES <= set(Base.metadata.tables)
    growing = {"attempt", "audit_entry", "delivery", "event", "idempotency_key", "rollup"}
    assert growing <= set(DISTRIBUTED)


async def test_partitions_keep_the_tenant_in_their_keys(world: World) -> None:
    if world.database.dialect == "sqlite":
        return
    query = text(
        "SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]"
        " WHERE c.relispartition AND i.indisunique"
    )
    async with world.database.reading() as session:
        rows = (await session.execute(query)).all()

    assert len(rows) >= 10
    assert {"tenant_id"} == {row[1] for row in rows}
