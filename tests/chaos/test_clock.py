"""Clocks that step by an hour, or differ by two: nothing waits for the wrong time."""

import asyncio
from datetime import datetime, timedelta

from sqlalchemy import update

from app.database import utcnow
from app.deliveries.models import Delivery
from app.deliveries.store import store_for
from tests.behaviours import slow
from tests.chaos.scene import Scene, assert_recovered
from tests.chaos.site import on_postgresql
from tests.world import World

HOUR_S = 3600.0
NOWHERE = "http://127.0.0.1:9/hook"


@on_postgresql
async def test_workers_whose_clocks_differ_by_two_hours_share_the_work(scene: Scene) -> None:
    ahead, behind = scene.site.workers
    ahead.set_clock(HOUR_S)
    behind.set_clock(-HOUR_S)
    scene.receiver.behaviour = slow(0.15)
    async with scene.load(gap_s=0.05) as load:
        await load.reached(20)
        ahead.kill()
        await scene.note_in_flight()
        recovery_s = await scene.record.settled(await scene.record.open())
        await load.reached(20)

    await scene.reckon(load, "clocks two hours apart", recovery_s)
    assert_recovered(recovery_s)


async def test_a_clock_that_steps_by_an_hour_delays_nothing_that_was_never_tried(
    scene: Scene,
) -> None:
    slowest_s = 0.0
    async with scene.load() as load:
        for step_s in (HOUR_S, 0.0, -HOUR_S, 0.0):
            await load.reached(10)
            # A step forward ends every lease at once: what is in flight may go out again.
            async with scene.site.frozen():
                await scene.note_in_flight()
                for process in scene.site.all:
                    process.set_clock(step_s)
                await asyncio.sleep(0.05)  # a publish that began before the step has ended
            owed = await scene.record.open()
            slowest_s = max(slowest_s, await scene.record.settled(owed))

    await scene.reckon(load, "clock steps by an hour", slowest_s)
    assert_recovered(slowest_s)


async def test_what_a_fast_clock_put_off_is_due_once_the_clock_is_right(world: World) -> None:
    await world.make_destination(NOWHERE)
    await world.publish()
    async with world.database.transaction() as session:
        later = utcnow() + timedelta(hours=1)
        await session.execute(update(Delivery).values(next_attempt_at=later))

    async with world.database.begin() as c:
        await store_for(world.database.dialect).sweep(c, 60.0)

    (row,) = await world.deliveries(state="pending")
    assert datetime.fromisoformat(row["next_attempt_at"]) <= utcnow()
