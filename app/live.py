"""The live hub of a web process: who watches which tenant, and the one ear that hears of changes.

A change is only a tick: the browser then fetches the fragment it shows, so that who may see what
is decided in one place. One listener per process, whatever the number of watchers.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Final

import structlog
from sqlalchemy import select

from app.database import Database
from app.wakeup import LIVE_CHANNEL, RECONNECT_S, Pulse, listen

log = structlog.get_logger(__name__)

#: How often SQLite's counters are read while anybody watches.
POLL_S: Final = 0.25
#: An idle stream says something this often, so that proxies keep it and browsers know it lives.
KEEP_ALIVE_S: Final = 15.0


class LiveHub:
    """Hands ticks to watchers. A watcher that is slow gets one tick for many: nothing queues."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._anybody = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    @property
    def watchers(self) -> int:
        return sum(len(events) for events in self._watchers.values())

    async def open(self) -> None:
        if self._database.dialect == "sqlite":
            ear = self._poll()
        else:
            # After a deaf spell everybody looks once: something may have happened.
            ear = listen(self._database, LIVE_CHANNEL, self.tell, self.tell_all)
        self._task = asyncio.create_task(ear)

    async def close(self) -> None:
        """End every stream, so that the server can stop."""
        self._closed.set()
        for events in list(self._watchers.values()):
            for event in events:
                event.set()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def watch(self, tenant_id: str) -> AsyncIterator[bool]:
        """Yield True for a change of the tenant, False as a sign of life; end with the process."""
        event = asyncio.Event()
        self._watchers[tenant_id].add(event)
        self._anybody.set()
        try:
            while not self._closed.is_set():
                try:
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        await event.wait()
                except TimeoutError:
                    yield False
                    continue
                event.clear()
                if not self._closed.is_set():
                    yield True
        finally:
            self._watchers[tenant_id].discard(event)
            if not self._watchers[tenant_id]:
                del self._watchers[tenant_id]
            if not self._watchers:
                self._anybody.clear()

    def tell(self, tenant_id: str) -> None:
        for event in self._watchers.get(tenant_id, ()):
            event.set()

    def tell_all(self) -> None:
        for tenant_id in list(self._watchers):
            self.tell(tenant_id)

    async def _poll(self) -> None:
        seen: dict[str, int] = {}
        while True:
            await self._anybody.wait()
            try:
                async with self._database.reading() as session:
                    beats = {p.tenant_id: p.beat for p in await session.scalars(select(Pulse))}
            except Exception as fault:  # noqa: BLE001  # the browser's own poll covers the gap
                log.warning("live.away", fault=type(fault).__name__)
                await asyncio.sleep(RECONNECT_S[0])
                continue
            for tenant_id, beat in beats.items():
                if seen.get(tenant_id) != beat:
                    self.tell(tenant_id)
            seen = beats
            await asyncio.sleep(POLL_S)
