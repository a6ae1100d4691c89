"""kill -9 at random instants under load: of the web, of a worker, of both, of everything."""

import asyncio
import random
import time

import pytest

from tests.behaviours import slow
from tests.chaos import pace
from tests.chaos.faults import commits_held
from tests.chaos.ledger import Load
from tests.chaos.processes import Process
from tests.chaos.scene import Scene, assert_recovered

#: A receiver so slow that every worker is in the middle of something.
MIDDLE_S = 0.15
ROUNDS = pace.rounds(short=1, per_minute=1.0)


async def test_a_killed_web_process_loses_nothing_that_it_accepted(scene: Scene) -> None:
    async with scene.load() as load:
        for _ in range(2 * ROUNDS):
            await at_random(load)
            scene.site.web.kill()
            began = time.monotonic()
            await scene.site.ready(scene.site.start("web"))
            await load.reached(3)
        recovery_s = time.monotonic() - began

    total = await scene.reckon(load, "kill -9 web", recovery_s)
    assert 0 == total.duplicates


async def test_a_killed_workers_deliveries_are_taken_over_when_its_lease_ends(
    scene: Scene,
) -> None:
    slowest_s = 0.0
    scene.receiver.behaviour = slow(MIDDLE_S)
    async with scene.load(gap_s=0.05) as load:
        for _ in range(ROUNDS):
            await at_random(load)
            random.choice(scene.site.workers).kill()
            await scene.note_in_flight()
            slowest_s = max(slowest_s, await scene.record.settled(await scene.record.open()))
            await scene.site.heal()

    await scene.reckon(load, "kill -9 worker", slowest_s)
    assert_recovered(slowest_s)


@pytest.mark.parametrize("everything", [False, True], ids=["web and a worker", "everything"])
async def test_web_and_workers_killed_together_lose_nothing(scene: Scene, everything: bool) -> None:
    slowest_s = start_s = 0.0
    scene.receiver.behaviour = slow(MIDDLE_S)
    async with scene.load(gap_s=0.05) as load:
        for _ in range(ROUNDS):
            await at_random(load)
            doomed = [scene.site.web, random.choice(scene.site.workers)]
            for process in scene.site.all if everything else doomed:
                process.kill()
            began = time.monotonic()
            await scene.note_in_flight()
            owed = await scene.record.open()
            await scene.site.heal()
            start_s = max(start_s, time.monotonic() - began)
            await scene.record.settled(owed)
            slowest_s = max(slowest_s, time.monotonic() - began)

    fault = "kill -9 everything" if everything else "kill -9 web and worker"
    await scene.reckon(load, fault, slowest_s)
    assert_recovered(slowest_s, start_s)


async def test_ten_kills_in_a_row_of_whatever_lose_nothing(scene: Scene) -> None:
    scene.receiver.behaviour = slow(MIDDLE_S)
    async with scene.load(gap_s=0.05) as load:
        for _ in range(10 * ROUNDS):
            await load.reached(3)
            await asyncio.sleep(random.uniform(0.0, 0.2))
            for process in random.choice(targets(scene)):
                process.kill()
            began = time.monotonic()
            await scene.note_in_flight()
            owed = await scene.record.open()
            scene.site.restart()  # the next kill may meet one that is not up yet
        await scene.site.heal()
        start_s = time.monotonic() - began
        await scene.record.settled(owed)
        recovery_s = time.monotonic() - began

    await scene.reckon(load, "kill -9, ten times", recovery_s)
    assert_recovered(recovery_s, start_s)


def targets(scene: Scene) -> list[list[Process]]:
    web, workers = scene.site.web, scene.site.workers
    return [[web], [workers[0]], [workers[1]], workers, [web, workers[0]], scene.site.all]


async def test_nothing_is_acknowledged_before_it_is_committed(scene: Scene) -> None:
    load = scene.load()
    keys = [f"{scene.event_type}-{n}" for n in range(8)]
    async with commits_held(scene.site):
        asked = [asyncio.create_task(load.ask(key)) for key in keys]
        await asyncio.sleep(0.5)
        acknowledged = dict(load.accepted)
        scene.site.web.kill()
        await asyncio.gather(*asked)
    await scene.site.heal()
    for key in keys:
        assert await load.ask(key)

    assert {} == acknowledged
    await scene.reckon(load, "kill -9 web before the commit")


async def at_random(load: Load) -> None:
    """Wait until work flows, and then for an instant that nobody chose."""
    await load.reached(10)
    await asyncio.sleep(random.uniform(0.0, 0.2))
