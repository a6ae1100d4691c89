"""Replays as tests start them, work on them and look at them."""

from typing import Any

from app.deliveries import replaying
from app.deliveries.store import store_for
from tests.world import World

SINCE = "2026-01-01T00:00:00Z"


async def replay(world: World, destination: dict[str, Any], **fields: Any) -> dict[str, Any]:
    path = f"/integrations/destinations/{destination['id']}/replay"
    started = await world.as_("acme_admin").post(path, json={"since": SINCE} | fields)
    assert started.status_code == 202, started.text
    return dict(started.json())


async def job_of(world: World, job: dict[str, Any]) -> dict[str, Any]:
    return dict((await world.as_("acme_admin").get(f"/integrations/jobs/{job['id']}")).json())


async def work(world: World, job: dict[str, Any], for_s: float = 30.0) -> dict[str, Any]:
    """Do what the worker's job does, and return the replay as it stands then."""
    told: list[str] = []
    await replaying.work(
        world.database, store_for(world.database.dialect), "acme", job["id"],
        for_s=for_s, on_step=told.append,
    )  # fmt: skip
    return await job_of(world, job)


async def publish_many(world: World, count: int, event_type: str = "alert.created") -> list[str]:
    events = [{"type": event_type, "data": {"n": n}} for n in range(count)]
    answered = await world.as_("acme_admin").post("/events/batch", json={"events": events})
    assert answered.status_code == 202, answered.text
    return [item["id"] for item in answered.json()["items"]]


async def switch(world: World, destination: dict[str, Any], how: str) -> None:
    path = f"/integrations/destinations/{destination['id']}/{how}"
    assert (await world.as_("acme_admin").post(path)).status_code == 200


async def settle(world: World, count: int, **filters: Any) -> list[dict[str, Any]]:
    async def settled() -> list[dict[str, Any]]:
        rows = await world.deliveries(limit=200, **filters)
        return rows if len(rows) >= count else []

    return list(await world.until(settled))


async def work_once(world: World, job: dict[str, Any]) -> bool:
    told: list[str] = []
    store = store_for(world.database.dialect)
    await replaying.work(
        world.database, store, "acme", job["id"], for_s=0, on_step=told.append
    )  # fmt: skip
    return bool(told)


async def moved(world: World, job: dict[str, Any], beyond: int) -> bool:
    return bool((await job_of(world, job))["created"] > beyond)
