"""The hot statements on SQLite: sets travel as JSON or executemany, one writer at a time."""

import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.base import to_millis
from app.deliveries.models import State
from app.deliveries.rollup import count
from app.deliveries.store import (
    BREAKER_FIRST_S,
    BREAKER_MAX_S,
    BREAKER_THRESHOLD,
    LANES_PER_CLAIM,
    RULES_DUE,
    Claim,
    ClaimRequest,
    Lease,
    Owed,
    Route,
    Settled,
    lane_news,
    lease_of,
    routes_of,
)
from app.events.intake import NewEvent

CLAIM: Final = f"""
WITH RECURSIVE walk(destination_id) AS (
    SELECT min(destination_id) FROM delivery
     WHERE state IN ('pending', 'retrying') AND destination_id > :after
    UNION ALL
    SELECT (SELECT min(d.destination_id) FROM delivery d
             WHERE d.state IN ('pending', 'retrying') AND d.destination_id > walk.destination_id)
      FROM walk WHERE walk.destination_id IS NOT NULL
), lanes AS MATERIALIZED (
    SELECT w.destination_id,
           CASE WHEN l.consecutive_failures >= {BREAKER_THRESHOLD} THEN 1 ELSE :per_lane END
             - coalesce(b.value, 0) AS quota
      FROM walk w
      JOIN destination s ON s.id = w.destination_id
       AND s.disabled_at IS NULL AND s.deleted_at IS NULL
       AND NOT s.ordered AND s.rate_limit_per_second IS NULL  -- theirs is deliveries.strict
      JOIN lane l ON l.tenant_id = s.tenant_id AND l.destination_id = s.id
       AND (l.open_until IS NULL OR l.open_until <= :now)
       AND (l.slow_until IS NULL OR l.slow_until <= :now)
      LEFT JOIN json_each(:busy) b ON b.key = w.destination_id
     WHERE (SELECT min(d.next_attempt_at) FROM delivery d
             WHERE d.state IN ('pending', 'retrying')
               AND d.destination_id = w.destination_id) <= :now
       AND coalesce(b.value, 0) < :per_lane
     LIMIT {LANES_PER_CLAIM}
), sized AS MATERIALIZED (  -- else the sort of the window would carry the bodies themselves
    SELECT j.value AS row, j.key AS rank, length(e.body) AS size
      FROM lanes
      JOIN json_each((SELECT json_group_array(due.rowid) FROM (
               SELECT d.rowid FROM delivery d
                WHERE d.state IN ('pending', 'retrying')
                  AND d.destination_id = lanes.destination_id
                  AND d.next_attempt_at <= :now
                ORDER BY d.next_attempt_at LIMIT :per_lane) AS due)) j
      JOIN delivery d ON d.rowid = j.value
      LEFT JOIN event e ON e.tenant_id = d.tenant_id AND e.id = d.event_id
     WHERE j.key < lanes.quota
), laden AS (
    SELECT row, rank, sum(size) OVER (ORDER BY rank, row) - size AS load FROM sized
), picked AS (
    SELECT row FROM laden WHERE coalesce(load, 0) < :max_bytes ORDER BY rank LIMIT :limit
)
UPDATE delivery
   SET state = 'delivering', next_attempt_at = NULL, lease_until = :until, lease_token = :token
 WHERE rowid IN (SELECT row FROM picked)
RETURNING tenant_id, id, destination_id, event_id, event_type, attempt_count, retries_used,
          "trigger"
"""

_RULES_DUE: Final = f"SELECT {RULES_DUE.replace('now()', ':now')}"

_RECORD: Final = """
UPDATE delivery
   SET state = j.state,
       attempt_count = attempt_count + 1,
       retries_used = retries_used + j.retried,
       next_attempt_at = j.next_at,
       lease_until = NULL,
       lease_token = NULL,
       last_outcome = j.outcome,
       last_status = j.status,
       last_duration_ms = j.duration_ms,
       reason = j.reason,
       "trigger" = CASE WHEN j.state = 'retrying' THEN 'scheduled' ELSE "trigger" END,
       settled_at = j.settled_at
  FROM (SELECT value ->> 0 AS tenant_id, value ->> 1 AS id, value ->> 2 AS token,
               value ->> 3 AS state, value ->> 4 AS retried, value ->> 5 AS next_at,
               value ->> 6 AS outcome, value ->> 7 AS status, value ->> 8 AS duration_ms,
               value ->> 9 AS reason, value ->> 10 AS settled_at
          FROM json_each(:rows)) AS j
 WHERE delivery.tenant_id = j.tenant_id AND delivery.id = j.id
   AND delivery.lease_token = j.token
RETURNING delivery.id
"""

