"""Tell other processes that something happened: work is due, or a tenant's picture changed.

Both are hints. A lost one costs a poll interval, a doubled one a cheap look; no guarantee rests
on them, and nobody who publishes an event waits for them.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, Self

import psycopg
import structlog
from saq.queue.base import Queue
from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, Database
from app.saq_sqlite import SqliteQueue

log = structlog.get_logger(__name__)

#: The SAQ job that makes a worker look for due deliveries.
WAKE_JOB: Final = "wake"
#: The SAQ job that works on a replay for a slice of time, and how long it may take at most.
REPLAY_JOB: Final = "replay"
JOB_TIMEOUT_S: Final = 60
#: Rings closer together than this become one.
RING_GAP_S: Final = 0.005
#: A tenant's watchers are told at most this often.
PULSE_GAP_S: Final = 0.2
#: After a hint that failed, the next one waits so long.
FAULT_GAP_S: Final = 1.0
#: The PostgreSQL channels on which tenants' changes, and work that is due, are told.
LIVE_CHANNEL: Final = "oneprotect_live"
DUE_CHANNEL: Final = "oneprotect_due"
RECONNECT_S: Final = (0.5, 10.0)
QUEUE_NAME: Final = "oneprotect"
#: SAQ's tables live in a schema of their own, where migrations never look.
POSTGRES_SCHEMA: Final = "saq"


class Pulse(Base):
    """A counter per tenant that rises with every change; how SQLite's watchers hear of one."""

    __tablename__ = "pulse"

    tenant_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    beat: Mapped[int] = mapped_column(BigInteger)


async def open_queue(broker_url: str) -> Queue:
    """Connect to the broker that the URL names; the caller disconnects it."""
    scheme = broker_url.partition(":")[0]
    if scheme == "sqlite":
        queue: Queue = SqliteQueue(Path(broker_url.removeprefix("sqlite:///")), QUEUE_NAME)
    elif scheme.startswith("redis"):
        from app.saq_redis import PatientRedisQueue

        queue = PatientRedisQueue.from_url(broker_url, name=QUEUE_NAME)
    else:
        queue = await _postgres_queue(broker_url)
    await queue.connect()
    return queue


async def _postgres_queue(url: str) -> Queue:
    from psycopg_pool import AsyncConnectionPool
    from saq.queue.postgres import PostgresQueue

    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {POSTGRES_SCHEMA}")
    pool = AsyncConnectionPool(
        url,
        kwargs={"autocommit": True, "options": f"-c search_path={POSTGRES_SCHEMA}"},
        min_size=1,
        max_size=6,
        check=AsyncConnectionPool.check_connection,
        open=False,
    )
    return PostgresQueue(pool=pool, name=QUEUE_NAME, min_size=1, max_size=6,
                         manage_pool_lifecycle=True)  # fmt: skip


class Bell:
    """Rings for the workers and for the watchers of tenants; coalesced, never awaited."""

    def __init__(self, database: Database, queue: Queue | None) -> None:
        self._database = database
        self._queue = queue
        self._tenants: set[str] = set()
        self._ring = Coalesced(self._enqueue, RING_GAP_S)
        self._pulse = Coalesced(self._tell, PULSE_GAP_S)

    def ring(self) -> None:
        """Call after a commit that made something due."""
        self._ring.call()

    def changed(self, tenant_ids: Iterable[str]) -> None:
        """Call after a commit that changed what these tenants would see."""
        self._tenants.update(tenant_ids)
        self._pulse.call()

    async def begin(self, job: str, **given: str) -> None:
        """Have a worker take up a job whose row is committed; a lost call costs a cron's tick."""
        if self._queue is None:
            return
        try:
            await self._queue.enqueue(job, ttl=-1, timeout=JOB_TIMEOUT_S, retries=1, **given)
        except Exception as fault:  # noqa: BLE001  # a hint: whatever the broker says
            log.warning("hint.lost", job=job, fault=type(fault).__name__)

    async def close(self) -> None:
        await self._ring.close()
        await self._pulse.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_fault: object) -> None:
        await self.close()

    async def _enqueue(self) -> None:
        if self._database.dialect == "postgresql":
            # Straight to the listening workers: a queued job would cost six statements more.
            async with self._database.begin() as c:
                await c.exec_driver_sql(f"SELECT pg_notify('{DUE_CHANNEL}', '')")
        elif self._queue is not None:
            await self._queue.enqueue(WAKE_JOB, ttl=-1, timeout=5, retries=1)

    async def _tell(self) -> None:
        tenants, self._tenants = sorted(self._tenants), set()
        async with self._database.begin() as c:
            if self._database.dialect == "sqlite":
                await c.exec_driver_sql(
                    "INSERT INTO pulse (tenant_id, beat) VALUES (?, 1)"
                    " ON CONFLICT DO UPDATE SET beat = beat + 1",
                    [(tenant,) for tenant in tenants],
                )
            else:
                await c.exec_driver_sql(
                    "SELECT pg_notify(%s, t) FROM unnest(%s::text[]) AS t", (LIVE_CHANNEL, tenants)
                )


async def listen(
    database: Database, channel: str, on_notice: Callable[[str], None], on_start: Callable[[], None]
) -> None:
    """Hear a PostgreSQL channel until cancelled; `on_start` after each time we were deaf."""
    wait_s = RECONNECT_S[0]
    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                await connection.execute(f"LISTEN {channel}".encode())
                on_start()
                wait_s = RECONNECT_S[0]
                async for notice in connection.notifies():
                    on_notice(notice.payload)
        except (psycopg.Error, OSError) as fault:
            log.warning("listen.away", channel=channel, fault=type(fault).__name__, wait_s=wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, RECONNECT_S[1])


class Coalesced:
    """Calls an action soon; calls that come while it runs or rests become one more."""

    def __init__(self, action: Callable[[], Awaitable[None]], gap_s: float) -> None:
        self._action = action
        self._gap_s = gap_s
        self._wanted = False
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def call(self) -> None:
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                await self._action()
            except Exception as fault:  # noqa: BLE001  # a hint: whatever the broker says, polls cover it
                log.warning("hint.lost", fault=type(fault).__name__)
                await self._rest(FAULT_GAP_S)
            await self._rest(self._gap_s)

    async def _rest(self, seconds: float) -> None:
        """Wait, but not while somebody waits for us to close."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def close(self) -> None:
        """Let a call that is under way end, and the one that was wanted meanwhile."""
        self._closing.set()
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=1.0)
            self._task.cancel()
