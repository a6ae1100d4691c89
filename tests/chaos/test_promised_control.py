"""What a tenant set for its destinations holds with three worker processes, and through kill -9."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select, update

from app.database import utcnow
from app.deliveries.models import Delivery, ReplayJob
from app.deliveries.slots import AHEAD
from app.deliveries.store import BREAKER_THRESHOLD
from app.destinations.models import Lane
from tests.behaviours import answer, slow
from tests.chaos import pace
from tests.chaos.scene import Scene
from tests.receiver import Receiver
from tests.world import until

BASE = "/api/v1/integrations"
WORKERS = 3
#: What a worker has in its hands of one destination: under way, and claimed ahead.
EACH = 16 * AHEAD
MISSED = 10_000
OWED = 2_000


@contextlib.asynccontextmanager
async def third_worker(scene: Scene) -> AsyncIterator[None]:
    process = scene.site.start("worker-3")
    try:
        await scene.site.ready(process)
        yield
    finally:
        process.end()


@contextlib.asynccontextmanager
async def destination(scene: Scene, url: str, **rules: Any) -> AsyncIterator[dict[str, Any]]:
    """Make a destination of its own event type, and remove it at the end."""
    kind = f"chaos.n{uuid4().hex[:12]}"
    body = {"name": kind, "endpoint_url": url, "event_types": [kind]} | rules
    made = await scene.client.post(f"{BASE}/destinations", json=body)
    assert 201 == made.status_code, made.text
    yield made.json() | {"kind": kind}
    await scene.remove_destination(made.json()["id"])


async def publish(scene: Scene, kind: str, count: int) -> list[str]:
    ids: list[str] = []
    for start in range(0, count, 1_000):
        numbers = range(start, min(count, start + 1_000))
        events = [{"type": kind, "data": {"n": n}} for n in numbers]
        done = await scene.client.post("/api/v1/events/batch", json={"events": events})
        assert 202 == done.status_code, done.text
        ids += [item["id"] for item in done.json()["items"]]
    return ids


async def test_ten_per_second_stay_ten_with_three_worker_processes(scene: Scene) -> None:
    async with (
        Receiver() as receiver,
        destination(scene, receiver.url, rate_limit_per_second=10) as made,
        third_worker(scene),
    ):
        await publish(scene, made["kind"], 60)
        await receiver.wait_for(45, timeout_s=12)
        times = [request.at - receiver.requests[0].at for request in receiver.requests]

    for start in range(4):
        within = [at for at in times if start <= at < start + 1]
        assert 9 <= len(within) <= 11, [round(at, 2) for at in times]


async def test_an_open_breaker_holds_for_three_worker_processes(scene: Scene) -> None:
    async with (
        Receiver(answer(500)) as receiver,
        destination(scene, receiver.url) as made,
        third_worker(scene),
    ):
        await publish(scene, made["kind"], OWED)
        await until(lambda: _status(scene, made, "degraded"))
        await asyncio.sleep(1.0)  # what was in flight ends
        before = len(receiver.requests)
        await asyncio.sleep(2.5)
        rested = len(receiver.requests)
        await _half_open(scene, made)
        await receiver.wait_for(rested + 1, timeout_s=8)
        await asyncio.sleep(2.0)
        probes = len(receiver.requests) - rested

        receiver.behaviour = answer(200)
        await _half_open(scene, made)
        await until(lambda: _status(scene, made, "active"))
        await until(lambda: _all_delivered(scene, made, OWED), within_s=25)

    # Twice what they can hold: they learn of a failure with the record of its batch.
    assert BREAKER_THRESHOLD <= before <= BREAKER_THRESHOLD + 2 * WORKERS * EACH < OWED
    assert before == rested, "nothing is sent while it is open"
    assert 1 <= probes <= WORKERS, "a worker sends one probe, however much is due"


async def _status(scene: Scene, made: dict[str, Any], wanted: str) -> bool:
    found = await scene.client.get(f"{BASE}/destinations/{made['id']}")
    return bool(found.json()["status"] == wanted)


async def _half_open(scene: Scene, made: dict[str, Any]) -> None:
    """Let the pause of the breaker be over now."""
    async with scene.database.transaction() as session:
        lane = update(Lane).where(Lane.destination_id == made["id"])
        await session.execute(lane.values(open_until=utcnow()))


async def _all_delivered(scene: Scene, made: dict[str, Any], count: int) -> bool:
    async with scene.database.reading() as session:
        query = select(func.count()).where(
            Delivery.destination_id == made["id"], Delivery.state == "delivered"
        )
        return bool((await session.execute(query)).scalar_one() == count)


async def test_order_holds_through_the_kill_of_workers(scene: Scene) -> None:
    await scene.client.patch(f"{BASE}/destinations/{scene.lane}", json={"ordered": True})
    scene.receiver.behaviour = slow(0.02)
    async with scene.load(publishers=1, gap_s=0.01) as load:
        for _ in range(pace.rounds(short=2, per_minute=2.0)):
            await load.reached(random.randint(10, 20))
            random.choice(scene.site.workers).kill()
            await scene.note_in_flight()
            await scene.site.heal()
            await load.reached(5)

    await scene.reckon(load, "kill -9 worker, in order")
    numbers = [
        int(request.json["data"]["key"].rpartition("-")[2]) for request in scene.receiver.requests
    ]
    assert numbers == sorted(numbers)
    assert len(load.accepted) == len(set(numbers)) >= 30


async def test_a_replay_of_ten_thousand_survives_a_kill_and_sends_exactly_its_set(
    scene: Scene,
) -> None:
    async with Receiver() as receiver, destination(scene, receiver.url) as made:
        path = f"{BASE}/destinations/{made['id']}"
        await scene.client.post(f"{path}/disable")
        missed = await publish(scene, made["kind"], MISSED)
        await scene.client.post(f"{path}/enable")
        job = await _replay(scene, made)
        await until(lambda: _created(scene, job, MISSED // 4), within_s=20)
        for worker in scene.site.workers:  # one of them works on it
            worker.kill()
        half = await _read(scene, job)
        in_flight = await _let_leases_run_out(scene, made)
        await scene.site.heal()
        await until(lambda: _all_delivered(scene, made, MISSED), within_s=40)
        done = await _read(scene, job)
        got = [request.header("webhook-id") for request in receiver.requests]

    assert MISSED // 4 <= half["created"] < MISSED
    assert ("finished", MISSED) == (done["state"], done["created"])
    assert set(missed) == set(got)
    assert len(got) - MISSED <= in_flight, "nothing doubled but what was in flight at the kill"
    async with scene.database.reading() as session:
        events = func.count(Delivery.event_id.distinct())
        query = select(func.count(), events).where(Delivery.destination_id == made["id"])
        assert (MISSED, MISSED) == (await session.execute(query)).one()


async def _replay(scene: Scene, made: dict[str, Any]) -> str:
    wish = {"since": made["created_at"], "rate_per_second": 500}
    started = await scene.client.post(f"{BASE}/destinations/{made['id']}/replay", json=wish)
    assert 202 == started.status_code, started.text
    job = str(started.json()["id"])
    async with scene.database.transaction() as session:  # quicker than anyone may ask for
        await session.execute(
            update(ReplayJob).where(ReplayJob.id == job).values(rate_per_second=5_000)
        )
    return job


async def _read(scene: Scene, job: str) -> dict[str, Any]:
    return dict((await scene.client.get(f"{BASE}/jobs/{job}")).json())


async def _created(scene: Scene, job: str, least: int) -> bool:
    return bool((await _read(scene, job))["created"] >= least)


async def _let_leases_run_out(scene: Scene, made: dict[str, Any]) -> int:
    """Spare the test the wait; return how many deliveries were leased."""
    async with scene.database.transaction() as session:
        await session.execute(update(ReplayJob).values(lease_until=None))
        leased = update(Delivery).where(
            Delivery.destination_id == made["id"], Delivery.state == "delivering"
        )
        found = await session.execute(leased.values(lease_until=Delivery.created_at))
        return int(found.rowcount)  # type: ignore[attr-defined]  # an UPDATE has one
