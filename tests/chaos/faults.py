"""Faults that more than one test needs: locks that somebody else holds."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator

import psycopg
from psycopg import sql

from tests.chaos.site import Site
from tests.postgres import Server

SLOW_COMMIT = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON delivery
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
"""


@contextlib.asynccontextmanager
async def commits_held(site: Site) -> AsyncIterator[None]:
    """Let no event be committed for now: SQLite waits for its lock, PostgreSQL in the COMMIT."""
    if site.server is None:
        with await locked_file(site):
            yield
        return
    site.server.execute(SLOW_COMMIT)
    try:
        yield
    finally:
        site.server.execute("DROP FUNCTION dawdle CASCADE")


async def locked_file(site: Site) -> contextlib.closing[sqlite3.Connection]:
    """Take SQLite's one write lock, as a backup or a careless shell would; closing frees it."""
    connection = sqlite3.connect(site.database_file, timeout=10, check_same_thread=False)
    await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
    return contextlib.closing(connection)


@contextlib.asynccontextmanager
async def locked_tables(server: Server, *tables: str) -> AsyncIterator[None]:
    """Keep everybody else from writing to these tables."""
    names = sql.SQL(", ").join(sql.Identifier(table) for table in tables)
    async with await psycopg.AsyncConnection.connect(server.url()) as connection:
        await connection.execute("SET statement_timeout = 0")
        await connection.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(names))
        yield
        await connection.rollback()
