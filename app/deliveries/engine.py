"""The engine of a worker: claim due deliveries, send them, record what came of it.

Three loops share one pipeline. The claimer leases a fair batch whenever there is room; a task per
delivery signs and sends it; the recorder writes whatever has ended since its last transaction.
No transaction is open and no connection held while we talk to the outside, and a slow receiver
holds up nobody's record.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import uuid4

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from app import __version__
from app.crypto import Keyring, UndecryptableError
from app.database import Database
from app.deliveries.models import State, Trigger
from app.deliveries.retry import plan
from app.deliveries.rollup import count
from app.deliveries.store import ClaimRequest, LaneNews, Lease, Route, Settled, store_for
from app.destinations.models import secret_context
from app.sending.outcome import Outcome
from app.sending.signing import Secret, delivery_headers, signature
from app.sending.transport import Sender
from app.settings import Settings

log = structlog.get_logger(__name__)

USER_AGENT: Final = f"OneProtect-Webhooks/{__version__}"
#: A lease outlives the longest attempt by this much: time to record it.
LEASE_MARGIN_S: Final = 15.0
#: Without any wake-up, what is due is found after this long.
POLL_S: Final = 1.0
SWEEP_EVERY_S: Final = 1.0
#: A batch is recorded when this much has ended, or this long after the first did.
RECORD_BATCH: Final = 200
RECORD_LINGER_S: Final = 0.004
#: How long to wait after the database refused us, doubling up to the last.
DATABASE_BACKOFF_S: Final = (0.1, 5.0)

OnSettled = Callable[[Sequence[Settled]], Awaitable[None]]


class Engine:
    """Delivers until stopped. One per worker process; any number may share a database."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        keyring: Keyring,
        settings: Settings,
        on_settled: OnSettled,
    ) -> None:
        self._database = database
        self._store = store_for(database.dialect)
        self._sender = sender
        self._keyring = keyring
        self._settings = settings
        self._on_settled = on_settled
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = asyncio.Event()
        self._stopping = False
        self._sending: dict[asyncio.Task[None], Lease] = {}
        self._busy: Counter[str] = Counter()
        self._settled: list[Settled] = []
        self._after = ("", "")
        self._clock_offset_s = 0.0

    @property
    def in_flight(self) -> int:
        return len(self._sending)

    def wake(self) -> None:
        """Something may be due: look now. Calling it once too often costs one cheap claim."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until `stop` is called; then finish what is in flight and record it."""
        async with asyncio.TaskGroup() as group:
            recorder = group.create_task(self._record_forever())
            sweeper = group.create_task(self._sweep_forever())
            await self._claim_forever()
            await self._drain()
            sweeper.cancel()
            recorder.cancel()
        await self._record()

    def stop(self) -> None:
        """Claim nothing more; `run` returns when all in flight has ended or the grace is over."""
        self._stopping = True
        self._wake.set()
        self._room.set()

    # claim

    async def _claim_forever(self) -> None:
        backoff = _Backoff()
        while not self._stopping:
            self._wake.clear()
            try:
                claimed = await self._claim() if self._has_room() else None
            except (SQLAlchemyError, OSError) as fault:
                await backoff.wait("claim", fault)
                continue
            backoff.reset()
            if claimed is None:
                self._room.clear()
                await self._room.wait()
            elif not claimed:
                await _wait(self._wake, POLL_S)

    def _has_room(self) -> bool:
        # Claim in gulps: a statement per freed slot would be all overhead.
        free = self._free()
        return free > 0 and (free >= self._settings.max_in_flight // 4 or not self._sending)

    def _free(self) -> int:
        waiting = max(0, len(self._settled) - self._settings.max_in_flight)
        return self._settings.max_in_flight - len(self._sending) - waiting

    async def _claim(self) -> int:
        """Lease a batch and start sending it; return how many."""
        request = ClaimRequest(
            limit=self._free(),
            per_lane=self._settings.max_in_flight_per_destination,
            busy=self._busy,
            token=uuid4().hex,
            lease_s=self._settings.delivery_timeout + LEASE_MARGIN_S,
            after_tenant=self._after[0],
            after=self._after[1],
        )
        async with self._database.begin() as c:
            claim = await self._store.claim(c, request)
            if claim.leases:
                bodies = await self._store.bodies(c, claim.leases)
                routes = await self._store.routes(c, claim.leases)
        if not claim.leases:
            # The walk reached the end of the lanes: go round once more before resting.
            at_start, self._after = self._after == ("", ""), ("", "")
            return 0 if at_start else await self._claim()
        if claim.now_s is not None:
            self._clock_offset_s = claim.now_s - time.time()
        last = max(claim.leases, key=lambda lease: (lease.tenant_id, lease.destination_id))
        self._after = (last.tenant_id, last.destination_id)
        self._start(claim.leases, bodies, routes)
        return len(claim.leases)

    def _start(
        self, leases: list[Lease], bodies: dict[str, bytes], routes: dict[str, Route]
    ) -> None:
        opened = {key: self._open(route) for key, route in routes.items()}
        for lease in leases:
            road, body = opened[lease.destination_id], bodies.get(lease.event_id)
            if road is None or body is None:
                continue  # no attempt: it was logged, and the lease runs out
            task = asyncio.create_task(self._attempt(lease, road, body))
            self._sending[task] = lease
            self._busy[lease.destination_id] += 1
            task.add_done_callback(self._release_slot)

    def _open(self, route: Route) -> "Road | None":
        """Unseal a route for one batch; None when none of our keys opens it."""
        context = secret_context(route.tenant_id, route.destination_id)
        headers: dict[str, str] = {}
        try:
            secrets = [Secret(self._keyring.open(s, context)) for s in route.sealed_secrets]
            if route.sealed_headers:
                bound_to = f"headers:{route.tenant_id}:{route.destination_id}"
                plain = self._keyring.open(route.sealed_headers, bound_to)
                headers = msgspec.json.decode(plain, type=dict[str, str])
        except UndecryptableError:
            log.exception("secret.undecryptable", destination_id=route.destination_id)
            return None
        if not secrets:  # nothing is ever sent unsigned
            log.error("secret.missing", destination_id=route.destination_id)
            return None
        return Road(route.endpoint_url, headers, secrets)

    def _release_slot(self, task: asyncio.Task[None]) -> None:
        lease = self._sending.pop(task)
        if not task.cancelled() and (bug := task.exception()):
            log.error("attempt.crashed", delivery_id=lease.id, exc_info=bug)
        self._busy[lease.destination_id] -= 1
        if not self._busy[lease.destination_id]:
            del self._busy[lease.destination_id]
        if self._has_room():
            self._room.set()

    # send

    async def _attempt(self, lease: Lease, road: "Road", body: bytes) -> None:
        started_s = time.time() + self._clock_offset_s
        outcome = await self._send(lease, road, body, int(started_s))
        self._settled.append(self._settle(lease, outcome, started_s))
        self._ended.set()

    async def _send(self, lease: Lease, road: "Road", body: bytes, timestamp: int) -> Outcome:
        headers = delivery_headers(
            message_id=lease.event_id,
            event_type=lease.event_type,
            attempt=lease.attempt_count + 1,
            timestamp=timestamp,
            signature=signature(road.secrets, lease.event_id, timestamp, body),
            user_agent=USER_AGENT,
            extra=road.headers,
        )
        return await self._sender.send(road.url, headers, body)

    def _settle(self, lease: Lease, outcome: Outcome, started_s: float) -> Settled:
        """Decide where the attempt leaves its delivery: the only place where an attempt ends."""
        follows = plan(
            outcome,
            retries_used=lease.retries_used,
            schedule=self._settings.retry_schedule,
            chance=random.random(),  # noqa: S311  # jitter, not a secret
        )
        detail = {"headers": outcome.response_headers, "timing": outcome.timing}
        return Settled(
            lease=lease,
            state=follows.state,
            delay_s=follows.delay_s,
            reason=follows.reason,
            counts_as_retry=follows.state is State.RETRYING and lease.trigger is not Trigger.MANUAL,
            started_s=started_s,
            duration_ms=outcome.duration_ms,
            outcome=outcome.kind.value,
            response_status=outcome.response_status,
            response_body=outcome.response_body or None,
            resolved_address=outcome.resolved_address,
            detail=msgspec.json.encode(detail) if any(detail.values()) else None,
        )

    # record

    async def _record_forever(self) -> None:
        while True:
            await self._ended.wait()
            if len(self._settled) < RECORD_BATCH and self._sending:
                await asyncio.sleep(RECORD_LINGER_S)
            self._ended.clear()
            # A record that has begun is never torn by the stop.
            await asyncio.shield(asyncio.ensure_future(self._record()))

    async def _record(self) -> None:
        """Write all that has ended, in one transaction; try until the database takes it."""
        backoff = _Backoff()
        while batch := self._settled[: 2 * RECORD_BATCH]:
            try:
                ours = await self._write(batch)
            except (SQLAlchemyError, OSError) as fault:
                await backoff.wait("record", fault)
                continue
            backoff.reset()
            del self._settled[: len(batch)]
            if self._has_room():
                self._room.set()
            self._wake_for_retries(batch)
            await self._on_settled([s for s in batch if s.lease.id in ours])

    def _wake_for_retries(self, batch: list[Settled]) -> None:
        """Be there when the first of these is due again; the poll is for what others recorded."""
        soonest = min((s.delay_s for s in batch if s.delay_s is not None), default=None)
        if soonest is not None:
            asyncio.get_running_loop().call_later(soonest + 0.001, self.wake)

    async def _write(self, batch: list[Settled]) -> set[str]:
        async with self._database.begin() as c:
            ours = await self._store.record(c, batch)
            kept = [s for s in batch if s.lease.id in ours]
            if kept:
                await self._store.add_rollups(c, _rollups(kept))
                await self._store.update_lanes(c, lane_news(kept))
        for late in (s for s in batch if s.lease.id not in ours):
            log.warning("attempt.fenced", delivery_id=late.lease.id, outcome=late.outcome)
        return ours

    # upkeep

    async def _sweep_forever(self) -> None:
        backoff = _Backoff()
        while True:
            try:
                await self.sweep()
            except (SQLAlchemyError, OSError) as fault:
                await backoff.wait("sweep", fault)
                continue
            backoff.reset()
            await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep(self) -> None:
        """Take back the deliveries of workers that died, and cancel what nobody wants any more."""
        async with self._database.begin() as c:
            expired, cancelled = await self._store.sweep(c)
        if expired:
            log.warning("lease.expired", deliveries=expired)
            self.wake()
        if cancelled:
            log.info("delivery.stray_cancelled", deliveries=cancelled)

    async def _drain(self) -> None:
        """Let what is in flight end; what takes too long is cancelled and given back."""
        if not self._sending:
            return
        _, late = await asyncio.wait(self._sending, timeout=self._grace_s())
        leases = [self._sending[task] for task in late]
        for task in late:
            task.cancel()
        if leases:
            await asyncio.wait(late)
            async with self._database.begin() as c:
                await self._store.release(c, leases)
            log.warning("attempt.given_back", deliveries=len(leases))

    def _grace_s(self) -> float:
        return min(self._settings.delivery_timeout + 1, SHUTDOWN_GRACE_S)


#: A worker told to stop is gone after this long, even when receivers dawdle.
SHUTDOWN_GRACE_S: Final = 8.0


class Road(msgspec.Struct, frozen=True):
    """An opened route: it lives in memory for one batch."""

    url: str
    headers: dict[str, str]
    secrets: list[Secret]


class _Backoff:
    """Patience with a database that is away: no hot loop, and one log line per wait."""

    def __init__(self) -> None:
        self._wait_s = DATABASE_BACKOFF_S[0]

    async def wait(self, doing: str, fault: Exception) -> None:
        log.warning("database.away", doing=doing, fault=type(fault).__name__, wait_s=self._wait_s)
        await asyncio.sleep(self._wait_s)
        self._wait_s = min(self._wait_s * 2, DATABASE_BACKOFF_S[1])

    def reset(self) -> None:
        self._wait_s = DATABASE_BACKOFF_S[0]


def _rollups(batch: list[Settled]) -> list[tuple[str, str, int, int, str, int, int]]:
    attempts = (
        (s.lease.tenant_id, s.lease.destination_id, s.state.value, s.duration_ms) for s in batch
    )
    return count(attempts, batch[-1].started_s)


def lane_news(batch: Sequence[Settled]) -> list[LaneNews]:
    """Fold a batch into what it says of each destination: failures since the last success."""
    failures: Counter[tuple[str, str]] = Counter()
    healed: set[tuple[str, str]] = set()
    for s in batch:
        lane = (s.lease.tenant_id, s.lease.destination_id)
        if s.state is State.DELIVERED:
            healed.add(lane)
            failures[lane] = 0
        else:
            failures[lane] += 1
    return [LaneNews(*lane, lane in healed, n) for lane, n in sorted(failures.items())]


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
