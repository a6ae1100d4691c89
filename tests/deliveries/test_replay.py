"""Replays on both engines: what was missed is sent again, once, at a bounded rate."""

import asyncio
from typing import Any

from sqlalchemy import select, update

from app.deliveries import replaying
from app.deliveries.models import Delivery, ReplayJob
from tests.behaviours import answer
from tests.deliveries.replays import (
    job_of,
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


async def test_what_failed_was_cancelled_or_never_owed_is_delivered_once(world: World) -> None:
    async with Receiver(answer(500)) as receiver:
        made = await world.make_destination(receiver.url)
        async with world.worker(retry_schedule=()):
            failed = await publish_many(world, 2)
            await settle(world, 2, state="failed")
        await publish_many(world, 1)
        (waiting,) = await world.deliveries(state="pending")
        cancelled = waiting["event_id"]
        await world.as_("acme_admin").post(f"/integrations/deliveries/{waiting['id']}/cancel")
        await switch(world, made, "disable")
        never = await publish_many(world, 2)
        await switch(world, made, "enable")
        receiver.behaviour = answer(200)
        receiver.requests.clear()
        async with world.worker():
            await publish_many(world, 1)
            await settle(world, 1, state="delivered")

            done = await work(world, await replay(world, made))
            rows = await settle(world, 6, state="delivered")

        got = [request.header("webhook-id") for request in receiver.requests]

    assert ("finished", 1.0, 6, 5) == (
        done["state"], done["progress"], done["matched"], done["created"],
    )  # fmt: skip
    assert sorted([*failed, cancelled, *never]) == sorted(got[1:])
    replays = [row for row in rows if row["trigger"] == "replay"]
    assert {cancelled, *failed, *never} == {row["event_id"] for row in replays}
    detail = await world.delivery(replays[0]["id"])
    assert ["replay"] == [attempt["trigger"] for attempt in detail["attempts"]]


async def test_a_second_replay_finds_nothing_that_is_owed_or_delivered(world: World) -> None:
    made = await world.make_destination("http://127.0.0.1:9/hook")
    await switch(world, made, "disable")
    await publish_many(world, 3)
    await switch(world, made, "enable")

    first = await work(world, await replay(world, made))
    second = await work(world, await replay(world, made))

    assert (3, 0) == (first["created"], second["created"])
    assert (3, 3) == (second["matched"], second["scanned"])


async def test_states_choose_by_the_latest_delivery(world: World) -> None:
    async with Receiver() as receiver:
        made = await world.make_destination(receiver.url)
        async with world.worker():
            await publish_many(world, 2)
            await settle(world, 2, state="delivered")
            nothing = await work(world, await replay(world, made, states=["failed"]))
            again = await work(world, await replay(world, made, states=["delivered"]))
            await settle(world, 4, state="delivered")

    assert (0, 2) == (nothing["created"], again["created"])
    assert 4 == len(receiver.requests)


async def test_only_wanted_types_of_the_range_are_replayed(world: World) -> None:
    made = await world.make_destination("http://127.0.0.1:9/hook", event_types=["alert.*"])
    await switch(world, made, "disable")
    await publish_many(world, 1, "alert.created")
    await publish_many(world, 1, "alert.closed")
    await publish_many(world, 1, "incident.opened")
    await asyncio.sleep(0.005)
    middle = await world.publish(event_type="alert.created")
    until = (await world.as_("acme_admin").get(f"/events/{middle['id']}")).json()["created_at"]
    await asyncio.sleep(0.005)
    await publish_many(world, 1, "alert.created")
    await switch(world, made, "enable")

    done = await work(world, await replay(world, made, until=until, event_types=["alert.created"]))

    rows = await world.deliveries()
    assert (4, 2, 2) == (done["scanned"], done["matched"], done["created"])
    assert {"alert.created"} == {row["event_type"] for row in rows}
    assert middle["id"] in {row["event_id"] for row in rows}


async def test_a_test_event_is_never_replayed(world: World) -> None:
    made = await world.make_destination("http://127.0.0.1:9/hook")
    other = await world.make_destination("http://127.0.0.1:9/other")
    await world.as_("acme_admin").post(f"/integrations/destinations/{other['id']}/test")

    done = await work(world, await replay(world, made))

    assert (1, 0, 0) == (done["scanned"], done["matched"], done["created"])


async def test_a_chunk_and_its_progress_are_one_commit(world: World) -> None:
    """Whenever the worker dies, what was made and how far it came fit together."""
    made = await world.make_destination("http://127.0.0.1:9/hook")
    await switch(world, made, "disable")
    events = await publish_many(world, 30)
    await switch(world, made, "enable")
    job = await replay(world, made, rate_per_second=10)

    seen = []
    for _ in range(2):
        task = asyncio.create_task(work(world, job))
        await world.until(lambda: moved(world, job, len(seen) * 10))
        task.cancel()  # as a kill would: the lease stays behind
        await asyncio.gather(task, return_exceptions=True)
        half = await job_of(world, job)
        seen.append((half["created"], len(await world.deliveries(limit=200))))
        assert not await work_once(world, job), "a lease that lasts keeps others out"
        await _expire_lease(world, job)
    done = await work(world, job)

    assert [created for created, _ in seen] == [rows for _, rows in seen]
    assert 0 < seen[0][0] < seen[1][0] < 30
    assert ("finished", 30, 30) == (done["state"], done["created"], done["total"])
    rows = await world.deliveries(limit=200)
    assert sorted(events) == sorted(row["event_id"] for row in rows)


async def _expire_lease(world: World, job: dict[str, Any]) -> None:
    async with world.database.transaction() as session:
        row = (await session.execute(select(ReplayJob))).scalar_one()
        assert row.lease_until is not None
        row.lease_until = row.created_at
    assert [("acme", job["id"])] == await replaying.abandoned(world.database)


async def test_two_workers_never_make_the_same_delivery_twice(world: World) -> None:
    made = await world.make_destination("http://127.0.0.1:9/hook")
    await switch(world, made, "disable")
    await publish_many(world, 40)
    await switch(world, made, "enable")
    job = await replay(world, made, rate_per_second=20)

    first = asyncio.create_task(work(world, job))
    await world.until(lambda: moved(world, job, 0))
    async with world.database.transaction() as session:  # the first one's clock stood still
        await session.execute(update(ReplayJob).values(lease_until=None))
    await asyncio.gather(first, work(world, job))

    rows = await world.deliveries(limit=200)
    assert 40 == len(rows) == len({row["event_id"] for row in rows})


async def test_it_keeps_its_rate_and_waits_while_a_window_is_full(world: World) -> None:
    made = await world.make_destination("http://127.0.0.1:9/hook", rate_limit_per_second=2)
    await switch(world, made, "disable")
    await publish_many(world, 30)
    await switch(world, made, "enable")
    job = await replay(world, made, rate_per_second=4)
    loop = asyncio.get_running_loop()
    began = loop.time()

    half = await work(world, job, for_s=1.5)  # 4 at once, 4 after a second, then the window is full
    full = await work(world, job, for_s=0.1)
    still = await work(world, job, for_s=0.1)

    assert loop.time() - began > 2
    assert [8, 10, 10] == [one["created"] for one in (half, full, still)]
    assert "running" == still["state"]


async def test_a_live_event_is_not_delayed_by_a_replay(world: World) -> None:
    async with Receiver() as receiver:
        made = await world.make_destination(receiver.url)
        await switch(world, made, "disable")
        await publish_many(world, 200)
        await switch(world, made, "enable")
        job = await replay(world, made, rate_per_second=100)
        async with world.worker():
            task = asyncio.create_task(work(world, job))
            await receiver.wait_for(20)
            live = await world.publish()
            ahead = (await job_of(world, job))["created"]
            await task
            await receiver.wait_for(201)
        got = [request.header("webhook-id") for request in receiver.requests]

    assert got.index(live["id"]) <= ahead + 16, "it stands behind no more than what was made"
    async with world.database.reading() as session:
        rows = (await session.execute(select(Delivery.event_id))).scalars().all()
    assert 201 == len(rows) == len(set(rows))
