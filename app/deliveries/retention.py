"""Forget what is older than the retention, in small steps that never hold the database up."""

import asyncio
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import text

from app.database import Database, utcnow
from app.database.base import id_floor, to_millis
from app.deliveries import partitions

log = structlog.get_logger(__name__)

CHUNK: Final = 2_000
PAUSE_S: Final = 0.05

_OPEN: Final = "state IN ('pending', 'retrying', 'delivering')"


async def run(database: Database, *, days: int) -> dict[str, int]:
    """Remove events, settled deliveries, attempts, keys, counts and sessions older than `days`.

    Returns the rows removed per table. What is still owed stays, however old, with its event.
    """
    limit = utcnow() - timedelta(days=days)
    removed = {
        "delivery": await _rows(
            database,
            f"SELECT tenant_id, id FROM delivery WHERE id < :bound AND NOT ({_OPEN})",
            "delivery",
            bound=id_floor("dlv", limit),
        )
    }
    if database.dialect == "postgresql":
        removed |= await partitions.drop_before(database, limit)
    else:
        removed |= await _partitioned_tables(database, limit)
    removed |= await _small_tables(database, limit)
    log.info("retention.done", removed=removed)
    return removed


async def _partitioned_tables(database: Database, limit: datetime) -> dict[str, int]:
    return {
        "attempt": await _rows(
            database,
            "SELECT tenant_id, delivery_id, number FROM attempt a WHERE delivery_id < :bound"
            " AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.tenant_id = a.tenant_id"
            " AND d.id = a.delivery_id)",
            "attempt",
            bound=id_floor("dlv", limit),
        ),
        "event": await _rows(
            database,
            "SELECT tenant_id, id FROM event e WHERE id < :bound AND NOT EXISTS (SELECT 1"
            " FROM delivery d WHERE d.tenant_id = e.tenant_id AND d.event_id = e.id)",
            "event",
            bound=id_floor("evt", limit),
        ),
    }


async def _small_tables(database: Database, limit: datetime) -> dict[str, int]:
    moment: object = limit if database.dialect == "postgresql" else to_millis(limit)
    now: object = utcnow() if database.dialect == "postgresql" else to_millis(utcnow())
    wanted = {
        "idempotency_key": ("created_at < :bound", moment),
        "rollup": ("slot < :bound", int(limit.timestamp())),
        "portal_session": ("expires_at < :bound", now),
        "replay_job": ("ended_at < :bound", moment),
        "signing_secret": ("expires_at < :bound", now),
    }
    keys = {
        "idempotency_key": "tenant_id, key",
        "rollup": "tenant_id, destination_id, slot_s, slot, result, bucket",
        "portal_session": "tenant_id, id",
        "replay_job": "tenant_id, id",
        "signing_secret": "tenant_id, destination_id, id",
    }
    return {
        table: await _rows(
            database, f"SELECT {keys[table]} FROM {table} WHERE {where}", table, bound=bound
        )
        for table, (where, bound) in wanted.items()
    }


async def _rows(database: Database, query: str, table: str, *, bound: object) -> int:
    """Delete what `query` selects (its key columns), a chunk per transaction."""
    columns = query.removeprefix("SELECT ").partition(" FROM ")[0]
    statement = text(
        f"DELETE FROM {table} WHERE ({columns}) IN (SELECT * FROM ({query} LIMIT {CHUNK}) AS old)"
    )
    total = 0
    while True:
        async with database.begin() as c:
            removed = (await c.execute(statement, {"bound": bound})).rowcount
        total += removed
        if removed < CHUNK:
            return total
        await asyncio.sleep(PAUSE_S)
