"""SQLite's file is locked by somebody else, or the disk is full."""

import asyncio
import contextlib
import resource
from collections.abc import Iterator

from tests.chaos.faults import locked_file
from tests.chaos.scene import Idle, Scene
from tests.chaos.site import LEASE_S, Site, on_sqlite

pytestmark = on_sqlite
#: Less than the file has already: the next page that is written beyond it does not fit.
FULL_BYTES = 65_536


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


async def test_a_full_disk_refuses_events_whole_and_takes_them_again_when_there_is_room(
    scene: Scene,
) -> None:
    async with scene.load(publishers=2) as load:
        await load.reached(10)
        disk = contextlib.ExitStack()
        async with scene.site.frozen():
            await scene.note_in_flight()
            disk.enter_context(full_disk(scene.site))
        with disk:
            await load.refused(10)
            idle = Idle(scene.site)
            await asyncio.sleep(1.0)
            idle.assert_quiet(load.refusals)
            stored = {event.key for event in await scene.record.events()}
            assert set(load.accepted) <= stored
            assert not load.unanswered & stored
        owed = await scene.record.open()
        recovery_s = await scene.record.settled(owed)
        await load.reached(10)

    await scene.reckon(load, "disk full", recovery_s)


@contextlib.contextmanager
def full_disk(site: Site) -> Iterator[None]:
    """Let no file grow any more in these processes; the kernel refuses as a full disk does."""
    limits = {p.pid: resource.prlimit(p.pid, resource.RLIMIT_FSIZE) for p in site.all}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_BYTES, hard))
    try:
        yield
    finally:
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
