"""What must be true of deliveries, kept beside the real store and compared after every step."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import update

from app.database import new_id
from app.deliveries.models import WAITING, Delivery, State
from app.deliveries.store import Claim, ClaimRequest, Lease, Settled
from app.events.intake import NewEvent
from tests.chaos.ledger import Record
from tests.world import World

NOWHERE = "http://127.0.0.1:9/hook"
ALL = 100
LAPSE = (
    update(Delivery)
    .where(Delivery.state == State.DELIVERING)
    .values(lease_until=datetime(2020, 1, 1, tzinfo=UTC))
)


class Expected(msgspec.Struct):
    """One delivery as it should be."""

    lane: str
    state: State = State.PENDING
    attempts: int = 0
    holder: str | None = None
    lapsed: bool = False  # its lease has ended: the next sweep takes it back


class Model:
    """Two lanes of one tenant, and everything that was ever owed to them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._type = f"model.n{uuid4().hex[:12]}"
        self._record = Record(world.database, self._type)
        self._lanes: list[str] = []
        self._disabled: set[str] = set()
        self._owed: dict[str, Expected] = {}
        self._granted: list[Lease] = []

    async def open(self) -> None:
        for _ in range(2):
            made = await self._world.make_destination(NOWHERE, event_types=[self._type])
            self._lanes.append(made["id"])

    # what may happen

    async def publish(self, _pick: int) -> None:
        now = datetime.now(UTC)
        event_id = new_id("evt")
        event = NewEvent("acme", event_id, self._type, b'{"data":{}}', None, now)
        (answer,) = await self._world.services.publish([event], by_platform=False, batch=False)
        active = [lane for lane in self._lanes if lane not in self._disabled]
        assert len(active) == answer.deliveries, "an accepted event without its deliveries"
        rows = await self._record.rows(
            "SELECT id, destination_id FROM delivery WHERE event_id = :event", event=event_id
        )
        assert sorted(active) == sorted(row.destination_id for row in rows)
        self._owed |= {row.id: Expected(row.destination_id) for row in rows}

    async def claim(self, pick: int) -> None:
        """A worker takes some, or all that is due."""
        await self._claim(limit=ALL if pick % 3 == 0 else pick % 3, lease_s=60.0)

    async def crash(self, pick: int) -> None:
        """A worker takes some and is never heard of again, until it is."""
        await self._claim(limit=1 + pick % 3, lease_s=0.0)
        await asyncio.sleep(0.002)  # SQLite's clock counts milliseconds

    async def succeed(self, pick: int) -> None:
        await self._settle(pick, State.DELIVERED)

    async def fail(self, pick: int) -> None:
        await self._settle(pick, State.RETRYING)

    async def give_up(self, pick: int) -> None:
        await self._settle(pick, State.FAILED)

    async def give_back(self, pick: int) -> None:
        if not self._granted:
            return
        lease = self._granted[pick % len(self._granted)]
        async with self._world.database.begin() as c:
            await self._world.services.store.release(c, [lease])
        owed = self._owed[lease.id]
        if owed.holder == lease.token:
            self._free(owed)

    async def sweep(self, _pick: int) -> None:
        async with self._world.database.begin() as c:
            await self._world.services.store.sweep(c, 60.0)
        for owed in self._owed.values():
            if owed.lapsed:
                self._free(owed)
            if owed.state in WAITING and owed.lane in self._disabled:
                owed.state = State.CANCELLED

    async def retry(self, pick: int) -> None:
        chosen = self._pick(pick)
        if chosen is None:
            return
        answer = await self._act(chosen, "retry")
        owed = self._owed[chosen]
        allowed = owed.state not in (State.DELIVERING, State.DELIVERED)
        assert (202 if allowed and owed.lane not in self._disabled else 409) == answer
        if answer == 202 and owed.state is not State.PENDING:
            owed.state = State.RETRYING

    async def cancel(self, pick: int) -> None:
        chosen = self._pick(pick)
        if chosen is None:
            return
        answer = await self._act(chosen, "cancel")
        owed = self._owed[chosen]
        assert (owed.state in WAITING) == (answer < 300)
        if owed.state in WAITING:
            owed.state = State.CANCELLED

    async def disable(self, pick: int) -> None:
        lane = self._lanes[pick % 2]
        await self._ask(f"/integrations/destinations/{lane}/disable")
        self._disabled.add(lane)
        for owed in self._owed.values():
            if owed.lane == lane and owed.state in WAITING:
                owed.state = State.CANCELLED

    async def enable(self, pick: int) -> None:
        lane = self._lanes[pick % 2]
        await self._ask(f"/integrations/destinations/{lane}/enable")
        self._disabled.discard(lane)

    # what must hold

    async def check(self) -> None:
        """The database says of every delivery what the model says."""
        rows = await self._record.rows(
            "SELECT id, state, attempt_count, lease_token FROM delivery WHERE event_type = :type"
        )
        real = {row.id: (row.state, row.attempt_count, row.lease_token) for row in rows}
        wanted = {key: (o.state.value, o.attempts, o.holder) for key, o in self._owed.items()}
        assert wanted == real
        numbers: dict[str, list[int]] = {key: [] for key in self._owed}
        for row in await self._record.rows(
            "SELECT a.delivery_id, a.number FROM attempt a JOIN delivery d"
            " ON d.tenant_id = a.tenant_id AND d.id = a.delivery_id"
            " WHERE d.event_type = :type ORDER BY a.number"
        ):
            numbers[row.delivery_id].append(row.number)
        for key, owed in self._owed.items():
            assert list(range(1, owed.attempts + 1)) == numbers[key], "attempts with gaps"

    async def finish(self) -> None:
        """From wherever it is, everything comes to an end: leases lapse, the rest is delivered."""
        for lane in (0, 1):
            await self.enable(lane)
        async with self._world.database.transaction() as session:
            await session.execute(LAPSE)
        for owed in self._owed.values():
            owed.lapsed = owed.holder is not None
        await self.sweep(0)
        await self._claim(limit=ALL, lease_s=60.0)
        for at in range(len(self._granted)):
            await self._settle(at, State.DELIVERED)
        final = {State.DELIVERED, State.FAILED, State.CANCELLED}
        assert final >= {owed.state for owed in self._owed.values()}
        await self.check()

    # how

    async def _claim(self, limit: int, lease_s: float) -> None:
        request = ClaimRequest(
            limit=limit, per_lane=ALL, busy={}, token=uuid4().hex, lease_s=lease_s
        )
        async with self._world.database.begin() as c:
            claim = await self._world.services.store.claim(c, request)
        self._check_claim(claim, limit)
        for lease in claim.leases:
            owed = self._owed[lease.id]
            owed.state, owed.holder, owed.lapsed = State.DELIVERING, lease.token, lease_s == 0.0
        self._granted += claim.leases

    def _check_claim(self, claim: Claim, limit: int) -> None:
        due = {
            key
            for key, owed in self._owed.items()
            if owed.state in WAITING and owed.lane not in self._disabled
        }
        taken = {lease.id for lease in claim.leases}
        assert len(taken) == len(claim.leases) <= limit
        assert taken <= due, "a delivery was leased that was not due, or is held"
        assert limit < ALL or taken == due, "a due delivery was passed over"
        for lease in claim.leases:
            assert self._owed[lease.id].attempts == lease.attempt_count

    async def _settle(self, pick: int, state: State) -> None:
        if not self._granted:
            return
        lease = self._granted[pick % len(self._granted)]
        async with self._world.database.begin() as c:
            ours = await self._world.services.store.record(c, [settled(lease, state)])
        owed = self._owed[lease.id]
        assert ({lease.id} if owed.holder == lease.token else set()) == ours
        if ours:
            owed.state, owed.holder, owed.lapsed = state, None, False
            owed.attempts += 1

    def _free(self, owed: Expected) -> None:
        owed.state = State.RETRYING if owed.attempts else State.PENDING
        owed.holder, owed.lapsed = None, False

    def _pick(self, pick: int) -> str | None:
        keys = list(self._owed)
        return keys[pick % len(keys)] if keys else None

    async def _act(self, delivery_id: str, act: str) -> int:
        path = f"/integrations/deliveries/{delivery_id}/{act}"
        return (await self._world.as_("acme_admin").post(path)).status_code

    async def _ask(self, path: str) -> Any:
        answer = await self._world.as_("acme_admin").post(path)
        assert answer.is_success, answer.text
        return answer


def settled(lease: Lease, state: State) -> Settled:
    """What an attempt of that lease left behind; a retry is due at once."""
    retrying = state is State.RETRYING
    return Settled(
        lease=lease,
        state=state,
        delay_s=0.0 if retrying else None,
        reason=None,
        counts_as_retry=retrying,
        started_s=1_800_000_000.0,
        duration_ms=5,
        outcome="delivered" if state is State.DELIVERED else "http_error",
        response_status=200 if state is State.DELIVERED else 500,
        response_body=None,
        resolved_address=None,
        detail=None,
    )
