"""The broker is emptied: deliveries go on by the workers' own timers, calmly."""

import asyncio
import time

from app.wakeup import POSTGRES_SCHEMA
from tests.chaos.pace import crowding
from tests.chaos.scene import Idle, Scene


async def test_an_emptied_broker_loses_no_delivery_and_nobody_runs_hot(scene: Scene) -> None:
    async with scene.load() as load:
        for _ in range(3):
            await load.reached(10)
            began = time.monotonic()
            await empty_the_broker(scene)
            owed = await scene.record.open()
            recovery_s = await scene.record.settled(owed)
        await load.reached(10)
    await scene.record.settled(await scene.record.open())
    await empty_the_broker(scene)

    idle = Idle(scene.site)
    await asyncio.sleep(1.5)

    idle.assert_quiet()
    assert time.monotonic() - began < 30
    total = await scene.reckon(load, "broker emptied", recovery_s)
    assert 0 == total.duplicates


async def test_a_lost_wake_up_costs_a_poll_and_no_more(scene: Scene) -> None:
    load = scene.load()
    async with scene.site.frozen():
        assert await load.ask("unheard")
        await empty_the_broker(scene)
    recovery_s = await scene.record.settled(await scene.record.open())

    assert recovery_s < 2.0 * crowding()
    await scene.reckon(load, "wake-up lost", recovery_s)


async def empty_the_broker(scene: Scene) -> None:
    """Take from SAQ everything that it knows."""
    async with scene.database.begin() as c:
        if scene.site.server is None:
            await c.exec_driver_sql("DELETE FROM saq_job")
            await c.exec_driver_sql("DELETE FROM saq_worker")
            return
        rows = await c.exec_driver_sql(
            "SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables"
            f" WHERE schemaname = '{POSTGRES_SCHEMA}' AND tablename NOT LIKE '%%version%%'"
        )
        tables = ", ".join(row[0] for row in rows)
        await c.exec_driver_sql(f"TRUNCATE {tables}")
