"""Publishers that note what they were told, and the reckoning: accepted, arrived, on record."""

import asyncio
import contextlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, Self
from uuid import uuid4

import httpx
import msgspec
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.database import Database
from tests.behaviours import Received
from tests.chaos.pace import crowding
from tests.world import TOKENS

PATIENCE_S = 12.0
AGAIN_S = 0.05


class Load:
    """Publishers that ask again with the same id until they are answered 2xx, as they should."""

    def __init__(
        self, client: httpx.AsyncClient, event_type: str, *, publishers: int, gap_s: float
    ) -> None:
        self._client = client
        self._type = event_type
        self._publishers = publishers
        self._gap_s = gap_s
        self._numbers = itertools.count()
        self._name = uuid4().hex[:8]
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Condition()
        self.accepted: dict[str, str] = {}  # our id for it -> the event's id, answered 2xx
        self.unanswered: set[str] = set()  # asked, and the answer never came or was a refusal
        self.refusals = 0  # answers 503

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._publish()) for _ in range(self._publishers)]
        return self

    async def __aexit__(self, fault: type[BaseException] | None, *_more: object) -> None:
        """No new events; those that were asked for are asked for until answered."""
        self._over = True
        if fault:
            await self.abandon()
        async with asyncio.timeout(30):
            await asyncio.gather(*self._tasks)

    async def reached(self, count: int) -> None:
        """Wait until so many more events were accepted."""
        wanted = len(self.accepted) + count
        await self._until(lambda: len(self.accepted) >= wanted)

    async def refused(self, count: int) -> None:
        """Wait until so many more requests were answered 503."""
        wanted = self.refusals + count
        await self._until(lambda: self.refusals >= wanted)

    async def abandon(self) -> None:
        """The publishers die too: what is unanswered stays so."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(holds)

    async def _publish(self) -> None:
        while not self._over:
            key = f"{self._name}-{next(self._numbers)}"
            self.unanswered.add(key)
            answered = False
            while not answered:
                answered = await self.ask(key)
                async with self._news:
                    self._news.notify_all()
                await asyncio.sleep(self._gap_s if answered else AGAIN_S)

    async def ask(self, key: str) -> bool:
        """Publish once; True when it was accepted."""
        body = {"type": self._type, "data": {"key": key}, "id": key}
        try:
            answer = await self._client.post("/api/v1/events", json=body)
        except httpx.TransportError:
            return False
        if answer.status_code not in {200, 202}:
            assert 503 == answer.status_code, answer.text
            assert "application/problem+json" == answer.headers["Content-Type"]
            assert "Nothing was kept" in answer.json()["detail"]
            self.refusals += 1
            return False
        assert 1 == answer.json()["deliveries"]
        self.accepted[key] = answer.json()["id"]
        self.unanswered.discard(key)
        return True

    async def ask_many(self, count: int) -> None:
        """Publish one batch."""
        keys = [f"{self._name}-{next(self._numbers)}" for _ in range(count)]
        events = [{"type": self._type, "data": {"key": key}, "id": key} for key in keys]
        answer = await self._client.post("/api/v1/events/batch", json={"events": events})
        assert 202 == answer.status_code, answer.text
        ids = [result["id"] for result in answer.json()["items"]]
        self.accepted |= dict(zip(keys, ids, strict=True))


class OnRecord(msgspec.Struct):
    """What the database says of one event: its deliveries' rows, and their attempts."""

    id: str
    key: str
    promised: int
    deliveries: list[Any]
    attempts: dict[str, list[tuple[int, str]]]


