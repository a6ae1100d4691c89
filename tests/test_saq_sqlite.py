"""The SQLite queue under SAQ's stock Worker: run, retry, schedule, abort, cron, wake."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from saq.job import TERMINAL_STATUSES, CronJob, Job, Status
from saq.worker import Worker

from app.saq_sqlite import SqliteQueue
from tests.world import until

Context = dict[str, Any]
Open = Callable[..., Any]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Yield a function that opens one more queue on the same file, as another process would."""
    async with contextlib.AsyncExitStack() as stack:

        async def another(name: str = "default") -> SqliteQueue:
            queue = SqliteQueue(tmp_path / "queue.db", name)
            await queue.connect()
            stack.push_async_callback(queue.disconnect)
            return queue

        yield another


@pytest.fixture
async def queue(opened: Open) -> SqliteQueue:
    made: SqliteQueue = await opened()
    return made


@contextlib.asynccontextmanager
async def working(queue: SqliteQueue, *functions: Any, **more: Any) -> AsyncIterator[Worker[Any]]:
    worker: Worker[Any] = Worker(
        queue, functions=functions, concurrency=2, timers={"abort": 0.05, "schedule": 1}, **more
    )
    task = asyncio.create_task(worker.start())
    try:
        yield worker
    finally:
        await worker.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def finished(job: Job, within_s: float = 10.0) -> Job:
    async with asyncio.timeout(within_s):
        while job.status not in TERMINAL_STATUSES:
            await asyncio.sleep(0.01)
            await job.refresh()
        return job


async def has(seen: list[Any], number: int) -> None:
    async def enough() -> bool:
        return len(seen) >= number

    await until(enough, within_s=20)


async def is_gone(queue: SqliteQueue, key: str) -> bool:
    return await queue.job(key) is None


async def doubled(_ctx: Context, *, number: int) -> int:
    return number * 2


async def test_a_job_runs_once_and_its_result_can_be_read(queue: SqliteQueue) -> None:
    async with working(queue, ("double", doubled)):
        job = await queue.enqueue("double", number=21)
        assert job is not None
        done = await finished(job)

    assert (Status.COMPLETE, 42, 1) == (done.status, done.result, done.attempts)


async def test_many_jobs_run_once_each(queue: SqliteQueue) -> None:
    seen: list[int] = []

    async def note(_ctx: Context, *, number: int) -> None:
        seen.append(number)

    for number in range(200):
        await queue.enqueue("note", number=number)
    async with working(queue, ("note", note)):
        await has(seen, 200)
    assert sorted(seen) == list(range(200))


async def test_two_workers_share_a_file_and_no_job(opened: Open) -> None:
    seen: list[tuple[str, int]] = []

    def noting(who: str) -> Any:
        async def note(_ctx: Context, *, number: int) -> None:
            seen.append((who, number))
            await asyncio.sleep(0.002)

        return ("note", note)

    one, other = await opened(), await opened()
    for number in range(100):
        await one.enqueue("note", number=number)
    async with working(one, noting("one")), working(other, noting("other")):
        await has(seen, 100)

    assert sorted(number for _, number in seen) == list(range(100))
    assert {"one", "other"} == {who for who, _ in seen}


async def test_a_failing_job_is_tried_as_often_as_it_may(queue: SqliteQueue) -> None:
    tries: list[float] = []

    async def fail(_ctx: Context) -> None:
        tries.append(time.monotonic())
        raise RuntimeError("as it must")

    async with working(queue, ("fail", fail)):
        job = await queue.enqueue("fail", retries=3)
        assert job is not None
        done = await finished(job)

    assert (3, Status.FAILED) == (len(tries), done.status)
    assert "as it must" in str(done.error)


async def test_a_job_that_works_the_second_time_is_complete(queue: SqliteQueue) -> None:
    tries: list[int] = []

    async def flaky(_ctx: Context) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("the first time")
        return "fine"

    async with working(queue, ("flaky", flaky)):
        job = await queue.enqueue("flaky", retries=2, retry_delay=1)
        assert job is not None
        done = await finished(job)

    assert (Status.COMPLETE, "fine", 2) == (done.status, done.result, len(tries))


async def test_a_scheduled_job_waits_for_its_second(queue: SqliteQueue) -> None:
    due = int(time.time()) + 2
    job = await queue.enqueue("double", number=1, scheduled=due)
    assert job is not None
    waiting = (await queue.count("queued"), await queue.count("incomplete"))

    async with working(queue, ("double", doubled)):
        done = await finished(job)

    assert (0, 1) == waiting
    assert done.started >= due * 1000


async def test_an_aborted_job_is_stopped_while_it_runs(queue: SqliteQueue) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def long(_ctx: Context) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    async with working(queue, ("long", long)):
        job = await queue.enqueue("long", timeout=60)
        assert job is not None
        async with asyncio.timeout(5):
            await started.wait()
            await job.abort("no longer wanted")
            await stopped.wait()
        done = await finished(job)

    assert (Status.ABORTED, "no longer wanted") == (done.status, done.error)


async def test_a_job_aborted_before_it_runs_never_does(queue: SqliteQueue) -> None:
    job = await queue.enqueue("double", number=1)
    assert job is not None

    await job.abort("no longer wanted")

    assert await queue.dequeue(timeout=0.1) is None
    assert Status.ABORTED == (await finished(job)).status


async def test_a_key_that_is_unfinished_is_not_taken_again_and_afterwards_it_is(
    queue: SqliteQueue,
) -> None:
    first = await queue.enqueue("double", key="one", number=1)
    second = await queue.enqueue("double", key="one", number=2)
    assert first is not None
    async with working(queue, ("double", doubled)):
        await finished(first)
        third = await queue.enqueue("double", key="one", number=3)
        assert third is not None
        done = await finished(third)

    assert second is None
    assert 6 == done.result


