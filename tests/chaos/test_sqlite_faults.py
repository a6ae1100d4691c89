"""SQLite's file is locked by somebody else, or the disk is full."""

import asyncio
import contextlib

import pytest

from tests.chaos.disk import no_space, quota, ways_to_fill
from tests.chaos.faults import locked_file
from tests.chaos.scene import Idle, Scene
from tests.chaos.site import LEASE_S, on_sqlite

pytestmark = on_sqlite
FULL = {"quota": quota, "no space": no_space}


async def test_another_writer_delays_everybody_and_nothing_is_half_written(scene: Scene) -> None:
    async with scene.load(publishers=2) as load:
        await load.reached(10)
        async with scene.site.frozen():
            await scene.note_in_flight()
            lock = await locked_file(scene.site)
        with lock:
            idle = Idle(scene.site)
            before = len(load.accepted)
            await asyncio.sleep(LEASE_S + 0.5)
            idle.assert_quiet(load.refusals)
            # One answer may have been on its way.
            assert len(load.accepted) <= before + 2
        recovery_s = await scene.record.settled(await scene.record.open())
        await load.reached(10)

    await scene.reckon(load, "file locked", recovery_s)


@pytest.mark.parametrize("how", ways_to_fill())
async def test_a_full_disk_refuses_events_whole_and_takes_them_again_when_there_is_room(
    scene: Scene, how: str
) -> None:
    async with scene.load(publishers=2) as load:
        await load.reached(10)
        disk = contextlib.ExitStack()
        async with scene.site.frozen():
            await scene.note_in_flight()
            disk.enter_context(FULL[how](scene.site))
        with disk:
            await load.refused(10)
            idle = Idle(scene.site)
            await asyncio.sleep(1.0)
            idle.assert_quiet(load.refusals)
            stored = {event.key for event in await scene.record.events()}
            assert set(load.accepted) <= stored
            assert not load.unanswered & stored
            async with scene.site.frozen():
                await scene.note_in_flight()  # a small claim may find room that its record does not
        owed = await scene.record.open()
        recovery_s = await scene.record.settled(owed)
        await load.reached(10)

    await scene.reckon(load, f"disk full: {how}", recovery_s)
