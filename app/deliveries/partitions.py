"""The time partitions of `event` and `attempt` on PostgreSQL: made ahead, dropped when old.

Both tables are partitioned by an id that rises with time, one partition per week, so that a
look-up by id touches one partition and retention is a DROP, not a million deletes.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import Database, utcnow
from app.database.base import id_floor

log = structlog.get_logger(__name__)

WEEK: Final = timedelta(days=7)
WEEKS_AHEAD: Final = 8
#: Both need the parent's lock. Whoever asks for it holds up all who come later: give up early,
#: and ask again in an hour.
_PATIENCE: Final = text("SET LOCAL lock_timeout = '500ms'")
#: Table, and the prefix of the ids it is partitioned by.
PARTITIONED: Final = {"event": "evt", "attempt": "dlv"}


def week_of(moment: datetime) -> datetime:
    """Return the Monday, 00:00 UTC, that starts the week of a moment."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def name_of(table: str, week: datetime) -> str:
    return f"{table}_{week:%Y%m%d}"


async def make_ahead(database: Database) -> None:
    """Make the partitions from this week to some weeks ahead; those that exist stay as they are."""
    if database.dialect != "postgresql":
        return
    for statement in statements(utcnow()):
        try:
            async with database.begin() as c:
                await c.execute(_PATIENCE)
                await c.execute(text(statement))
        except DBAPIError as fault:
            # Somebody reads for long, or the default partition holds rows of that week: it keeps
            # them.
            log.warning("partition.not_made", fault=type(fault.orig).__name__)


def statements(now: datetime) -> list[str]:
    """Return what makes the partitions from the week of `now` to some weeks ahead."""
    weeks = [week_of(now) + number * WEEK for number in range(WEEKS_AHEAD + 1)]
    return [
        f"CREATE TABLE IF NOT EXISTS {name_of(table, week)} PARTITION OF {table} FOR VALUES"
        f" FROM ('{id_floor(prefix, week)}') TO ('{id_floor(prefix, week + WEEK)}')"
        for table, prefix in PARTITIONED.items()
        for week in weeks
    ]


async def drop_before(database: Database, limit: datetime) -> dict[str, int]:
    """Drop partitions that ended before `limit` and owe nothing; return how many per table."""
    dropped = {f"{table} weeks": 0 for table in PARTITIONED}
    for table in PARTITIONED:
        async with database.begin() as c:
            weeks = await _weeks(c, table)
        for week in weeks:
            if week + WEEK <= limit and await _dropped(database, table, week):
                dropped[f"{table} weeks"] += 1
    return dropped


async def _dropped(database: Database, table: str, week: datetime) -> bool:
    try:
        async with database.begin() as c:
            if await _is_needed(c, week + WEEK):
                return False
            await c.execute(_PATIENCE)
            await c.execute(text(f"DROP TABLE {name_of(table, week)}"))
    except DBAPIError as fault:
        log.warning("partition.not_dropped", fault=type(fault.orig).__name__)
        return False
    return True


async def _weeks(c: AsyncConnection, table: str) -> list[datetime]:
    rows = await c.execute(
        text(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = CAST(:table AS regclass) AND relname ~ '_[0-9]{8}$'"
        ),
        {"table": table},
    )
    return sorted(datetime.strptime(row[0][-8:], "%Y%m%d").replace(tzinfo=UTC) for row in rows)


async def _is_needed(c: AsyncConnection, end: datetime) -> bool:
    # A delivery of those weeks that is still there needs its event and its attempts; a replay
    # that is still owed is young, but its event is not.
    found = await c.execute(
        text(
            "SELECT 1 FROM tenant t WHERE EXISTS (SELECT 1 FROM delivery d"
            " WHERE d.tenant_id = t.id AND d.id < :delivery) OR EXISTS (SELECT 1 FROM delivery d"
            " WHERE d.tenant_id = t.id AND d.event_id < :event"
            " AND d.state IN ('pending', 'retrying', 'delivering')) LIMIT 1"
        ),
        {"delivery": id_floor("dlv", end), "event": id_floor("evt", end)},
    )
    return found.first() is not None
