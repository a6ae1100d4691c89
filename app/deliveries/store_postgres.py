"""The hot statements on PostgreSQL: sets travel as arrays, workers skip each other's rows.

Arrays go in binary (`%b`): the text form costs psycopg up to a hundred times more per item.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from app.deliveries.rollup import SLOTS, bucket_of
from app.deliveries.store import (
    BREAKER_FIRST_S,
    BREAKER_MAX_S,
    BREAKER_THRESHOLD,
    LANES_PER_CLAIM,
    RULES_DUE,
    Claim,
    ClaimRequest,
    LaneNews,
    Lease,
    Owed,
    Route,
    Settled,
    lane_news,
    lease_of,
    routes_of,
)
from app.events.intake import NewEvent

_WAITING: Final = "state IN ('pending', 'retrying')"

# The walk is a loose index scan: one probe of ix_delivery_due per destination that has something
# waiting, so that a claim costs the same with a thousand due rows as with a million.
CLAIM: Final = f"""
WITH RECURSIVE walk AS (
    (SELECT tenant_id, destination_id, next_attempt_at FROM delivery
      WHERE {_WAITING} AND (tenant_id, destination_id) > (%(after_tenant)s, %(after)s)
      ORDER BY tenant_id, destination_id, next_attempt_at LIMIT 1)
    UNION ALL
    SELECT n.* FROM walk w CROSS JOIN LATERAL (
        SELECT tenant_id, destination_id, next_attempt_at FROM delivery
         WHERE {_WAITING} AND (tenant_id, destination_id) > (w.tenant_id, w.destination_id)
         ORDER BY tenant_id, destination_id, next_attempt_at LIMIT 1) n
), lanes AS MATERIALIZED (
    SELECT w.tenant_id, w.destination_id,
           CASE WHEN l.consecutive_failures >= {BREAKER_THRESHOLD} THEN 1
                ELSE %(per_lane)s END - coalesce(b.n, 0) AS quota
      FROM walk w
      JOIN destination s ON s.tenant_id = w.tenant_id AND s.id = w.destination_id
       AND s.disabled_at IS NULL AND s.deleted_at IS NULL
       AND NOT s.ordered AND s.rate_limit_per_second IS NULL  -- theirs is deliveries.strict
      JOIN lane l ON l.tenant_id = w.tenant_id AND l.destination_id = w.destination_id
       AND (l.open_until IS NULL OR l.open_until <= now())
       AND (l.slow_until IS NULL OR l.slow_until <= now())
      LEFT JOIN unnest(%(busy_ids)s::text[], %(busy_n)s::int[]) AS b (id, n)
        ON b.id = w.destination_id
     WHERE w.next_attempt_at <= now() AND coalesce(b.n, 0) < %(per_lane)s
     LIMIT {LANES_PER_CLAIM}
), share AS MATERIALIZED (
    -- No lane locks more than its share, so that workers who claim at once all find something.
    SELECT least(%(per_lane)s, ceil(%(limit)s / greatest(1.0, count(*))))::int AS n FROM lanes
), due AS MATERIALIZED (
    SELECT lanes.tenant_id, d.id, d.event_id, lanes.quota,
           row_number() OVER (PARTITION BY lanes.destination_id) AS rank
      FROM lanes CROSS JOIN LATERAL (
        SELECT id, event_id FROM delivery
         WHERE tenant_id = lanes.tenant_id AND destination_id = lanes.destination_id
           AND {_WAITING} AND next_attempt_at <= now()
         ORDER BY next_attempt_at LIMIT (SELECT n FROM share)
         FOR UPDATE SKIP LOCKED) d
), laden AS (
    SELECT due.*, e.body,
           sum(octet_length(e.body)) OVER (ORDER BY due.rank, due.id) - octet_length(e.body) AS load
      FROM due LEFT JOIN LATERAL (
        SELECT body FROM event WHERE tenant_id = due.tenant_id AND id = due.event_id LIMIT 1) e
        ON true
     WHERE rank <= quota
), picked AS MATERIALIZED (
    SELECT tenant_id, id, body FROM laden WHERE coalesce(load, 0) < %(max_bytes)s
     ORDER BY rank LIMIT %(limit)s
), claimed AS (
    UPDATE delivery d
       SET state = 'delivering', next_attempt_at = NULL,
           lease_until = now() + make_interval(secs => %(lease_s)s), lease_token = %(token)s
      FROM picked p
     WHERE d.tenant_id = p.tenant_id AND d.id = p.id
    RETURNING d.tenant_id, d.id, d.destination_id, d.event_id, d.event_type, d.attempt_count,
              d.retries_used, d.trigger, p.body
)
-- One round trip: each body comes once, and even an empty claim tells the time.
SELECT extract(epoch FROM now())::float8, {RULES_DUE}, c.tenant_id, c.id, c.destination_id,
       c.event_id, c.event_type, c.attempt_count, c.retries_used, c.trigger,
       CASE WHEN row_number() OVER (PARTITION BY c.event_id) = 1 THEN c.body END
  FROM (VALUES (1)) AS once LEFT JOIN claimed c ON true
