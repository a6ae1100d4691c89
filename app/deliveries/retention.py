"""Forget what is older than the retention, in small steps that never hold the database up.

A step looks at STEP_ROWS rows at most and deletes, in one short transaction, those of them that
may go; then the database rests for longer than the step took. What is gone is all the progress
there is: a run that was cut short is taken up by the next one.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import text

from app.database import Database, utcnow
from app.database.base import id_floor, to_millis
from app.deliveries import partitions
from app.deliveries.rollup import SLOTS

log = structlog.get_logger(__name__)

STEP_ROWS: Final = 200
#: Rest for so many times what a step took: a fifth of the time at most goes into forgetting.
REST_PER_WORK: Final = 4.0
#: Counts by the minute are shown for an hour; by the quarter they live as long as their events.
MINUTES_KEPT: Final = timedelta(days=1)
#: Tables of no tenant, their key, and when a row of theirs has ended: a step an hour is plenty.
SHORT_LIVED: Final = (
    ("spent_state", "state_hash", "expires_at"),
    ("sign_in_window", "key", "until"),
)

_OPEN: Final = "state IN ('pending', 'retrying', 'delivering')"
_NO_DELIVERY: Final = (
    "NOT EXISTS (SELECT 1 FROM delivery d WHERE d.tenant_id = {table}.tenant_id AND d.{key})"
)
_NO_EVENT: Final = (
    "NOT EXISTS (SELECT 1 FROM event e"
    " WHERE e.tenant_id = event_warning.tenant_id AND e.id = event_warning.event_id)"
)


class Rule(msgspec.Struct, frozen=True):
    """Which rows of a table may go: keys below `floor` (None: any) of which `old` is true."""

    table: str
    key: tuple[str, ...]  # the primary key after tenant_id
    old: str
    values: Mapping[str, object] = {}
    floor: str | None = None


async def run(database: Database, *, days: int) -> dict[str, int]:
    """Remove events, settled deliveries, attempts, keys, counts and sessions older than `days`.

    Returns how much was removed per table. What is still owed stays, however old, with its event.
    """
    now = utcnow()
    limit = now - timedelta(days=days)
    removed: dict[str, int] = {}
    for rule in _rules(database.dialect, limit, now):
        removed[rule.table] = await _apply(database, rule)
    removed |= await _short_lived(database, now)
    if database.dialect == "postgresql":
        removed |= await partitions.drop_before(database, limit)
    log.info("retention.done", removed=removed)
    return removed


def _rules(dialect: str, limit: datetime, now: datetime) -> list[Rule]:
    # Old weeks of these two are dropped on PostgreSQL; only what fell into no week goes by rows.
    rest = "_default" if dialect == "postgresql" else ""
    events, attempts = f"event{rest}", f"attempt{rest}"
    old = {"limit": limit if dialect == "postgresql" else to_millis(limit)}
    past = {"now": now if dialect == "postgresql" else to_millis(now)}
    slots = {"limit": int(limit.timestamp()), "minutes": int((now - MINUTES_KEPT).timestamp())}
    orphan = _NO_DELIVERY.format(table=attempts, key=f"id = {attempts}.delivery_id")
    unowed = _NO_DELIVERY.format(table=events, key=f"event_id = {events}.id")
    return [
        Rule("delivery", ("id",), f"NOT ({_OPEN})", floor=id_floor("dlv", limit)),
        Rule(attempts, ("delivery_id", "number"), orphan, floor=id_floor("dlv", limit)),
        Rule(events, ("id",), unowed, floor=id_floor("evt", limit)),
        Rule("event_warning", ("event_id",), _NO_EVENT, floor=id_floor("evt", limit)),
        Rule("idempotency_key", ("key",), "created_at < :limit", old),
        Rule(
            "rollup",
            ("destination_id", "slot_s", "slot", "result", "bucket"),
            f"slot < :limit OR slot < :minutes AND slot_s = {min(SLOTS)}",
            slots,
        ),
        Rule("portal_session", ("id",), "expires_at < :now", past),
        Rule("replay_job", ("id",), "ended_at < :limit", old),
        Rule("signing_secret", ("destination_id", "id"), "expires_at < :now", past),
    ]


async def _short_lived(database: Database, now: datetime) -> dict[str, int]:
    """Forget what belongs to no tenant and ends by itself within hours."""
    moment = now if database.dialect == "postgresql" else to_millis(now)
    removed: dict[str, int] = {}
    for table, key, end in SHORT_LIVED:
        ended = f"SELECT {key} FROM {table} WHERE {end} < :now LIMIT {STEP_ROWS}"
        async with database.begin() as c:
            statement = text(f"DELETE FROM {table} WHERE {key} IN ({ended})")
            removed[table] = (await c.execute(statement, {"now": moment})).rowcount
    return removed


async def _apply(database: Database, rule: Rule) -> int:
    removed, tenant_id = 0, ""
    # A probe of the key per tenant finds the next one; no table is ever read from end to end.
    following = text(f"SELECT min(tenant_id) FROM {rule.table} WHERE tenant_id > :after")
    while True:
        async with database.reading() as session:
            found = (await session.execute(following, {"after": tenant_id})).scalar_one()
        if found is None:
            return removed
        tenant_id = found
        removed += await _apply_to_tenant(database, rule, tenant_id)


async def _apply_to_tenant(database: Database, rule: Rule, tenant_id: str) -> int:
    removed, after = 0, None
    while True:
        began = time.monotonic()
        count, gone, after = await step(database, rule, tenant_id, after)
        removed += gone
        if count < STEP_ROWS:
            return removed
        await asyncio.sleep(REST_PER_WORK * (time.monotonic() - began))


async def step(
    database: Database, rule: Rule, tenant_id: str, after: tuple[Any, ...] | None
) -> tuple[int, int, tuple[Any, ...] | None]:
    """Look at the next rows of a tenant; return how many, how many went, and the last key."""
    columns = ", ".join(rule.key)
    values = {"tenant_id": tenant_id, "floor": rule.floor, **rule.values, **_named("after", after)}
    where = "tenant_id = :tenant_id"
    where += f" AND {rule.key[0]} < :floor" if rule.floor else ""
    where += f" AND ({columns}) > ({_marks('after', after)})" if after else ""
    page = f"SELECT {columns}, ({rule.old}) FROM {rule.table} WHERE {where} ORDER BY {columns}"
    async with database.reading() as session:
        rows = (await session.execute(text(f"{page} LIMIT {STEP_ROWS}"), values)).all()
    if not rows:
        return 0, 0, after
    last = tuple(rows[-1][:-1])
    if not any(row[-1] for row in rows):
        return len(rows), 0, last
    # No row can have joined this range since: the keys that rise with time only rise, and where
    # they do not, what is new is not old.
    delete = f"DELETE FROM {rule.table} WHERE {where} AND ({columns}) <= ({_marks('last', last)})"
    async with database.begin() as c:
        done = await c.execute(text(f"{delete} AND ({rule.old})"), values | _named("last", last))
    return len(rows), done.rowcount, last


def _named(name: str, key: tuple[Any, ...] | None) -> dict[str, Any]:
    return {f"{name}_{number}": value for number, value in enumerate(key or ())}


def _marks(name: str, key: tuple[Any, ...]) -> str:
    return ", ".join(f":{mark}" for mark in _named(name, key))
