"""A SAQ queue in a SQLite file: SAQ brings none, and the embedded default has no other broker.

It carries wake-ups, cron and long user jobs between the processes of one machine. Nothing that
must survive lives here: an emptied queue loses no delivery.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Final

import aiosqlite
from saq.job import TERMINAL_STATUSES, Job, Status
from saq.queue.base import Queue
from saq.types import CountKind, QueueInfo, WorkerInfo

#: How often a sleeping process looks whether another one wrote to the file: one pragma, no read.
WATCH_S: Final = 0.015

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS saq_job (
    key TEXT NOT NULL, queue TEXT NOT NULL, status TEXT NOT NULL, scheduled INTEGER NOT NULL,
    expires_at INTEGER, job TEXT NOT NULL, PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS saq_job_waiting ON saq_job (queue, scheduled) WHERE status = 'queued';
CREATE TABLE IF NOT EXISTS saq_worker (
    id TEXT PRIMARY KEY, queue TEXT NOT NULL, expires_at INTEGER NOT NULL, info TEXT NOT NULL
) WITHOUT ROWID;
"""
_FINISHED: Final = ", ".join(f"'{status.value}'" for status in sorted(TERMINAL_STATUSES))


def _now() -> int:
    return int(time.time())


class SqliteQueue(Queue):
    """Works with SAQ's stock Worker; several processes may share the file."""

    def __init__(self, path: Path, name: str = "default") -> None:
        super().__init__(name=name, dump=None, load=None)
        self._path = path
        self._connection: aiosqlite.Connection | None = None
        self._changed = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def _db(self) -> aiosqlite.Connection:
        if self._connection is None:
            raise RuntimeError("the queue is not connected")
        return self._connection

    async def connect(self) -> None:
        await super().connect()
        if self._connection is not None:
            return
        self._connection = await aiosqlite.connect(self._path, isolation_level=None)
        for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=OFF"):
            await self._db.execute(f"PRAGMA {pragma}")
        await self._db.executescript(_SCHEMA)

    async def disconnect(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _rows(self, sql: str, *values: Any) -> list[Any]:
        # In one step: a cursor left open would hold an old snapshot, which cannot be written from.
        return list(await self._db.execute_fetchall(sql, values))

    # putting in

    async def _enqueue(self, job: Job) -> Job | None:
        stored = await self._rows(
            "INSERT INTO saq_job (key, queue, status, scheduled, job) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET status = excluded.status, scheduled = excluded.scheduled,"
            " job = excluded.job, expires_at = NULL"
            f" WHERE saq_job.status IN ({_FINISHED}) RETURNING key",
            job.key,
            self.name,
            job.status.value,
            job.scheduled,
            self.serialize(job),
        )
        if not stored:
            return None  # an unfinished job of this key exists
        self._changed.set()
        return job

    async def _retry(self, job: Job, error: str | None) -> None:
        delay = job.next_retry_delay()
        job.scheduled = _now() + int(delay) if delay else job.scheduled
        await self._store(job)
        self._changed.set()

    # taking out

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Job | None:
        """Return the next due job; wait for one up to `timeout` seconds, 0 means for ever."""
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(timeout or None):
                while True:
                    self._changed.clear()
                    job = await self._take()
                    if job is not None:
                        return job
                    await self._wait_for_change()
        except TimeoutError:
            return None

    async def _take(self) -> Job | None:
        due = "queue = ? AND status = 'queued' AND scheduled <= ?"
        if not await self._rows(f"SELECT 1 FROM saq_job WHERE {due} LIMIT 1", self.name, _now()):
            return None  # a read: the write lock belongs to the deliveries
        rows = await self._rows(
            "UPDATE saq_job SET status = 'active', job = json_set(job, '$.started', ?)"
            " WHERE queue = ? AND key = (SELECT key FROM saq_job"
            f" WHERE {due} ORDER BY scheduled LIMIT 1) AND status = 'queued' RETURNING job",
            _now() * 1000,
            self.name,
            self.name,
            _now(),
        )
        return self.deserialize(rows[0][0], Status.ACTIVE) if rows else None

    async def _wait_for_change(self) -> None:
        try:
            async with asyncio.timeout(1.0):  # scheduled jobs come due in whole seconds
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _watch(self) -> None:
        # data_version changes when another connection commits (sqlite.org/pragma.html).
        seen = None
        while True:
            version = (await self._rows("PRAGMA data_version"))[0][0]
            if version != seen:
                seen = version
                self._changed.set()
            await asyncio.sleep(WATCH_S)

    # looking at and finishing

    async def _store(self, job: Job) -> None:
        await self._db.execute(
            "UPDATE saq_job SET status = ?, scheduled = ?, job = ? WHERE queue = ? AND key = ?",
            (job.status.value, job.scheduled, self.serialize(job), self.name, job.key),
        )

    async def _update(self, job: Job, status: Status | None = None, **_kwargs: Any) -> None:
        if status is not None:
            job.status = status
        await self._store(job)

    async def _finish(
        self, job: Job, status: Status, *, result: Any = None, error: str | None = None
    ) -> None:
        if job.ttl < 0:
            await self._db.execute(
                "DELETE FROM saq_job WHERE queue = ? AND key = ?", (self.name, job.key)
            )
            return
        expires_at = _now() + job.ttl if job.ttl else None
        await self._db.execute(
            "UPDATE saq_job SET status = ?, job = ?, expires_at = ? WHERE queue = ? AND key = ?",
            (status.value, self.serialize(job), expires_at, self.name, job.key),
        )

    async def job(self, job_key: str) -> Job | None:
        return (await self.jobs([job_key]))[0]

    async def jobs(self, job_keys: Iterable[str]) -> list[Job | None]:
        found: list[Job | None] = []
        for key in job_keys:
            rows = await self._rows(
                "SELECT job, status FROM saq_job WHERE queue = ? AND key = ?", self.name, key
            )
            found.append(self.deserialize(*rows[0]) if rows else None)
        return found

    async def iter_jobs(
        self,
        statuses: list[Status] = list(Status),
        batch_size: int = 100,
    ) -> AsyncIterator[Job]:
        wanted, last = {status.value for status in statuses}, ""
        while rows := await self._rows(
            "SELECT job, status, key FROM saq_job WHERE queue = ? AND key > ? ORDER BY key LIMIT ?",
            self.name,
            last,
            batch_size,
        ):
            last = rows[-1][2]
            for payload, status, _ in rows:
                job = self.deserialize(payload, status)
                if job is not None and status in wanted:
                    yield job

    async def abort(self, job: Job, error: str, ttl: float = 5) -> None:
        job.error, job.ttl = error, int(ttl)
        current = await self.job(job.key)
        if current is not None and current.status == Status.ACTIVE:
            job.status = Status.ABORTING  # its worker polls for this and ends it
            await self._store(job)
            return
        await self.finish(job, Status.ABORTED, error=error)

    async def sweep(self, lock: int = 60, abort: float = 5.0) -> list[str]:
        """Forget what has expired, and end or requeue jobs whose worker is gone."""
        await self._db.execute("DELETE FROM saq_job WHERE expires_at < ?", (_now(),))
        await self._db.execute("DELETE FROM saq_worker WHERE expires_at < ?", (_now(),))
        swept = []
        async for job in self.iter_jobs([Status.ACTIVE, Status.ABORTING]):
            if not job.stuck:
                continue
            swept.append(job.key)
            if job.retryable and job.status == Status.ACTIVE:
                await self.retry(job, error=self.swept_error_message)
            else:
                await self.finish(job, Status.ABORTED, error=self.swept_error_message)
        return swept

    async def count(self, kind: CountKind) -> int:
        where = {
            "queued": "status = 'queued' AND scheduled <= ?",
            "incomplete": f"status NOT IN ({_FINISHED}) AND ? IS NOT NULL",
            "active": "status = 'active' AND ? IS NOT NULL",
        }[kind]
        rows = await self._rows(
            f"SELECT count(*) FROM saq_job WHERE queue = ? AND {where}", self.name, _now()
        )
        return int(rows[0][0])

    async def info(self, jobs: bool = False, offset: int = 0, limit: int = 10) -> QueueInfo:
        workers = await self._rows(
            "SELECT id, info FROM saq_worker WHERE queue = ? AND expires_at >= ?", self.name, _now()
        )
        listed = [job async for job in self.iter_jobs()] if jobs else []
        return QueueInfo(
            workers={key: self._load(info) for key, info in workers},
            name=self.name,
            queued=await self.count("queued"),
            active=await self.count("active"),
            scheduled=await self.count("incomplete") - await self.count("queued"),
            jobs=[job.to_dict() for job in listed[offset : offset + limit]],
        )

    async def write_worker_info(self, worker_id: str, info: WorkerInfo, ttl: int) -> None:
        await self._db.execute(
            "INSERT OR REPLACE INTO saq_worker (id, queue, expires_at, info) VALUES (?, ?, ?, ?)",
            (worker_id, self.name, _now() + ttl, self._dump(info)),
        )