"""

# One statement, so one round trip and one commit: fence, states, attempts, counts, lanes.
_RECORD: Final = f"""
WITH input AS (
    SELECT * FROM unnest(
        %(tenant_id)b::text[], %(destination_id)b::text[], %(id)b::text[], %(token)b::text[],
        %(state)b::text[], %(delay_s)b::float8[], %(reason)b::text[], %(retried)b::int[],
        %(number)b::int[], %(trigger)b::text[], %(started_s)b::float8[], %(duration_ms)b::int[],
        %(bucket)b::smallint[], %(outcome)b::text[], %(status)b::int[], %(body)b::text[],
        %(address)b::text[], %(detail)b::text[]
    ) AS t (tenant_id, destination_id, id, token, state, delay_s, reason, retried, number,
            trigger, started_s, duration_ms, bucket, outcome, status, body, address, detail)
), settled AS (
    UPDATE delivery d
       SET state = i.state,
           attempt_count = d.attempt_count + 1,
           retries_used = d.retries_used + i.retried,
           next_attempt_at = now() + make_interval(secs => i.delay_s),
           lease_until = NULL,
           lease_token = NULL,
           last_outcome = i.outcome,
           last_status = i.status,
           last_duration_ms = i.duration_ms,
           reason = i.reason,
           trigger = CASE WHEN i.state = 'retrying' THEN 'scheduled' ELSE d.trigger END,
           settled_at = CASE WHEN i.state = 'retrying' THEN NULL ELSE now() END
      FROM input i
     WHERE d.tenant_id = i.tenant_id AND d.id = i.id AND d.lease_token = i.token
    RETURNING i.*
), written AS (
    INSERT INTO attempt (tenant_id, delivery_id, number, trigger, started_at, duration_ms,
                         outcome, response_status, response_body, resolved_address, detail)
    SELECT tenant_id, id, number, trigger, to_timestamp(started_s), duration_ms,
           outcome, status, body, address, detail::jsonb
      FROM settled
), counted AS (
    INSERT INTO rollup AS r (tenant_id, destination_id, slot_s, slot, result, bucket, count)
    SELECT tenant_id, destination_id, slot_s,
           floor(extract(epoch FROM now()) / slot_s)::bigint * slot_s, state, bucket, count(*)
      FROM settled CROSS JOIN unnest(ARRAY{list(SLOTS)}) AS slot_s
     GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (tenant_id, destination_id, slot_s, slot, result, bucket)
    DO UPDATE SET count = r.count + excluded.count
), learnt AS (
    UPDATE lane l
       SET slow_until = CASE WHEN n.pause_s > 0
                             THEN greatest(l.slow_until, now() + make_interval(secs => n.pause_s))
                             ELSE l.slow_until END,
           consecutive_failures =
             CASE WHEN n.healed THEN n.failures ELSE l.consecutive_failures + n.failures END,
           failing_since = CASE WHEN n.failures = 0 THEN NULL
                                WHEN n.healed OR l.failing_since IS NULL THEN now()
                                ELSE l.failing_since END,
           open_until = CASE
             WHEN n.healed OR l.consecutive_failures + n.failures < {BREAKER_THRESHOLD} THEN NULL
             ELSE now() + make_interval(secs => least({BREAKER_MAX_S}, {BREAKER_FIRST_S} *
                  (1 << least(8, (l.consecutive_failures + n.failures - {BREAKER_THRESHOLD})
                                 / 8)))) END
      FROM unnest(%(lane_tenant)b::text[], %(lane)b::text[], %(healed)b::bool[],
                  %(failures)b::int[], %(pause_s)b::float8[])
             AS n (tenant_id, destination_id, healed, failures, pause_s)
     WHERE l.tenant_id = n.tenant_id AND l.destination_id = n.destination_id
       AND (n.failures > 0 OR l.consecutive_failures > 0)
)
SELECT id FROM settled
"""


class PostgresStore:
    """Many workers on many machines: `now()` is the database's clock, the only one that counts."""

    def __init__(self) -> None:
        self._swept_at_s = math.inf

    async def insert_events(
        self, c: AsyncConnection, events: Sequence[NewEvent], counts: Sequence[int]
    ) -> None:
        await c.exec_driver_sql(
            "INSERT INTO event (tenant_id, id, type, body, idempotency_key, delivery_count,"
            " created_at, trace_context) SELECT t.*, %(at)s, %(trace)s FROM"
            " unnest(%(tenant_id)b::text[], %(id)b::text[],"
            " %(type)b::text[], %(body)b::bytea[], %(key)b::text[], %(count)b::int[]) AS t",
            {
                "tenant_id": [e.tenant_id for e in events],
                "id": [e.id for e in events],
                "type": [e.type for e in events],
                "body": [e.body for e in events],
                "key": [e.idempotency_key for e in events],
                "count": list(counts),
                "at": events[0].created_at,
                "trace": events[0].trace,  # what is published in one call is of one trace
            },
        )

    async def take_keys(
        self, c: AsyncConnection, events: Sequence[NewEvent]
    ) -> set[tuple[str, str]]:
        # In one order everywhere, so that two publishers of the same keys never deadlock.
        keyed = sorted(
            (e for e in events if e.idempotency_key is not None),
            key=lambda e: (e.tenant_id, e.idempotency_key),
        )
        taken = await c.exec_driver_sql(
            "INSERT INTO idempotency_key (tenant_id, key, event_id, created_at)"
            " SELECT t.*, now() FROM unnest(%(tenant_id)b::text[], %(key)b::text[],"
            " %(id)b::text[]) AS t ON CONFLICT DO NOTHING RETURNING tenant_id, key",
            {
                "tenant_id": [e.tenant_id for e in keyed],
                "key": [e.idempotency_key for e in keyed],
                "id": [e.id for e in keyed],
            },
        )
        return {(row[0], row[1]) for row in taken}

    async def insert_deliveries(self, c: AsyncConnection, owed: Sequence[Owed]) -> None:
        await c.exec_driver_sql(
            "INSERT INTO delivery (tenant_id, id, destination_id, event_id, event_type, trigger,"
            " ordered, state, attempt_count, retries_used, next_attempt_at, created_at)"
            " SELECT t.*, 'pending', 0, 0, now(), now() FROM unnest(%(tenant_id)b::text[],"
            " %(id)b::text[], %(destination_id)b::text[], %(event_id)b::text[],"
            " %(event_type)b::text[], %(trigger)b::text[], %(ordered)b::bool[]) AS t",
            {
                "tenant_id": [o.tenant_id for o in owed],
                "id": [o.id for o in owed],
                "destination_id": [o.destination_id for o in owed],
                "event_id": [o.event_id for o in owed],
                "event_type": [o.event_type for o in owed],
                "trigger": [o.trigger.value for o in owed],
                "ordered": [o.ordered for o in owed],
            },
        )

    async def claim(self, c: AsyncConnection, request: ClaimRequest) -> Claim:
        rows = (
            await c.exec_driver_sql(
                CLAIM,
                {
                    "after_tenant": request.after_tenant,
                    "after": request.after,
                    "per_lane": request.per_lane,
                    "busy_ids": list(request.busy),
                    "busy_n": list(request.busy.values()),
                    "limit": request.limit,
                    "max_bytes": request.max_bytes,
                    "lease_s": request.lease_s,
                    "token": request.token,
                },
            )
        ).all()
        now_s, rules_due = rows[0][:2]
        claimed = [row for row in rows if row[2] is not None]
        return Claim(
            leases=[lease_of(row[2:10], request.token) for row in claimed],
            bodies={row[5]: row[10] for row in claimed if row[10] is not None},
            rules_due=rules_due,
            now_s=now_s,
        )

    async def bodies(self, c: AsyncConnection, leases: Sequence[Lease]) -> dict[str, bytes]:
        # Arrays as parameters let the planner touch only the partitions that hold these ids.
        rows = await c.exec_driver_sql(
            "SELECT id, body FROM event WHERE tenant_id = ANY(%(tenants)s) AND id = ANY(%(ids)s)",
            {
                "tenants": list({lease.tenant_id for lease in leases}),
                "ids": list({lease.event_id for lease in leases}),
            },
        )
        return {row[0]: row[1] for row in rows}

    async def routes(self, c: AsyncConnection, leases: Sequence[Lease]) -> dict[str, Route]:
        rows = await c.exec_driver_sql(
            "SELECT d.tenant_id, d.id, d.endpoint_url, d.sealed_headers, d.asymmetric_signature,"
            " d.trace_context, s.sealed"
            " FROM destination d LEFT JOIN signing_secret s ON s.tenant_id = d.tenant_id"
            " AND s.destination_id = d.id AND (s.expires_at IS NULL OR s.expires_at > now())"
            " WHERE d.tenant_id = ANY(%(tenants)s) AND d.id = ANY(%(ids)s)"
            " ORDER BY d.id, s.id DESC",
            {
                "tenants": list({lease.tenant_id for lease in leases}),
                "ids": list({lease.destination_id for lease in leases}),
            },
        )
        return routes_of(rows)

    async def record(self, c: AsyncConnection, settled: Sequence[Settled]) -> set[str]:
        # Locks are taken in one order in every worker. A fenced attempt still tells of the road.
        rows = sorted(settled, key=lambda s: s.lease.id)
        values = _columns(rows) | _lane_columns(lane_news(settled))
        result = await c.exec_driver_sql(_RECORD, values)
        return {row[0] for row in result}

    async def release(self, c: AsyncConnection, leases: Sequence[Lease]) -> None:
        await c.exec_driver_sql(
            "UPDATE delivery d SET state = CASE attempt_count WHEN 0 THEN 'pending' ELSE 'retrying'"
            " END, next_attempt_at = now(), lease_until = NULL, lease_token = NULL"
            " FROM unnest(%(tenant_id)b::text[], %(id)b::text[], %(token)b::text[])"
            " AS t (tenant_id, id, token)"
            " WHERE d.tenant_id = t.tenant_id AND d.id = t.id AND d.lease_token = t.token",
            {
                "tenant_id": [lease.tenant_id for lease in leases],
                "id": [lease.id for lease in leases],
                "token": [lease.token for lease in leases],
            },
        )

    async def sweep(self, c: AsyncConnection, longest_s: float) -> tuple[int, int]:
        now_s = (await c.exec_driver_sql("SELECT extract(epoch FROM now())::float8")).scalar_one()
        if now_s < self._swept_at_s:
            # The clock was put back, perhaps before we started: what is due at once stays so.
            await c.exec_driver_sql(
                "UPDATE delivery SET next_attempt_at = now()"
                " WHERE state = 'pending' AND next_attempt_at > now()"
            )
            await c.exec_driver_sql(
                "UPDATE delivery SET lease_until = now() + make_interval(secs => %(longest)s)"
                " WHERE state = 'delivering'"
                " AND lease_until > now() + make_interval(secs => %(longest)s)",
                {"longest": longest_s},
            )
        self._swept_at_s = now_s
        expired = await c.exec_driver_sql(
            "UPDATE delivery d SET state = CASE attempt_count WHEN 0 THEN 'pending'"
            " ELSE 'retrying' END, next_attempt_at = now(), lease_until = NULL, lease_token = NULL"
            " FROM (SELECT tenant_id, id FROM delivery WHERE state = 'delivering'"
            " AND lease_until < now() FOR UPDATE SKIP LOCKED) e"
            " WHERE d.tenant_id = e.tenant_id AND d.id = e.id"
        )
        stray = await c.exec_driver_sql(
            "UPDATE delivery d SET state = 'cancelled', next_attempt_at = NULL, settled_at = now(),"
            " reason = 'the destination is disabled or deleted'"
            " FROM (SELECT v.tenant_id, v.id FROM destination s JOIN delivery v"
            " ON v.tenant_id = s.tenant_id AND v.destination_id = s.id"
            f" AND v.{_WAITING} WHERE s.disabled_at IS NOT NULL OR s.deleted_at IS NOT NULL"
            " FOR UPDATE OF v SKIP LOCKED) g WHERE d.tenant_id = g.tenant_id AND d.id = g.id"
        )
        return expired.rowcount, stray.rowcount


