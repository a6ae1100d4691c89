"""SAQ's Redis queue, made patient: the stock one asks a server that is away without a rest.

It carries hints like the other queues, so nothing here raises when the server is away: what cannot
be asked is left out, one line is logged per wait, and the workers' own timers go on.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Self, TypeVar

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from saq.job import Job, Status
from saq.queue.redis import RedisQueue
from saq.types import WorkerInfo

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: How long to leave a server alone after it failed us, doubling up to the last.
REST_S: Final = (0.1, 5.0)
#: One wait for a job; the socket gives up a little later, so that a dead link is noticed.
BLOCK_S: Final = 5.0
SILENT_S: Final = BLOCK_S + 3.0
#: How long a sweep waits for the worker of a stuck job, which is most likely dead.
ABORT_S: Final = 0.1


class PatientRedisQueue(RedisQueue):
    """Works with SAQ's stock Worker; its tasks share one rest while the server is away."""

    _wait_s = REST_S[0]
    _rests_until = 0.0

    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Self:
        redis = Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 1),  # a connection from before a restart; the rest is ours
            socket_connect_timeout=SILENT_S,
            socket_timeout=SILENT_S,
        )
        return cls(redis, **kwargs)

    async def disconnect(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await super().disconnect()

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Job | None:
        """Return the next due job; None after a while without one, or without a server."""
        if (left_s := self._rests_until - time.monotonic()) > 0:
            await asyncio.sleep(left_s)
        stock = super().dequeue
        return await self._or(None, lambda: stock(timeout or BLOCK_S, poll_interval))

    async def schedule(self, lock: int = 1) -> list[str]:
        stock = super().schedule
        return await self._or([], lambda: stock(lock))

    async def sweep(self, lock: int = 60, abort: float = ABORT_S) -> list[str]:
        stock = super().sweep
        return await self._or([], lambda: stock(lock, abort))

    async def jobs(self, job_keys: Iterable[str]) -> list[Job | None]:
        stock, keys = super().jobs, list(job_keys)
        return await self._or([None] * len(keys), lambda: stock(keys))

    async def write_worker_info(self, worker_id: str, info: WorkerInfo, ttl: int) -> None:
        stock = super().write_worker_info
        await self._or(None, lambda: stock(worker_id, info, ttl))

    async def _enqueue(self, job: Job) -> Job | None:
        stock = super()._enqueue
        return await self._or(None, lambda: stock(job))

    async def _update(self, job: Job, status: Status | None = None, **kwargs: Any) -> None:
        stock = super()._update
        await self._or(None, lambda: stock(job, status, **kwargs))

    async def _retry(self, job: Job, error: str | None) -> None:
        stock = super()._retry
        await self._or(None, lambda: stock(job, error))

    async def _finish(
        self, job: Job, status: Status, *, result: Any = None, error: str | None = None
    ) -> None:
        stock = super()._finish
        await self._or(None, lambda: stock(job, status, result=result, error=error))

    async def _or(self, otherwise: T, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the server; answer `otherwise` when it is away, or was a moment ago."""
        if time.monotonic() < self._rests_until:
            return otherwise
        try:
            answer = await ask()
        except (RedisError, OSError) as fault:
            self._rest(fault)
            return otherwise
        if self._wait_s != REST_S[0]:
            self._wait_s = REST_S[0]
            log.info("broker.back")
        return answer

    def _rest(self, fault: Exception) -> None:
        if time.monotonic() < self._rests_until:
            return  # what was under way failed with the first that did
        log.warning("broker.away", fault=type(fault).__name__, wait_s=self._wait_s)
        self._rests_until = time.monotonic() + self._wait_s
        self._wait_s = min(self._wait_s * 2, REST_S[1])
