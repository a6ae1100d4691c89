"""A tenant's past, written set by set: a million deliveries take seconds, not hours."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import Database, utcnow
from app.database.base import to_millis

#: What is generated spreads evenly over this much time.
SPAN_S: Final = 7 * 86_400
#: Every event goes to this many destinations.
FAN_OUT: Final = 2
#: The newest deliveries have their attempts, for the page of one of them.
ATTEMPTS: Final = 10_000
#: Generated entries of the trail come after those that the set-up really wrote.
AUDIT_FROM: Final = 1_000

# Numbers that hash n, so that states, types and destinations do not march in step.
_H: Final = "((n * 2654435761) % 1000)"
_STATE: Final = (
    f"CASE WHEN {_H} < 20 THEN 'failed' WHEN {_H} < 25 THEN 'retrying'"
    f" WHEN {_H} < 30 THEN 'cancelled' WHEN {_H} = 30 THEN 'pending'"
    " ELSE 'delivered' END"
)
_OUTCOME: Final = (
    "CASE state WHEN 'delivered' THEN 'delivered' WHEN 'pending' THEN NULL"
    " ELSE CASE n % 4 WHEN 0 THEN 'timeout' WHEN 1 THEN 'connect_error' ELSE 'http_error' END END"
)
# One type in ten thousand is rare: the list that filters by it must find it all the same.
_TYPE: Final = (
    f"CASE WHEN (n / {FAN_OUT}) % 10000 = 7 THEN 'license.expired'"
    f" ELSE 'alert.kind_' || (((n / {FAN_OUT}) * 7919) % 11) END"
)

_WORDS: Final = {
    "sqlite": {
        "series": "WITH RECURSIVE series(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series"
        " WHERE n + 1 < :count)",
        "hex12": "printf('%012x', {})",
        "hex20": "printf('%020x', {})",
        "moment": "({})",
        "body": "CAST({} AS BLOB)",
        "false": "0",
        "hash": "zeroblob(32)",
        "bucket": "CAST(round(4 * log2(max(1, ms))) AS INTEGER)",
    },
    "postgresql": {
        "series": "WITH series AS (SELECT generate_series(0, :count - 1)::bigint AS n)",
        "hex12": "lpad(to_hex({}), 12, '0')",
        "hex20": "lpad(to_hex({}), 20, '0')",
        "moment": "to_timestamp(({}) / 1000.0)",
        "body": "convert_to({}, 'UTF8')",
        "false": "false",
        "hash": "decode(repeat('00', 32), 'hex')",
        "bucket": "round(4 * log(2, greatest(1, ms)))::smallint",
    },
}


async def fill(
    database: Database, tenant_id: str, destinations: list[str], deliveries: int
) -> None:
    """Write deliveries with their events, some attempts, the counts, and as many audit entries."""
    start = to_millis(utcnow()) - SPAN_S * 1000
    values = {"tenant": tenant_id, "count": deliveries, "start": start}
    async with database.begin() as c:
        await c.execute(text("CREATE TEMPORARY TABLE place (number INTEGER PRIMARY KEY, id TEXT)"))
        await c.execute(
            text("INSERT INTO place VALUES (:number, :id)"),
            [{"number": n, "id": one} for n, one in enumerate(destinations)],
        )
        for sql in _statements(database.dialect, deliveries, len(destinations)):
            statement = text(sql)
            await c.execute(statement, {name: values[name] for name in statement.compile().params})
        await c.execute(text("DROP TABLE place"))
    if database.dialect == "postgresql":
        await _settle(database)


def _statements(dialect: str, deliveries: int, places: int) -> list[str]:
    w = _WORDS[dialect]
    step = max(1, SPAN_S * 1000 // deliveries)
    at = f"(:start + n * {step})"
    event_at = f"(:start + (n / {FAN_OUT}) * {FAN_OUT * step})"
    delivery_id = f"'dlv_' || {w['hex12'].format(at)} || {w['hex20'].format('n')}"
    event_id = f"'evt_' || {w['hex12'].format(event_at)} || {w['hex20'].format(f'(n / {FAN_OUT})')}"
    moment, event_moment = w["moment"].format(at), w["moment"].format(event_at)
    later = w["moment"].format(f"{at} + 9000000000")
    body = w["body"].format('\'{"id":"\' || ' + event_id + ' || \'","data":{"severity":"high"}}\'')
    rows = f"SELECT n, {_STATE} AS state, 20 + (n * 37) % 400 AS ms FROM series"
    events = (
        f"{w['series']} INSERT INTO event (tenant_id, id, type, body, delivery_count, created_at)"
        f" SELECT :tenant, {event_id}, {_TYPE}, {body}, {FAN_OUT}, {event_moment}"
        f" FROM series WHERE n % {FAN_OUT} = 0"
    )
    owed = (
        f"{w['series']} INSERT INTO delivery (tenant_id, id, destination_id, event_id, event_type,"
        ' state, "trigger", ordered, attempt_count, retries_used, next_attempt_at, last_outcome,'
        " last_status, last_duration_ms, created_at, settled_at)"
        f" SELECT :tenant, {delivery_id}, place.id, {event_id}, {_TYPE}, state, 'scheduled',"
        f" {w['false']}, CASE WHEN state = 'pending' THEN 0 ELSE 1 END, 0,"
        f" CASE WHEN state IN ('pending', 'retrying') THEN {later} END, {_OUTCOME},"
        f" CASE WHEN state = 'delivered' THEN 200 END,"
        f" CASE WHEN state <> 'pending' THEN ms END, {moment},"
        f" CASE WHEN state NOT IN ('pending', 'retrying') THEN {moment} END"
        f" FROM ({rows}) AS made JOIN place ON place.number = (n * 31) % {places}"
    )
    attempts = (
        'INSERT INTO attempt (tenant_id, delivery_id, number, "trigger", started_at, duration_ms,'
        " outcome, response_status)"
        " SELECT tenant_id, id, 1, 'scheduled', created_at, last_duration_ms, last_outcome,"
        " last_status FROM (SELECT * FROM delivery WHERE tenant_id = :tenant"
        f" ORDER BY id DESC LIMIT {ATTEMPTS}) AS newest WHERE last_outcome IS NOT NULL"
    )
    changes = (
        f"{w['series']} INSERT INTO audit_entry (tenant_id, sequence, id, at, action, actor_kind,"
        " actor_id, actor_label, address, user_agent, target_kind, target_id, target_label,"
        " changes, previous_hash, hash)"
        f" SELECT :tenant, {AUDIT_FROM} + n, 'aud_' || n, {moment},"
        " CASE WHEN n % 5000 = 3 THEN 'destination.disabled' ELSE 'delivery.retried' END,"
        " 'member', 'usr_' || (n % 7), 'member' || (n % 7) || '@bench.example', '203.0.113.7', '',"
        f" 'delivery', 'dlv_' || n, 'alert', '{{}}', {w['hash']}, {w['hash']} FROM series"
    )
    rollups = [_rollup(dialect, w["bucket"], slot_s) for slot_s in (60, 900)]
    return [events, owed, attempts, *rollups, changes]


def _rollup(dialect: str, bucket: str, slot_s: int) -> str:
    moment = {"sqlite": "created_at / 1000", "postgresql": "extract(epoch FROM created_at)::bigint"}
    seconds = moment[dialect]
    return (
        "INSERT INTO rollup (tenant_id, destination_id, slot_s, slot, result, bucket, count)"
        f" SELECT tenant_id, destination_id, {slot_s}, {seconds} - {seconds} % {slot_s} AS slot,"
        f" state, {bucket} AS bucket, count(*) FROM (SELECT *, last_duration_ms AS ms FROM delivery"
        " WHERE tenant_id = :tenant AND state IN ('delivered', 'retrying', 'failed')) AS done"
        " GROUP BY tenant_id, destination_id, 4, state, 6"
    )


async def _settle(database: Database) -> None:
    """Do now what autovacuum does a little later."""
    async with database.engine.connect() as connection:
        plain: AsyncConnection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        for table in ("delivery", "event", "rollup", "audit_entry", "attempt"):
            await plain.execute(text(f"VACUUM (ANALYZE) {table}"))