def _columns(rows: Sequence[Settled]) -> dict[str, list[Any]]:
    return {
        "tenant_id": [s.lease.tenant_id for s in rows],
        "destination_id": [s.lease.destination_id for s in rows],
        "id": [s.lease.id for s in rows],
        "token": [s.lease.token for s in rows],
        "state": [s.state.value for s in rows],
        "delay_s": [s.delay_s for s in rows],
        "reason": [s.reason for s in rows],
        "retried": [int(s.counts_as_retry) for s in rows],
        "number": [s.lease.attempt_count + 1 for s in rows],
        "trigger": [s.lease.trigger.value for s in rows],
        "started_s": [s.started_s for s in rows],
        "duration_ms": [s.duration_ms for s in rows],
        "bucket": [bucket_of(s.duration_ms) for s in rows],
        "outcome": [s.outcome for s in rows],
        "status": [s.response_status for s in rows],
        "body": [s.response_body for s in rows],
        "address": [s.resolved_address for s in rows],
        "detail": [s.detail.decode() if s.detail else None for s in rows],
    }


def _lane_columns(news: Sequence[LaneNews]) -> dict[str, list[Any]]:
    return {
        "lane_tenant": [n.tenant_id for n in news],
        "lane": [n.destination_id for n in news],
        "healed": [n.healed for n in news],
        "failures": [n.failures for n in news],
        "pause_s": [n.pause_s for n in news],
    }
