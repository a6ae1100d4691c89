"""Redis as the broker is flushed, stopped and hung: deliveries go on by timer, calmly."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.chaos.pace import crowding
from tests.chaos.scene import Idle, Scene
from tests.redis_server import RedisServer, running_redis

#: What the workers' own timers find without any wake-up: a poll, and a little.
BY_TIMER_S = 2.0
AWAY_S = 2.0


@pytest.fixture
async def redis(scene: Scene) -> AsyncIterator[RedisServer]:
    """Let the installation have a Redis for its broker, for one test."""
    with running_redis() as server:
        await replace(scene, ONEPROTECT_QUEUE_URL=server.url)
        yield server
    await replace(scene)


async def replace(scene: Scene, **env: str) -> None:
    """Start all processes anew; nothing is in flight at such a time."""
    for process in scene.site.all:
        process.kill()
    scene.site.restart(**env)
    await scene.site.heal()


async def test_redis_flushed_stopped_and_hung_loses_nothing_and_nobody_runs_hot(
    scene: Scene, redis: RedisServer
) -> None:
    slowest_s = 0.0
    async with scene.load() as load:
        for blow in (redis.flush, redis.stop):
            await load.reached(10)
            blow()
            slowest_s = max(slowest_s, await scene.record.settled(await scene.record.open()))
        await load.reached(10)
    slowest_s = max(slowest_s, await scene.record.settled(await scene.record.open()))

    idle = Idle(scene.site)
    await asyncio.sleep(AWAY_S)
    idle.assert_quiet()
    told = [worker.output.count("broker.away") for worker in scene.site.workers]
    redis.start()
    for worker in scene.site.workers:
        await worker.says("broker.back")
    redis.freeze()
    assert await load.ask("while it hangs")
    slowest_s = max(slowest_s, await scene.record.settled(await scene.record.open()))
    redis.thaw()
    assert await load.ask("afterwards")

    assert 1 <= min(told) <= max(told) <= 10, f"{told} lines"
    total = await scene.reckon(load, "Redis flushed, stopped, hung", slowest_s)
    assert 0 == total.duplicates
    assert slowest_s < BY_TIMER_S * crowding()


async def test_without_redis_the_processes_start_and_stop_as_ever(
    scene: Scene, redis: RedisServer
) -> None:
    redis.stop()
    began = time.monotonic()
    took = await asyncio.gather(*(process.stop() for process in scene.site.all))
    scene.site.restart(ONEPROTECT_QUEUE_URL=redis.url)
    await scene.site.heal()
    started_s = time.monotonic() - began
    load = scene.load()
    assert await load.ask("without a broker")
    await scene.reckon(load, "Redis away at the start", started_s)

    assert max(took) < 10.0
    assert all("Traceback" not in process.output for process in scene.site.all)
