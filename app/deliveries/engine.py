"""The engine of a worker: claim due deliveries, send them, record what came of it.

Three loops share one pipeline. The claimer leases fair batches, one ahead of what is in flight; a
task per delivery signs and sends; the recorder writes whatever has ended. No transaction is open
and no connection held while we talk to the outside, and a slow receiver holds up nobody's record.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from app import __version__
from app.crypto import Keyring
from app.database import Database
from app.deliveries import strict
from app.deliveries.claiming import Found, found
from app.deliveries.pacing import HORIZON
from app.deliveries.recorder import Backoff, OnSettled, Recorder
from app.deliveries.roads import UNSIGNABLE, Road, Roads
from app.deliveries.settling import settle
from app.deliveries.slots import AHEAD, AHEAD_BYTES, Slots
from app.deliveries.store import (
    LANES_PER_CLAIM,
    Claim,
    ClaimRequest,
    Lease,
    Settled,
    store_for,
)
from app.deliveries.telemetry import Traces, traceparent
from app.observability import metrics
from app.sending.echo import without_echo
from app.sending.outcome import Outcome
from app.sending.signing import delivery_headers, signature
from app.sending.transcript import user_agent
from app.sending.transport import Sender
from app.settings import Settings

log = structlog.get_logger(__name__)

USER_AGENT: Final = user_agent(__version__)
#: A lease outlives the longest attempt by this much: time to wait for a slot, and to record.
LEASE_MARGIN_S: Final = 15.0
#: An attempt starts only if its lease then still has this much beyond the longest attempt.
START_MARGIN_S: Final = 3.0
#: Nothing is claimed while more than this waits to be recorded, as a multiple of what may be in
#: flight: a record takes as long as that many quick sends.
UNRECORDED: Final = 5
#: Without any wake-up, what is due is found after this long.
POLL_S: Final = 1.0
SWEEP_EVERY_S: Final = 1.0
#: A worker told to stop is gone after this long, even when receivers dawdle.
SHUTDOWN_GRACE_S: Final = 8.0


class Ready(msgspec.Struct, frozen=True, eq=False):
    """A lease with everything needed to send it; it must start before `latest`."""

    lease: Lease
    road: Road
    body: bytes
    latest: float

    @property
    def destination_id(self) -> str:
        return self.lease.destination_id

    @property
    def size(self) -> int:
        return len(self.body)


class Engine:
    """Delivers until stopped. One per worker process; any number may share a database."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        keyring: Keyring,
        settings: Settings,
        on_settled: OnSettled,
        traces: Traces | None = None,
    ) -> None:
        self._database = database
        self._store = store_for(database.dialect)
        self._sender = sender
        self._roads = Roads(database, keyring)
        self._settings = settings
        self._slots: Slots[Ready] = Slots(
            overall=settings.max_in_flight, each=settings.max_in_flight_per_destination
        )
        self._recorder = Recorder(database, self._store, self._after_record)
        self._recorder.is_idle = lambda: not self._slots.in_flight
        self._on_settled = on_settled
        self._traces = traces
        self._look = asyncio.Event()
        self._room_at = -1  # look again when no more than this is held
        self._stopping = False
        self._tasks: dict[asyncio.Task[None], Ready] = {}
        self._booked: dict[Ready, asyncio.TimerHandle] = {}
        self._after = ("", "")
        self._clock_offset_s = 0.0

    @property
    def in_flight(self) -> int:
        return self._slots.in_flight

    @property
    def _lease_s(self) -> float:
        return self._settings.delivery_timeout + LEASE_MARGIN_S

    def wake(self) -> None:
        """Something may be due: look now. Calling it once too often costs one cheap claim."""
        self._look.set()

    async def run(self) -> None:
        """Deliver until `stop` is called; then finish what is in flight and record it."""
        async with asyncio.TaskGroup() as group:
            recorder = group.create_task(self._recorder.run())
            sweeper = group.create_task(self._sweep_forever())
            await self._claim_forever()
            await self._drain()
            sweeper.cancel()
            recorder.cancel()
        await self._recorder.flush()

    def stop(self) -> None:
        """Claim nothing more; `run` returns when all in flight has ended or the grace is over."""
        self._stopping = True
        self._look.set()

    # claim

    async def _claim_forever(self) -> None:
        backoff = Backoff()
        while not self._stopping:
            self._look.clear()
            if not self._has_room():
                self._room_at = (AHEAD - 2) * self._settings.max_in_flight
                await self._look.wait()
                continue
            try:
                claimed = await self._claim()
            except (SQLAlchemyError, OSError) as fault:
                await backoff.wait("claim", fault)
                continue
            backoff.reset()
            if claimed is not Found.MORE:
                # What is left may be due to destinations that have their share: claim for them
                # again when a third of what we hold is done, not at every slot that frees.
                self._room_at = 2 * self._slots.held // 3 if claimed is Found.CAPPED else -1
                await _wait(self._look, POLL_S)

    def _has_room(self) -> bool:
        if self._recorder.is_stuck:  # one at a time, to see whether the database takes it
            return not self._slots.held and not self._recorder.backlog
        if self._recorder.backlog >= UNRECORDED * self._settings.max_in_flight:
            return False  # the database is slow or away: what is sent must be recorded first
        if self._slots.held_bytes > AHEAD_BYTES // 2:
            return False  # large bodies: a claim now would bring few
        # Claim in gulps: a statement per freed slot would be all overhead.
        return not self._slots.held or self._slots.free >= 2 * self._settings.max_in_flight

    async def _claim(self) -> Found:
        """Lease a batch and start what may start; say whether another claim would find more."""
        request = ClaimRequest(
            limit=1 if self._recorder.is_stuck else self._slots.free,
            max_bytes=AHEAD_BYTES - self._slots.held_bytes,
            per_lane=self._slots.per_lane,
            busy=self._busy(),
            token=uuid4().hex,
            lease_s=self._lease_s,
            after_tenant=self._after[0],
            after=self._after[1],
        )
        latest = time.monotonic() + LEASE_MARGIN_S - START_MARGIN_S
        claim = await self._lease(request)
        leases, bodies = claim.leases, claim.bodies
        if not leases:
            # The walk reached the end of the lanes: go round once more before resting.
            at_start, self._after = self._after == ("", ""), ("", "")
            return found(request, claim) if at_start else await self._claim()
        self._clock_offset_s = claim.now_s - time.time()
        lanes = {(lease.tenant_id, lease.destination_id) for lease in leases}
        # A claim that met fewer lanes than it may has seen them all: the next starts afresh.
        self._after = max(lanes) if len(lanes) >= LANES_PER_CLAIM else ("", "")
        async with self._database.hot() as c:
            routes = await self._store.routes(c, leases)
            if self._traces:
                leases = await self._traces.follow(c, leases)
        roads = await self._roads.open(routes)
        for lease in leases:
            body = bodies.get(lease.event_id)
            if body is None or lease.destination_id not in roads:
                continue  # there is nothing to send, or nowhere: the lease runs out
            if road := roads[lease.destination_id]:
                self._admit(Ready(lease, road, body, latest + lease.wait_s))
            else:
                self._recorder.add(self._settle(lease, UNSIGNABLE, claim.now_s))
        self._start_waiting()
        return found(request, claim)

    async def _lease(self, request: ClaimRequest) -> Claim:
        async with self._database.hot() as c:
            claim = await self._store.claim(c, request)
        if not claim.rules_due:
            return claim
        async with self._database.begin() as c:  # their lanes stay locked while we choose
            leases = await strict.claim_strict(c, request)
            bodies = await self._store.bodies(c, leases) if leases else {}
        return msgspec.structs.replace(
            claim, leases=claim.leases + leases, bodies=claim.bodies | bodies
        )

    def _admit(self, ready: Ready) -> None:
        """Take a lease in, at once or at the time that is booked for it."""
        if not ready.lease.wait_s:
            self._slots.add([ready])
            return
        loop = asyncio.get_running_loop()
        self._booked[ready] = loop.call_later(ready.lease.wait_s, self._admit_booked, ready)

    def _admit_booked(self, ready: Ready) -> None:
        del self._booked[ready]
        self._slots.add([ready])
        self._start_waiting()

    def _start_waiting(self) -> None:
        for ready in self._slots.start():
            self._start(ready)

    def _busy(self) -> Counter[str]:
        """Count what is in our hands per destination."""
        return self._slots.busy() + Counter(ready.destination_id for ready in self._booked)

    # send

    def _start(self, ready: Ready) -> None:
        # A task for each: one that went on with the next at once would take turns with the
        # receiver, where a loop that reads all answers and then sends all costs a fifth less.
        task = asyncio.create_task(self._attempt(ready))
        self._tasks[task] = ready
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        done = self._tasks.pop(task)
        if not task.cancelled() and (bug := task.exception()):
            log.error("attempt.crashed", delivery_id=done.lease.id, exc_info=bug)
        if ready := self._slots.finish(done):
            self._start(ready)
        self._tell_of_room()

    def _tell_of_room(self) -> None:
        if self._slots.held <= self._room_at and self._has_room():
            self._room_at = -1
            self._look.set()

    async def _attempt(self, ready: Ready) -> None:
        if self._stopping or time.monotonic() > ready.latest:
            # Too late to end within the lease: give it back rather than risk a second copy, and
            # with it what waits behind it, in one statement.
            behind = self._slots.withdraw(ready.destination_id)
            await self._give_back([late.lease for late in (ready, *behind)])
            return
        started_s = time.time() + self._clock_offset_s
        outcome = await self._send(ready, int(started_s))
        self._recorder.add(self._settle(ready.lease, outcome, started_s, ready.road.sent))

    async def _send(self, ready: Ready, timestamp: int) -> Outcome:
        lease, road, body = ready.lease, ready.road, ready.body
        headers = delivery_headers(
            message_id=lease.event_id,
            event_type=lease.event_type,
            attempt=lease.attempt_count + 1,
            timestamp=timestamp,
            signature=signature(road.secrets, lease.event_id, timestamp, body, road.keys),
            user_agent=USER_AGENT,
            extra=road.headers,
        )
        if lease.trace and road.trace_context and (context := traceparent(lease)):
            headers.append(("traceparent", context))
        outcome = await self._sender.send(road.url, headers, body)
        return without_echo(outcome, road.headers.values())

    def _settle(
        self, lease: Lease, outcome: Outcome, started_s: float, sent: msgspec.Raw | None = None
    ) -> Settled:
        chance = random.random()  # noqa: S311  # jitter, not a secret
        schedule = self._settings.retry_schedule
        return settle(lease, outcome, started_s, schedule=schedule, chance=chance, sent=sent)

    async def _after_record(self, settled: Sequence[Settled]) -> None:
        self._tell_of_room()
        # Be there when the first of these is due again; the poll is for what others recorded.
        soonest = min((s.delay_s for s in settled if s.delay_s is not None), default=None)
        if any(s.lease.strict for s in settled):
            self.wake()  # the next in line
        if soonest is not None:
            asyncio.get_running_loop().call_later(soonest + 0.001, self.wake)
        await self._on_settled(settled)

    # upkeep

    async def _sweep_forever(self) -> None:
        backoff = Backoff()
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
        if self._recorder.is_stuck and self._recorder.backlog:
            return  # what we sent and could not record would be handed on, and sent again
        async with self._database.begin() as c:
            expired, cancelled = await self._store.sweep(c, self._lease_s + HORIZON.total_seconds())
        if expired:
            metrics.lease_expiries.inc(expired)
            log.warning("lease.expired", deliveries=expired)
            self.wake()
        if cancelled:
            log.info("delivery.stray_cancelled", deliveries=cancelled)

    async def _drain(self) -> None:
        """Let what is in flight end; give back what waits, and what takes too long."""
        for booked in self._booked.values():
            booked.cancel()
        waiting = [*self._slots.drain(), *self._booked]
        self._booked.clear()
        await self._give_back([ready.lease for ready in waiting])
        if not self._tasks:
            return
        grace_s = min(self._settings.delivery_timeout + 1, SHUTDOWN_GRACE_S)
        _, late = await asyncio.wait(self._tasks, timeout=grace_s)
        leases = [self._tasks[task].lease for task in late]
        for task in late:
            task.cancel()
        if leases:
            await asyncio.wait(late)
            await self._give_back(leases)

    async def _give_back(self, leases: list[Lease]) -> None:
        if not leases:
            return
        try:
            async with self._database.begin() as c:
                await self._store.release(c, leases)
            log.info("lease.given_back", deliveries=len(leases))
        except (SQLAlchemyError, OSError) as fault:
            log.warning("lease.kept", deliveries=len(leases), fault=type(fault).__name__)


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
