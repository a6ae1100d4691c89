"""What a worker tells of its attempts: counted, traced and logged a batch at a time."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.deliveries.models import State
from app.deliveries.store import Lease, Settled
from app.observability import metrics
from app.observability.tracing import Parent, Tracing, child_of

log = structlog.get_logger(__name__)


_POSTGRES: Final = """
SELECT id, trace_context FROM event
 WHERE tenant_id = ANY(%(tenants)s) AND id = ANY(%(events)s) AND trace_context IS NOT NULL
"""
_SQLITE: Final = """
SELECT e.id, e.trace_context FROM json_each(?) t CROSS JOIN json_each(?) j
  JOIN event e ON e.tenant_id = t.value AND e.id = j.value
 WHERE e.trace_context IS NOT NULL
"""


class Traces:
    """The traces of deliveries: found when they are claimed, told when they have ended."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def follow(self, c: AsyncConnection, leases: Sequence[Lease]) -> list[Lease]:
        """Return the leases, each with the trace of its event if that has one; one statement."""
        found = await _stored(c, leases)
        return [
            msgspec.structs.replace(lease, trace=found[lease.event_id])
            if lease.event_id in found
            else lease
            for lease in leases
        ]

    def ended(self, settled: Sequence[Settled]) -> None:
        for s in settled:
            parent = Parent.parse(s.lease.trace) if s.lease.trace else None
            if parent is None or not parent.sampled:
                continue
            self._tracing.attempt(
                parent,
                _context(parent, s.lease),
                started_s=s.started_s,
                duration_ms=s.duration_ms,
                fault=None if s.state is State.DELIVERED else s.outcome,
                attributes=_facts(s),
            )


async def _stored(c: AsyncConnection, leases: Sequence[Lease]) -> dict[str, str]:
    """Return the contexts by event id; the set travels as the stores send theirs."""
    tenants = list({lease.tenant_id for lease in leases})
    events = list({lease.event_id for lease in leases})
    if c.dialect.name == "sqlite":
        rows = await c.exec_driver_sql(_SQLITE, tuple(map(_json, (tenants, events))))
    else:
        rows = await c.exec_driver_sql(_POSTGRES, {"tenants": tenants, "events": events})
    return {row[0]: row[1] for row in rows}


def _json(value: list[str]) -> str:
    return msgspec.json.encode(value).decode()


def _context(parent: Parent, lease: Lease) -> Parent:
    return child_of(parent, f"{lease.id}:{lease.attempt_count + 1}")


def traceparent(lease: Lease) -> str | None:
    """Return the header that makes the receiver's spans children of this attempt's."""
    parent = Parent.parse(lease.trace) if lease.trace else None
    return str(_context(parent, lease)) if parent else None


def _facts(s: Settled) -> dict[str, str | int]:
    facts: dict[str, str | int] = {
        "oneprotect.tenant_id": s.lease.tenant_id,
        "oneprotect.destination_id": s.lease.destination_id,
        "oneprotect.event_id": s.lease.event_id,
        "oneprotect.delivery_id": s.lease.id,
        "oneprotect.attempt": s.lease.attempt_count + 1,
        "oneprotect.outcome": s.outcome,
        "oneprotect.state": s.state.value,
        "http.request.method": "POST",
    }
    if s.response_status is not None:
        facts["http.response.status_code"] = s.response_status
    return facts


class Telemetry:
    """Told of every batch that was recorded; the cost is per batch wherever that can be."""

    def __init__(self, *, counts: bool, traces: Traces | None, wide: bool) -> None:
        self._counts = counts
        self._traces = traces
        self._wide = wide
        self._since: Counter[str] = Counter()

    def recorded(self, settled: Sequence[Settled]) -> None:
        self._since.update([s.outcome for s in settled])
        if self._counts:
            metrics.attempts.add([(s.outcome, s.duration_ms) for s in settled])
        if self._traces:
            self._traces.ended(settled)
        if self._wide:
            for s in settled:
                _log(s)

    def summarise(self) -> None:
        """Log what was attempted since the last call, in one line; nothing if nothing was."""
        if not self._since:
            return
        outcomes, self._since = self._since, Counter()
        log.info("attempts.recorded", attempts=outcomes.total(), outcomes=dict(outcomes))


def _log(s: Settled) -> None:
    """Log one attempt with its ids: no address, no header, no byte of either body."""
    log.debug(
        "attempt.recorded",
        tenant_id=s.lease.tenant_id,
        destination_id=s.lease.destination_id,
        event_id=s.lease.event_id,
        event_type=s.lease.event_type,
        delivery_id=s.lease.id,
        attempt=s.lease.attempt_count + 1,
        trigger=s.lease.trigger.value,
        outcome=s.outcome,
        status=s.response_status,
        duration_ms=s.duration_ms,
        state=s.state.value,
        retry_in_s=None if s.delay_s is None else round(s.delay_s, 1),
        trace=s.lease.trace,
    )
