"""A worker that hangs past its lease: another takes over, and the late one overwrites nothing."""

import asyncio
import random

from tests.behaviours import slow
from tests.chaos import pace
from tests.chaos.processes import Process
from tests.chaos.scene import Scene, assert_recovered

ANSWER_S = 0.15
ROUNDS = pace.rounds(short=1, per_minute=0.5)


async def test_a_hung_workers_deliveries_are_taken_over_and_its_late_record_is_fenced(
    scene: Scene,
) -> None:
    slowest_s = 0.0
    scene.receiver.behaviour = slow(ANSWER_S)
    async with scene.load(gap_s=0.05) as load:
        for _ in range(ROUNDS):
            hung = await freeze_with_work(scene)
            await scene.note_in_flight()
            slowest_s = max(slowest_s, await scene.record.settled(await scene.record.open()))
            hung.thaw()
            await hung.says("attempt.fenced")
            await load.reached(20)

    await scene.reckon(load, "SIGSTOP worker past its lease", slowest_s)
    assert_recovered(slowest_s)


async def freeze_with_work(scene: Scene) -> Process:
    """Freeze a worker that holds leases, and return it."""
    while True:
        await asyncio.sleep(random.uniform(0.05, 0.2))
        worker = random.choice(scene.site.workers)
        await scene.site.freeze(worker)
        leases = await scene.record.leases()
        await asyncio.sleep(2 * ANSWER_S)  # what the other one held has ended by then
        if leases.items() & (await scene.record.leases()).items():
            return worker
        worker.thaw()