async def test_a_cron_job_of_many_workers_is_pending_once(opened: Open) -> None:
    runs: list[float] = []

    async def tick(_ctx: Context) -> None:
        runs.append(time.monotonic())

    queues = [await opened() for _ in range(3)]
    cron = [CronJob(tick, cron="* * * * * */1", unique=True, ttl=-1)]
    async with contextlib.AsyncExitStack() as stack:
        for queue in queues:
            await stack.enter_async_context(working(queue, cron_jobs=cron))
        async with asyncio.timeout(10):
            while len(runs) < 2:
                assert await queues[0].count("incomplete") <= 1
                await asyncio.sleep(0.05)

    assert runs[1] - runs[0] > 0.5


async def test_another_process_is_woken_within_a_tenth_of_a_second(opened: Open) -> None:
    sender, receiver = await opened(), await opened()
    waits = []
    for number in range(5):
        waiting = asyncio.create_task(receiver.dequeue(timeout=5))
        await asyncio.sleep(0.15)  # asleep by now
        began = time.monotonic()
        await sender.enqueue("double", number=number)
        job = await waiting
        waits.append(time.monotonic() - began)
        assert job is not None
        assert job.kwargs == {"number": number}

    assert sorted(waits)[2] < 0.1, waits  # the middle one: a busy machine may be late once


async def test_waiting_without_work_ends_with_the_timeout(queue: SqliteQueue) -> None:
    began = time.monotonic()

    assert await queue.dequeue(timeout=0.2) is None

    assert 0.15 < time.monotonic() - began < 2


async def test_queues_of_other_names_keep_to_themselves(opened: Open) -> None:
    ours, theirs = await opened("ours"), await opened("theirs")
    await ours.enqueue("double", key="k", number=1)
    await theirs.enqueue("double", key="k", number=2)

    job = await ours.dequeue(timeout=1)

    assert job is not None
    assert job.kwargs == {"number": 1}
    assert (0, 1) == (await ours.count("queued"), await theirs.count("queued"))


async def test_a_dead_workers_job_is_requeued_or_ended_by_the_sweep(queue: SqliteQueue) -> None:
    again = await queue.enqueue("double", key="again", number=1, retries=2, timeout=1)
    ended = await queue.enqueue("double", key="ended", number=1, retries=1, timeout=1)
    fresh = await queue.enqueue("double", key="fresh", number=1, retries=2, timeout=600)
    for _ in range(3):  # a worker that takes the jobs and is killed
        job = await queue.dequeue(timeout=1)
        assert job is not None
        job.attempts += 1
        await queue.update(job)
    await asyncio.sleep(1.2)

    swept = await queue.sweep(abort=0)

    assert {"again", "ended"} == set(swept)
    states = {}
    for job in (again, ended, fresh):
        assert job is not None
        await job.refresh()
        states[job.key] = job.status
    assert states == {
        "again": Status.QUEUED, "ended": Status.ABORTED, "fresh": Status.ACTIVE,
    }  # fmt: skip


async def test_finished_jobs_are_forgotten_when_their_time_is_over(queue: SqliteQueue) -> None:
    async with working(queue, ("double", doubled)):
        kept = await queue.enqueue("double", key="kept", number=1, ttl=600)
        short = await queue.enqueue("double", key="short", number=1, ttl=1)
        never = await queue.enqueue("double", key="never", number=1, ttl=-1)
        assert kept is not None
        assert short is not None
        assert never is not None
        await finished(kept)
        await finished(short)
        await until(lambda: is_gone(queue, "never"))
    await asyncio.sleep(2.1)

    await queue.sweep()

    assert [True, False] == [await queue.job(key) is not None for key in ("kept", "short")]


async def test_workers_are_shown_while_they_say_that_they_live(queue: SqliteQueue) -> None:
    info: Any = {"stats": {"complete": 1}, "metadata": None, "queue_key": "x"}
    await queue.write_worker_info("w1", info, ttl=60)
    await queue.write_worker_info("w1", info | {"stats": {"complete": 2}}, ttl=60)
    await queue.write_worker_info("w2", info, ttl=-1)
    await queue.enqueue("double", number=1)

    told = await queue.info(jobs=True)

    assert {"w1"} == set(told["workers"])
    assert 2 == told["workers"]["w1"]["stats"]["complete"]
    assert (1, 0, 0, 1) == (
        told["queued"], told["active"], told["scheduled"], len(told["jobs"]),
    )  # fmt: skip


async def test_an_emptied_table_harms_nobody(queue: SqliteQueue, tmp_path: Path) -> None:
    ran = asyncio.Event()

    async def emptied(_ctx: Context) -> None:
        other = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
        other.execute("DELETE FROM saq_job")
        other.execute("DELETE FROM saq_worker")
        other.close()

    async def after(_ctx: Context) -> None:
        ran.set()

    async with working(queue, ("emptied", emptied), ("after", after)):
        for _ in range(3):
            await queue.enqueue("emptied", retries=2)
        await asyncio.sleep(0.3)
        await queue.enqueue("after")
        async with asyncio.timeout(5):
            await ran.wait()


async def test_a_queue_that_is_not_connected_says_so(tmp_path: Path) -> None:
    queue = SqliteQueue(tmp_path / "queue.db")

    with pytest.raises(RuntimeError, match="not connected"):
        await queue.count("queued")
    await queue.disconnect()  # and this is harmless
