"""SIGTERM: what is in flight ends or is given back, nothing is sent twice, and it is quick."""

import asyncio
import time

from tests.behaviours import answer, in_turn, never, slow
from tests.chaos.scene import Scene

MAX_STOP_S = 10.0


async def test_workers_stopped_one_by_one_end_what_they_began_and_nothing_arrives_twice(
    scene: Scene,
) -> None:
    scene.receiver.behaviour = slow(0.15)
    async with scene.load(gap_s=0.05) as load:
        for worker in scene.site.workers:
            await load.reached(10)
            assert await worker.stop() < MAX_STOP_S
            assert "worker.stopped" in worker.output
            assert "Traceback" not in worker.output
            await scene.site.heal()

    total = await scene.reckon(load, "SIGTERM each worker")
    assert 0 == total.duplicates


async def test_everything_stopped_under_load_goes_on_where_it_was(scene: Scene) -> None:
    async with scene.load() as load:
        await load.reached(20)
        took = await asyncio.gather(*(process.stop() for process in scene.site.all))
        began = time.monotonic()
        owed = await scene.record.open()
        await scene.site.heal()
        await scene.record.settled(owed)
        recovery_s = time.monotonic() - began

    assert max(took) < MAX_STOP_S
    total = await scene.reckon(load, "SIGTERM everything", recovery_s)
    assert 0 == total.duplicates


async def test_an_attempt_that_outlives_the_grace_is_given_back_and_made_again(
    scene: Scene,
) -> None:
    scene.receiver.behaviour = in_turn(never, answer())
    load = scene.load()
    async with scene.site.frozen():  # so that the one with patience gets it
        patient = scene.site.start("patient", ONEPROTECT_DELIVERY_TIMEOUT="60")
        await scene.site.ready(patient)
        assert await load.ask("given back")
        await scene.receiver.wait_for(1)
        await scene.note_in_flight()
        took_s = await patient.stop()
        given_back = await scene.record.in_flight()
    began = time.monotonic()
    await scene.receiver.wait_for(2)
    recovery_s = time.monotonic() - began

    assert set() == given_back
    assert took_s < MAX_STOP_S
    total = await scene.reckon(load, "SIGTERM, no answer", recovery_s)
    assert 1 == total.duplicates