_LANES: Final = f"""
UPDATE lane
   SET slow_until = CASE WHEN j.pause_s > 0
                         THEN max(coalesce(slow_until, 0), :now + CAST(1000 * j.pause_s AS INTEGER))
                         ELSE slow_until END,
       consecutive_failures =
         CASE WHEN j.healed THEN j.failures ELSE consecutive_failures + j.failures END,
       failing_since = CASE WHEN j.failures = 0 THEN NULL
                            WHEN j.healed OR failing_since IS NULL THEN :now
                            ELSE failing_since END,
       open_until = CASE
         WHEN j.healed OR consecutive_failures + j.failures < {BREAKER_THRESHOLD} THEN NULL
         ELSE :now + 1000 * min({BREAKER_MAX_S}, {BREAKER_FIRST_S} *
              (1 << min(8, (consecutive_failures + j.failures - {BREAKER_THRESHOLD}) / 8))) END
  FROM (SELECT value ->> 0 AS tenant_id, value ->> 1 AS destination_id,
               value ->> 2 AS healed, value ->> 3 AS failures, value ->> 4 AS pause_s
          FROM json_each(:rows)) AS j
 WHERE lane.tenant_id = j.tenant_id AND lane.destination_id = j.destination_id
   AND (j.failures > 0 OR lane.consecutive_failures > 0)
"""


