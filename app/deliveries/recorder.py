"""Writes what came of attempts: whatever has ended since the last transaction, in one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.deliveries.store import Settled, Store
from app.observability import metrics

log = structlog.get_logger(__name__)

#: A batch is written when this much has ended, or this long after the first did; at most BATCH_MAX.
BATCH: Final = 200
BATCH_MAX: Final = 1_000
LINGER_S: Final = 0.004
#: How long to wait after the database refused us, doubling up to the last.
BACKOFF_S: Final = (0.1, 5.0)

OnSettled = Callable[[Sequence[Settled]], Awaitable[None]]


class Recorder:
    """Takes settled attempts at any time; one transaction at a time writes them."""

    def __init__(self, database: Database, store: Store, on_settled: OnSettled) -> None:
        self._database = database
        self._store = store
        self._on_settled = on_settled
        self._settled: list[Settled] = []
        self._ended = asyncio.Event()
        self.is_idle: Callable[[], bool] = lambda: False
        #: The database took no record lately: what would have to be recorded should not begin.
        self.is_stuck = False

    @property
    def backlog(self) -> int:
        """Attempts that ended and are not written yet."""
        return len(self._settled)

    def add(self, settled: Settled) -> None:
        self._settled.append(settled)
        self._ended.set()

    async def run(self) -> None:
        while True:
            await self._ended.wait()
            if len(self._settled) < BATCH and not self.is_idle():
                await asyncio.sleep(LINGER_S)
            self._ended.clear()
            # A record that has begun is never torn by the stop.
            await asyncio.shield(asyncio.ensure_future(self.flush()))

    async def flush(self) -> None:
        """Write all that has ended; try until the database takes it."""
        backoff = Backoff()
        while batch := self._settled[:BATCH_MAX]:
            try:
                async with self._database.hot() as c:
                    ours = await self._store.record(c, batch)
            except (SQLAlchemyError, OSError) as fault:
                self.is_stuck = True
                await backoff.wait("record", fault)
                continue
            backoff.reset()
            self.is_stuck = self.is_stuck and not ours  # nothing was written of what was fenced
            del self._settled[: len(batch)]
            for late in (s for s in batch if s.lease.id not in ours):
                metrics.late_records.inc()
                log.warning("attempt.fenced", delivery_id=late.lease.id, outcome=late.outcome)
            await self._on_settled([s for s in batch if s.lease.id in ours])


class Backoff:
    """Patience with a database that is away: no hot loop, and one log line per wait."""

    def __init__(self) -> None:
        self._wait_s = BACKOFF_S[0]

    async def wait(self, doing: str, fault: Exception) -> None:
        log.warning("database.away", doing=doing, fault=type(fault).__name__, wait_s=self._wait_s)
        await asyncio.sleep(self._wait_s)
        self._wait_s = min(self._wait_s * 2, BACKOFF_S[1])

    def reset(self) -> None:
        self._wait_s = BACKOFF_S[0]
