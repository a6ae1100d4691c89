"""The Redis broker with SAQ's stock Worker, on a real server that goes away and comes back."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from saq.worker import Worker
from structlog.testing import capture_logs

from app.saq_redis import REST_S, PatientRedisQueue
from app.wakeup import QUEUE_NAME, open_queue
from tests.redis_server import RedisServer, running_redis
from tests.world import until


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def server(own_server: RedisServer) -> RedisServer:
    own_server.flush()
    return own_server


@pytest.fixture
async def queue(server: RedisServer) -> AsyncIterator[PatientRedisQueue]:
    queue = await open_queue(server.url)
    assert isinstance(queue, PatientRedisQueue)
    yield queue
    await queue.disconnect()


@contextlib.asynccontextmanager
async def working(queue: PatientRedisQueue) -> AsyncIterator[list[int]]:
    """Run SAQ's own Worker; yield what its jobs were given."""
    done: list[int] = []

    async def note(_ctx: dict[str, Any], *, number: int) -> None:
        done.append(number)

    worker: Worker[Any] = Worker(queue, functions=[("note", note)], concurrency=8)
    task = asyncio.create_task(worker.start())
    try:
        yield done
    finally:
        worker.event.set()
        await task


async def test_jobs_of_one_process_are_done_in_another(
    server: RedisServer, queue: PatientRedisQueue
) -> None:
    other = await open_queue(server.url)
    async with working(queue) as done:
        for number in range(20):
            assert await other.enqueue("note", number=number, ttl=-1)
        await until(lambda: ready(done, 20))
    await other.disconnect()

    assert list(range(20)) == sorted(done)
    assert 0 == await queue.count("incomplete")


async def test_a_server_that_is_away_is_asked_rarely_and_one_line_is_logged_per_wait(
    server: RedisServer, queue: PatientRedisQueue, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(queue) as done:
        assert await queue.enqueue("note", number=1, ttl=-1)
        await until(lambda: ready(done, 1))
        with capture_logs() as logs:
            server.stop()
            asked = count_dequeues(queue)
            cpu_s = time.process_time()
            await asyncio.sleep(1.5)
            used_s = time.process_time() - cpu_s
            nobody = await queue.enqueue("note", number=2, ttl=-1)
            server.start()
            await until(lambda: again(queue, done))

    away = [line for line in logs if line["event"] == "broker.away"]
    waits = [line["wait_s"] for line in away]
    assert nobody is None, "a hint that cannot be given is left out"
    assert waits == [min(REST_S[0] * 2**n, REST_S[1]) for n in range(len(away))]
    assert 3 <= len(away) <= 6
    assert ["broker.back"] == [line["event"] for line in logs if line not in away]
    assert len(asked) < 100, f"{len(asked)} looks in 1.5 s"
    assert used_s < 0.5
    complaints = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [] == complaints, "SAQ hears of nothing"


async def test_a_flushed_server_goes_on_with_what_comes_next(
    server: RedisServer, queue: PatientRedisQueue
) -> None:
    async with working(queue) as done:
        for number in range(3):
            assert await queue.enqueue("note", number=number, ttl=-1)
            await until(lambda wanted=number + 1: ready(done, wanted))
            server.flush()

    assert [0, 1, 2] == done


async def test_a_worker_stops_at_once_while_the_server_is_away(
    server: RedisServer, queue: PatientRedisQueue
) -> None:
    async with working(queue):
        await asyncio.sleep(0.1)
        server.stop()
        await asyncio.sleep(0.3)
        began = time.monotonic()
    stopped_s = time.monotonic() - began
    await queue.disconnect()
    server.start()

    assert stopped_s < 3.0


async def test_a_server_that_is_away_at_the_start_is_waited_for(server: RedisServer) -> None:
    server.stop()
    queue = await open_queue(server.url)
    async with working(queue) as done:  # type: ignore[arg-type]  # the scheme says which it is
        await asyncio.sleep(0.2)
        server.start()
        await until(lambda: again(queue, done))  # type: ignore[arg-type]
    await queue.disconnect()

    assert QUEUE_NAME == queue.name


async def ready(done: list[int], count: int) -> bool:
    return len(done) >= count


async def again(queue: PatientRedisQueue, done: list[int]) -> bool:
    """Ring until a ring is heard."""
    before = len(done)
    await queue.enqueue("note", number=before, ttl=-1)
    await asyncio.sleep(0.1)
    return len(done) > before


def count_dequeues(queue: PatientRedisQueue) -> list[float]:
    asked: list[float] = []
    stock = queue.dequeue

    async def counted(*args: Any, **kwargs: Any) -> Any:
        asked.append(time.monotonic())
        return await stock(*args, **kwargs)

    queue.dequeue = counted  # type: ignore[method-assign]  # to count, not to change
    return asked
