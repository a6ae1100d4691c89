"""PostgreSQL goes away, comes back slowly, drops every connection, or loses its patience."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

from tests.behaviours import answer
from tests.chaos import pace
from tests.chaos.faults import locked_tables
from tests.chaos.pace import crowding
from tests.chaos.scene import Idle, Scene
from tests.chaos.site import LEASE_S, on_postgresql
from tests.postgres import Server

pytestmark = on_postgresql
ROUNDS = pace.rounds(short=1, per_minute=0.5)
#: The longest pause between two looks of a process at a database that is away.
BACKOFF_S = 5.0
EVERYBODY = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


async def test_an_immediate_stop_and_start_lose_nothing(scene: Scene) -> None:
    async with scene.load() as load:
        for _ in range(ROUNDS):
            await load.reached(20)
            async with stopped_hard(scene):
                pass
            recovery_s = await scene.record.settled(await scene.record.open())
            await load.reached(20)

    await scene.reckon(load, "PostgreSQL stopped hard", recovery_s)
    assert recovery_s < BACKOFF_S * crowding()


async def test_a_slow_start_is_waited_for_calmly(scene: Scene) -> None:
    async with scene.load(publishers=2) as load:
        await load.reached(20)
        async with stopped_hard(scene):
            idle = Idle(scene.site)
            await asyncio.sleep(LEASE_S + 0.5)
            idle.assert_quiet(load.refusals)
        recovery_s = await scene.record.settled(await scene.record.open())
        await load.reached(20)

    await scene.reckon(load, "PostgreSQL slow to start", recovery_s)
    assert recovery_s < BACKOFF_S * crowding()
    assert load.refusals > 0


async def test_terminated_connections_lose_nothing_and_duplicate_nothing(scene: Scene) -> None:
    async with scene.load() as load:
        for _ in range(2 * ROUNDS):
            await load.reached(10)
            await asyncio.to_thread(server_of(scene).execute, EVERYBODY)
            recovery_s = await scene.record.settled(await scene.record.open())
        await load.reached(20)

    total = await scene.reckon(load, "connections terminated", recovery_s)
    assert 0 == total.duplicates


async def test_statements_that_time_out_behind_a_lock_are_made_again(scene: Scene) -> None:
    async with impatient(server_of(scene)), scene.load() as load:
        await load.reached(20)
        async with locked_tables(server_of(scene), "delivery", "event"):
            await asyncio.sleep(1.0)
        recovery_s = await scene.record.settled(await scene.record.open())
        await load.reached(20)

    total = await scene.reckon(load, "statement time-outs", recovery_s)
    assert 0 == total.duplicates
    assert load.refusals > 0


async def test_a_worker_outlives_a_destination_that_cannot_be_disabled_now(scene: Scene) -> None:
    """410 Gone is recorded; the switch-off that follows it meets a lock and times out."""
    workers = scene.site.workers
    scene.receiver.behaviour = answer(410)
    load = scene.load()
    async with impatient(server_of(scene)):
        async with locked_tables(server_of(scene), "destination"):
            assert await load.ask("gone")
            await scene.record.settled(await scene.record.open())
            await asyncio.sleep(0.5)
        scene.receiver.behaviour = answer(200)
        assert await load.ask("still there")
        await scene.record.settled(await scene.record.open())

    assert all(worker.alive and "engine.died" not in worker.output for worker in workers)
    states = {row.state for event in await scene.record.events() for row in event.deliveries}
    assert {"failed", "delivered"} == states


def server_of(scene: Scene) -> Server:
    assert scene.site.server
    return scene.site.server


@contextlib.asynccontextmanager
async def stopped_hard(scene: Scene) -> AsyncIterator[None]:
    """Stop the server as a crash would, knowing exactly what was in flight; then start it."""
    async with scene.site.frozen():
        await scene.note_in_flight()
        await asyncio.to_thread(server_of(scene).stop, signal.SIGQUIT)
    try:
        yield
    finally:
        await asyncio.to_thread(server_of(scene).start)


@contextlib.asynccontextmanager
async def impatient(server: Server) -> AsyncIterator[None]:
    """Let every statement time out after a fifth of a second."""
    server.execute("ALTER DATABASE postgres SET statement_timeout = '200ms'")
    server.execute(EVERYBODY)
    try:
        yield
    finally:
        server.execute("ALTER DATABASE postgres RESET statement_timeout")
        server.execute(EVERYBODY)
