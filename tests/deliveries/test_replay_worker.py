"""A replay in real worker processes: taken up by SAQ, killed hard, taken over, nothing doubled."""

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from app.deliveries.models import Delivery, ReplayJob
from tests.receiver import Receiver
from tests.tools.programs import running
from tests.world import World

EVENTS = 40


async def test_a_replay_survives_the_kill_of_its_worker(world: World, tmp_path: Path) -> None:
    env = {
        "DATABASE_URL": world.url,
        "EGRESS_ALLOW": "127.0.0.1/32",
        "SECRET_KEYS": ",".join(world.settings.secret_keys),
    }
    async with Receiver() as receiver:
        job = await _missed(world, receiver.url)
        with running(tmp_path, "worker", **env) as first:
            await world.until(lambda: _created(world, job, 15), within_s=20)
            await asyncio.to_thread(_kill, first)
        half = await _read(world, job)
        async with world.database.transaction() as session:  # its leases run out
            await session.execute(update(ReplayJob).values(lease_until=None))
            leased = update(Delivery).where(Delivery.state == "delivering")
            await session.execute(leased.values(lease_until=Delivery.created_at))
        with running(tmp_path, "worker", **env):
            await receiver.wait_for(EVENTS, timeout_s=30)
            done = await world.until(lambda: _ended(world, job), within_s=20)

        got = {request.header("webhook-id") for request in receiver.requests}

    assert ("running", 15) <= (half["state"], half["created"]) < ("running", EVENTS)
    assert ("finished", EVENTS, 1.0) == (done["state"], done["created"], done["progress"])
    assert EVENTS == len(got)
    async with world.database.reading() as session:
        events = func.count(Delivery.event_id.distinct())
        assert (EVENTS, EVENTS) == (await session.execute(select(func.count(), events))).one()


def _kill(program: Any) -> None:
    program.process.kill()
    program.process.wait(10)


async def _missed(world: World, url: str) -> dict[str, Any]:
    """Start a replay of events that were published while the destination was disabled."""
    admin = world.as_("acme_admin")
    made = await world.make_destination(url)
    base = f"/integrations/destinations/{made['id']}"
    await admin.post(f"{base}/disable")
    events = [{"type": "alert.created", "data": {"n": n}} for n in range(EVENTS)]
    await admin.post("/events/batch", json={"events": events})
    await admin.post(f"{base}/enable")
    wish = {"since": made["created_at"], "rate_per_second": 15}
    answer = await admin.post(f"{base}/replay", json=wish)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def _read(world: World, job: dict[str, Any]) -> dict[str, Any]:
    return dict((await world.as_("acme_admin").get(f"/integrations/jobs/{job['id']}")).json())


async def _created(world: World, job: dict[str, Any], least: int) -> bool:
    return bool((await _read(world, job))["created"] >= least)


async def _ended(world: World, job: dict[str, Any]) -> dict[str, Any] | None:
    found = await _read(world, job)
    return found if found["state"] != "running" else None