_ROLLUP: Final = """
INSERT INTO rollup (tenant_id, destination_id, slot_s, slot, result, bucket, count)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count
"""


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteStore:
    """One machine, one clock: `now` is this process's, as it is every other's."""

    def __init__(self) -> None:
        self._swept_at_ms = sys.maxsize

    async def insert_events(
        self, c: AsyncConnection, events: Sequence[NewEvent], counts: Sequence[int]
    ) -> None:
        await c.exec_driver_sql(
            "INSERT INTO event (tenant_id, id, type, body, idempotency_key, delivery_count,"
            " created_at, trace_context) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    e.tenant_id,
                    e.id,
                    e.type,
                    e.body,
                    e.idempotency_key,
                    n,
                    to_millis(e.created_at),
                    e.trace,
                )
                for e, n in zip(events, counts, strict=True)
            ],
        )

    async def take_keys(
        self, c: AsyncConnection, events: Sequence[NewEvent]
    ) -> set[tuple[str, str]]:
        rows = [
            (e.tenant_id, e.idempotency_key, e.id, to_millis(e.created_at))
            for e in events
            if e.idempotency_key is not None
        ]
        taken = await c.exec_driver_sql(
            "INSERT INTO idempotency_key (tenant_id, key, event_id, created_at)"
            " SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)"
            " WHERE true ON CONFLICT DO NOTHING RETURNING tenant_id, key",
            (_json(rows),),
        )
        return {(row[0], row[1]) for row in taken}

    async def insert_deliveries(self, c: AsyncConnection, owed: Sequence[Owed]) -> None:
        now = _now_ms()
        await c.exec_driver_sql(
            "INSERT INTO delivery (tenant_id, id, destination_id, event_id, event_type, state,"
            ' "trigger", ordered, attempt_count, retries_used, next_attempt_at, created_at)'
            " VALUES (?, ?, ?, ?, ?, 'pending', ?, ?, 0, 0, ?, ?)",
            [
                (
                    o.tenant_id,
                    o.id,
                    o.destination_id,
                    o.event_id,
                    o.event_type,
                    o.trigger,
                    o.ordered,
                    now,
                    now,
                )
                for o in owed
            ],
        )

    async def claim(self, c: AsyncConnection, request: ClaimRequest) -> Claim:
        now = _now_ms()
        rows = await c.exec_driver_sql(
            CLAIM,
            {
                "after": request.after,
                "per_lane": request.per_lane,
                "busy": _json(dict(request.busy)),
                "limit": request.limit,
                "max_bytes": request.max_bytes,
                "now": now,
                "until": now + int(request.lease_s * 1000),
                "token": request.token,
            },
        )
        leases = [lease_of(row, request.token) for row in rows]
        rules_due = await c.exec_driver_sql(_RULES_DUE, {"now": now})
        return Claim(
            leases=leases,
            bodies=await self.bodies(c, leases) if leases else {},
            rules_due=bool(rules_due.scalar_one()),
            now_s=now / 1000,
        )

    async def bodies(self, c: AsyncConnection, leases: Sequence[Lease]) -> dict[str, bytes]:
        keys = sorted({(lease.tenant_id, lease.event_id) for lease in leases})
        rows = await c.exec_driver_sql(
            "SELECT e.id, e.body FROM json_each(?) j JOIN event e"
            " ON e.tenant_id = j.value ->> 0 AND e.id = j.value ->> 1",
            (_json(keys),),
        )
        return {row[0]: row[1] for row in rows}

    async def routes(self, c: AsyncConnection, leases: Sequence[Lease]) -> dict[str, Route]:
        keys = sorted({(lease.tenant_id, lease.destination_id) for lease in leases})
        rows = await c.exec_driver_sql(
            "SELECT d.tenant_id, d.id, d.endpoint_url, d.sealed_headers, d.asymmetric_signature,"
            " d.trace_context, s.sealed"
            " FROM json_each(?) j"
            " JOIN destination d ON d.tenant_id = j.value ->> 0 AND d.id = j.value ->> 1"
            " LEFT JOIN signing_secret s ON s.tenant_id = d.tenant_id AND s.destination_id = d.id"
            " AND (s.expires_at IS NULL OR s.expires_at > ?)"
            " ORDER BY d.id, s.id DESC",
            (_json(keys), _now_ms()),
        )
        return routes_of(rows)

    async def record(self, c: AsyncConnection, settled: Sequence[Settled]) -> set[str]:
        now = _now_ms()
        rows = [
            (
                s.lease.tenant_id,
                s.lease.id,
                s.lease.token,
                s.state,
                int(s.counts_as_retry),
                None if s.delay_s is None else now + int(s.delay_s * 1000),
                s.outcome,
                s.response_status,
                s.duration_ms,
                s.reason,
                None if s.state is State.RETRYING else now,
            )
            for s in settled
        ]
        result = await c.exec_driver_sql(_RECORD, {"rows": _json(rows)})
        ours = {row[0] for row in result}
        if kept := [s for s in settled if s.lease.id in ours]:
            await c.exec_driver_sql(
                'INSERT INTO attempt (tenant_id, delivery_id, number, "trigger", started_at,'
                " duration_ms, outcome, response_status, response_body, resolved_address, detail)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_attempt(s) for s in kept],
            )
            await c.exec_driver_sql(_ROLLUP, _rollup(kept, now / 1000))
            await self._update_lanes(c, kept, now)
        return ours

    async def _update_lanes(self, c: AsyncConnection, kept: Sequence[Settled], now: int) -> None:
        news = [n for n in lane_news(kept) if n.failures or n.healed]
        rows = [(n.tenant_id, n.destination_id, int(n.healed), n.failures, n.pause_s) for n in news]
        await c.exec_driver_sql(_LANES, {"rows": _json(rows), "now": now})

    async def release(self, c: AsyncConnection, leases: Sequence[Lease]) -> None:
        rows = [(lease.tenant_id, lease.id, lease.token) for lease in leases]
        await c.exec_driver_sql(
            "UPDATE delivery SET state = iif(attempt_count = 0, 'pending', 'retrying'),"
            " next_attempt_at = ?, lease_until = NULL, lease_token = NULL"
            " FROM json_each(?) j WHERE delivery.tenant_id = j.value ->> 0"
            " AND delivery.id = j.value ->> 1 AND delivery.lease_token = j.value ->> 2",
            (_now_ms(), _json(rows)),
        )

    async def sweep(self, c: AsyncConnection, longest_s: float) -> tuple[int, int]:
        now = _now_ms()
        if now < self._swept_at_ms:
            # The clock was put back, perhaps before we started: what is due at once stays so.
            await c.exec_driver_sql(
                "UPDATE delivery SET next_attempt_at = ?"
                " WHERE state = 'pending' AND next_attempt_at > ?",
                (now, now),
            )
            longest = now + int(longest_s * 1000)
            await c.exec_driver_sql(
                "UPDATE delivery SET lease_until = ?"
                " WHERE state = 'delivering' AND lease_until > ?",
                (longest, longest),
            )
        self._swept_at_ms = now
        expired = await c.exec_driver_sql(
            "UPDATE delivery SET state = iif(attempt_count = 0, 'pending', 'retrying'),"
            " next_attempt_at = ?, lease_until = NULL, lease_token = NULL"
            " WHERE state = 'delivering' AND lease_until < ?",
            (now, now),
        )
        stray = await c.exec_driver_sql(
            "UPDATE delivery SET state = 'cancelled', next_attempt_at = NULL, settled_at = ?,"
            " reason = 'the destination is disabled or deleted'"
            " WHERE state IN ('pending', 'retrying') AND destination_id IN ("
            " SELECT id FROM destination WHERE disabled_at IS NOT NULL OR deleted_at IS NOT NULL)",
            (now,),
        )
        return expired.rowcount, stray.rowcount


def _attempt(s: Settled) -> tuple[Any, ...]:
    return (
        s.lease.tenant_id,
        s.lease.id,
        s.lease.attempt_count + 1,
        s.lease.trigger,
        int(s.started_s * 1000),
        s.duration_ms,
        s.outcome,
        s.response_status,
        s.response_body,
        s.resolved_address,
        s.detail.decode() if s.detail else None,
    )


def _rollup(kept: Sequence[Settled], epoch_s: float) -> list[tuple[Any, ...]]:
    attempts = (
        (s.lease.tenant_id, s.lease.destination_id, s.state.value, s.duration_ms) for s in kept
    )
    return list(count(attempts, epoch_s))
