"""The hot statements behind one small interface; one implementation per database engine."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from app.deliveries.models import State, Trigger
from app.events.intake import NewEvent


class Owed(msgspec.Struct, frozen=True):
    """A delivery about to be written: this event, to this destination."""

    tenant_id: str
    id: str
    destination_id: str
    event_id: str
    event_type: str
    trigger: Trigger = Trigger.SCHEDULED
    ordered: bool = False


class Lease(msgspec.Struct, frozen=True):
    """A delivery that is ours to attempt until the lease ends; `token` fences a late record."""

    tenant_id: str
    id: str
    destination_id: str
    event_id: str
    event_type: str
    attempt_count: int
    retries_used: int
    trigger: Trigger
    token: str
    wait_s: float = 0.0  # of a paced destination: when to send within the time booked for it
    strict: bool = False  # of a destination with rules of its own
    trace: str | None = None  # the context of its event's publish, if that is traced


def lease_of(row: Any, token: str, wait_s: float = 0.0, *, strict: bool = False) -> Lease:
    """Make a lease of a claimed row: the columns in the order of Lease, `trigger` last."""
    tenant_id, delivery_id, destination_id, event_id, event_type, attempts, retries, trigger = row
    return Lease(
        tenant_id, delivery_id, destination_id, event_id, event_type, attempts, retries,
        Trigger(trigger), token, wait_s, strict,
    )  # fmt: skip


class ClaimRequest(msgspec.Struct, frozen=True, kw_only=True):
    """How much to claim, and for whom not: `busy` counts what is in flight per destination.

    The batch ends with the delivery whose body brings it to `max_bytes`.
    """

    limit: int
    per_lane: int
    busy: Mapping[str, int]
    token: str
    lease_s: float
    max_bytes: int = sys.maxsize
    after_tenant: str = ""
    after: str = ""  # a destination id: the walk over lanes goes on behind it


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What was claimed, and the database's clock, which decides over every worker's own."""

    leases: list[Lease]
    bodies: dict[str, bytes]  # what to send, by event id
    rules_due: bool  # whether a destination with rules of its own has something due
    now_s: float

    @property
    def size(self) -> int:
        """Bytes of the bodies of all leases; a body that several share counts for each."""
        return sum(len(self.bodies.get(lease.event_id, b"")) for lease in self.leases)


