"""A replay is steered by people and ends with its destination; every turn is written down."""

import asyncio

from app.deliveries import replaying
from tests.behaviours import answer
from tests.deliveries.replays import (
    moved,
    publish_many,
    replay,
    settle,
    switch,
    work,
    work_once,
)
from tests.receiver import Receiver
from tests.world import World


async def test_a_paused_replay_rests_and_a_resumed_one_goes_on(world: World) -> None:
    made = await world.make_destination("http://127.0.0.1:9/hook")
    await switch(world, made, "disable")
    await publish_many(world, 20)
    await switch(world, made, "enable")
    job = await replay(world, made, rate_per_second=10)
    base = f"/integrations/jobs/{job['id']}"
    admin = world.as_("acme_admin")

    task = asyncio.create_task(work(world, job))
    await world.until(lambda: moved(world, job, 0))
    paused = (await admin.post(f"{base}/pause")).json()
    assert "paused" == (await task)["state"]
    assert not await work_once(world, job)
    assert [] == await replaying.abandoned(world.database)
    assert "running" == (await admin.post(f"{base}/resume")).json()["state"]
    done = await work(world, job)

    assert (10, 20) == (paused["created"], done["created"])
    assert 20 == len(await world.deliveries(limit=200))


async def test_a_cancelled_replay_is_over(world: World) -> None:
    made = await world.make_destination("http://127.0.0.1:9/hook")
    await publish_many(world, 1)
    job = await replay(world, made)
    base = f"/integrations/jobs/{job['id']}"
    admin = world.as_("acme_admin")

    first, again = [await admin.post(f"{base}/cancel") for _ in range(2)]
    resumed = await admin.post(f"{base}/resume")

    assert [200, 200, 409] == [one.status_code for one in (first, again, resumed)]
    assert ("cancelled", True) == (first.json()["state"], first.json()["ended_at"] is not None)
    assert not await work_once(world, job)
    await replay(world, made)  # the next one may start


async def test_a_replay_ends_with_its_destination(world: World) -> None:
    for how, reason in (("disable", "disabled"), ("delete", "deleted")):
        made = await world.make_destination("http://127.0.0.1:9/hook", name=how)
        await publish_many(world, 1)
        job = await replay(world, made)
        base = f"/integrations/destinations/{made['id']}"
        admin = world.as_("acme_admin")
        await (admin.post(f"{base}/disable") if how == "disable" else admin.delete(base))

        done = await work(world, job)

        assert ("failed", f"the destination was {reason}") == (done["state"], done["reason"])


async def test_a_replay_takes_the_place_of_the_dead_letter_that_holds_the_line(
    world: World,
) -> None:
    async with Receiver(answer(500)) as receiver:
        made = await world.make_destination(receiver.url, ordered=True)
        async with world.worker(retry_schedule=()):
            events = await publish_many(world, 1)
            await settle(world, 1, state="failed")
        receiver.behaviour = answer(200)
        receiver.requests.clear()
        events += await publish_many(world, 2)
        job = await replay(world, made)
        async with world.worker():
            await work(world, job)
            await settle(world, 3, state="delivered")

        got = [request.header("webhook-id") for request in receiver.requests]

    assert [*events[1:], events[0]] == got
    (old,) = await world.deliveries(state="cancelled")
    assert f"replayed by {job['id']}" == old["reason"]


async def test_every_turn_of_a_replay_is_written_down(world: World) -> None:
    made = await world.make_destination("http://127.0.0.1:9/hook")
    await publish_many(world, 1)
    job = await replay(world, made, states=["failed"])
    for verb in ("pause", "resume"):
        await world.as_("acme_admin").post(f"/integrations/jobs/{job['id']}/{verb}")
    await work(world, job)

    trail = await world.as_("acme_auditor").get("/audit", params={"target": job["id"]})

    entries = trail.json()["items"]
    assert ["finished", "resumed", "paused", "started"] == [
        entry["action"].removeprefix("replay.") for entry in entries
    ]
    assert "system" == entries[0]["actor"] != entries[1]["actor"]
    assert made["id"] == entries[-1]["changes"]["destination_id"]
    assert ["failed"] == entries[-1]["changes"]["states"]