class Record:
    """Reads the database beside the application, as an auditor would."""

    def __init__(self, database: Database, event_type: str) -> None:
        self._database = database
        self._of = {"type": event_type}

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        try:
            return await self._rows(statement, values)
        except OperationalError:  # a fault cut our own connection as it was handed out
            return await self._rows(statement, values)

    async def _rows(self, statement: str, values: dict[str, Any]) -> list[Any]:
        async with self._database.reading() as session:
            return list(await session.execute(text(statement), self._of | values))

    async def events(self) -> list[OnRecord]:
        attempts: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for delivery, number, outcome in await self.rows(
            "SELECT a.delivery_id, a.number, a.outcome FROM attempt a JOIN delivery d"
            " ON d.tenant_id = a.tenant_id AND d.id = a.delivery_id"
            " WHERE d.event_type = :type ORDER BY a.delivery_id, a.number"
        ):
            attempts[delivery].append((number, outcome))
        deliveries: dict[str, list[Any]] = defaultdict(list)
        for row in await self.rows(
            "SELECT event_id, id, state, attempt_count, reason FROM delivery"
            " WHERE event_type = :type"
        ):
            deliveries[row.event_id].append(row)
        return [
            OnRecord(e.id, e.idempotency_key, e.delivery_count, deliveries.pop(e.id, []),
                     attempts)
            for e in await self.rows(
                "SELECT id, idempotency_key, delivery_count FROM event WHERE type = :type"
            )
        ]  # fmt: skip

    async def in_flight(self) -> set[str]:
        """Return the events that some worker has leased."""
        rows = await self.rows(
            "SELECT event_id FROM delivery WHERE event_type = :type AND state = 'delivering'"
        )
        return {row.event_id for row in rows}

    async def leases(self) -> dict[str, str]:
        """Return the token of every delivery that is leased."""
        rows = await self.rows(
            "SELECT id, lease_token FROM delivery WHERE event_type = :type AND state = 'delivering'"
        )
        return {row.id: row.lease_token for row in rows}

    async def open(self) -> set[str]:
        """Return the deliveries that are still owed."""
        rows = await self.rows(
            "SELECT id FROM delivery WHERE event_type = :type"
            " AND state IN ('pending', 'retrying', 'delivering')"
        )
        return {row.id for row in rows}

    async def settled(self, owed: set[str], within_s: float = PATIENCE_S) -> float:
        """Wait until none of these is owed any more; return the seconds that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        within_s *= crowding()
        while left := owed & await self.open():
            assert loop.time() - began < within_s, f"{len(left)} still owed: {sorted(left)[:3]}"
            await asyncio.sleep(0.02)
        return loop.time() - began


class Reckoning(msgspec.Struct):
    """The sum of a fault; `lost` and unforgiven duplicates are failures."""

    accepted: int
    delivered: int
    lost: int
    duplicates: int


async def reckon(
    load: Load, record: Record, arrived: list[Received], in_flight: Counter[str]
) -> Reckoning:
    """Compare what was accepted, what arrived and what is on record; fail on any broken promise.

    `in_flight` counts for each event how often something died while it was in flight.
    """
    await record.settled(await record.open())
    events = await record.events()
    times = Counter(request.header("webhook-id") or "" for request in arrived)
    lost = set(load.accepted.values()) - set(times)
    assert not lost, f"{len(lost)} accepted events never arrived: {sorted(lost)[:3]}"
    _check_keys(load, events)
    for event in events:
        _check_event(event)
        assert times[event.id] <= 1 + in_flight[event.id], (
            f"{event.id} arrived {times[event.id]} times and was in flight at"
            f" {in_flight[event.id]} faults"
        )
    _check_arrivals(arrived, {event.id for event in events})
    return Reckoning(len(load.accepted), len(times), len(lost), sum(times.values()) - len(times))


def _check_keys(load: Load, events: list[OnRecord]) -> None:
    by_key = {event.key: event.id for event in events}
    assert len(by_key) == len(events), "a publisher's id stands for two events"
    assert load.accepted.items() <= by_key.items(), "an accepted event is not on record"
    strangers = set(by_key) - set(load.accepted) - load.unanswered
    assert not strangers, f"on record but never published: {strangers}"


def _check_event(event: OnRecord) -> None:
    assert event.promised == len(event.deliveries) == 1, f"{event.id} is half-written"
    for row in event.deliveries:
        attempts = event.attempts.get(row.id, [])
        assert "delivered" == row.state, f"{row.id} is {row.state}: {attempts}"
        assert list(range(1, row.attempt_count + 1)) == [number for number, _ in attempts]
        assert [n for n, outcome in attempts if outcome == "delivered"] == [row.attempt_count]


def _check_arrivals(arrived: list[Received], known: set[str]) -> None:
    bodies: dict[str, bytes] = {}
    for request in arrived:
        event_id = request.header("webhook-id")
        assert event_id in known, f"{event_id} was sent but is not on record"
        assert event_id == request.json["id"]
        assert bodies.setdefault(event_id, request.body) == request.body


@contextlib.asynccontextmanager
async def api(base_url: str, who: str = "acme_admin") -> Any:
    """Yield a client of the API that signs in with one token."""
    headers = {"Authorization": f"Bearer {TOKENS[who]}"}
    async with httpx.AsyncClient(
        base_url=base_url, headers=headers, trust_env=False, timeout=15
    ) as client:
        yield client