class Route(msgspec.Struct, frozen=True):
    """How to reach and sign for a destination; sealed values are opened by the sender."""

    tenant_id: str
    destination_id: str
    endpoint_url: str
    sealed_headers: bytes | None
    sealed_secrets: list[bytes]
    asymmetric: bool = False  # signed with the installation's key pairs too
    trace_context: bool = False  # wants `traceparent`


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that ended, and where it leaves its delivery."""

    lease: Lease
    state: State
    delay_s: float | None
    reason: str | None
    counts_as_retry: bool
    started_s: float
    duration_ms: int
    outcome: str
    response_status: int | None
    response_body: str | None
    resolved_address: str | None
    detail: bytes | None  # JSON
    pause_s: float = 0.0  # how long the receiver wants the whole destination left alone
    disable_reason: str | None = None  # why the receiver wants no more at all


class LaneNews(msgspec.Struct, frozen=True):
    """What a batch taught us of a destination: `healed` if any attempt in it succeeded."""

    tenant_id: str
    destination_id: str
    healed: bool
    failures: int
    pause_s: float = 0.0


def lane_news(batch: Iterable[Settled]) -> list[LaneNews]:
    """Fold a batch into what it says of each destination: failures since the last success."""
    failures: Counter[tuple[str, str]] = Counter()
    healed: set[tuple[str, str]] = set()
    pauses: dict[tuple[str, str], float] = {}
    for s in batch:
        lane = (s.lease.tenant_id, s.lease.destination_id)
        pauses[lane] = max(pauses.get(lane, 0.0), s.pause_s)
        if s.state is State.DELIVERED:
            healed.add(lane)
            failures[lane] = 0
        else:
            failures[lane] += 1
    # In one order in every worker, so that two of them never wait for each other in a ring.
    return [
        LaneNews(*lane, lane in healed, n, pauses[lane]) for lane, n in sorted(failures.items())
    ]


class Store(Protocol):
    """Every method is a fixed number of statements, however many rows it is given."""

    async def insert_events(
        self, c: AsyncConnection, events: Sequence[NewEvent], counts: Sequence[int]
    ) -> None:
        """Write events, each with the number of its deliveries."""
        ...

    async def take_keys(
        self, c: AsyncConnection, events: Sequence[NewEvent]
    ) -> set[tuple[str, str]]:
        """Reserve idempotency keys; return the (tenant, key) pairs that were free."""
        ...

    async def insert_deliveries(self, c: AsyncConnection, owed: Sequence[Owed]) -> None:
        """Write what is owed, due at once."""
        ...

    async def claim(self, c: AsyncConnection, request: ClaimRequest) -> Claim:
        """Lease a fair batch of due deliveries: a few per destination, never the global head."""
        ...

    async def bodies(self, c: AsyncConnection, leases: Sequence[Lease]) -> dict[str, bytes]:
        """Return the bytes to send, by event id."""
        ...

    async def routes(self, c: AsyncConnection, leases: Sequence[Lease]) -> dict[str, Route]:
        """Return how to reach each destination of the batch, by its id."""
        ...

    async def record(self, c: AsyncConnection, settled: Sequence[Settled]) -> set[str]:
        """Write states, attempts, counts and what was learnt of each destination.

        Returns the delivery ids whose lease was still ours; nothing is written of the others.
        """
        ...

    async def release(self, c: AsyncConnection, leases: Sequence[Lease]) -> None:
        """Give back what was claimed but not tried, due at once."""
        ...

    async def sweep(self, c: AsyncConnection, longest_s: float) -> tuple[int, int]:
        """Return expired leases to the queue and cancel what is owed to a destination that is gone.

        No lease is longer than `longest_s`: one that is was taken before the clock was put back.
        Returns (leases returned, deliveries cancelled).
        """
        ...


def routes_of(rows: Iterable[Any]) -> dict[str, Route]:
    """Fold (destination, secret) rows into one route per destination, newest secret first."""
    routes: dict[str, Route] = {}
    for tenant_id, destination_id, url, headers, asymmetric, traced, sealed in rows:
        route = routes.get(destination_id)
        if route is None:
            route = Route(
                tenant_id, destination_id, url, headers, [], bool(asymmetric), bool(traced)
            )
            routes[destination_id] = route
        if sealed is not None:
            route.sealed_secrets.append(sealed)
    return routes


#: Whether a destination with rules of its own has something due: every claim asks.
RULES_DUE = """
EXISTS (SELECT 1 FROM destination s
          JOIN lane l ON l.tenant_id = s.tenant_id AND l.destination_id = s.id
         WHERE (s.ordered OR s.rate_limit_per_second IS NOT NULL)
           AND s.disabled_at IS NULL AND s.deleted_at IS NULL
           AND EXISTS (SELECT 1 FROM delivery d
                        WHERE d.tenant_id = s.tenant_id AND d.destination_id = s.id
                          AND d.state IN ('pending', 'retrying') AND d.next_attempt_at <= now()))
"""
#: A claim visits at most so many destinations that have something due.
LANES_PER_CLAIM = 64
#: After so many failures in a row the lane opens its breaker: nothing but a probe is sent.
BREAKER_THRESHOLD = 20
#: How long the breaker stays open, doubling with each failed probe, in seconds.
BREAKER_FIRST_S = 15
BREAKER_MAX_S = 300


def store_for(dialect: str) -> Store:
    if dialect == "sqlite":
        from app.deliveries.store_sqlite import SqliteStore

        return SqliteStore()
    from app.deliveries.store_postgres import PostgresStore

    return PostgresStore()
