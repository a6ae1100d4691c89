"""The live hub of a web process: who watches which tenant, and the one ear that hears of changes.

A change is only a tick: the browser then fetches the fragment it shows, so that who may see what
is decided in one place. One listener per process, whatever the number of watchers; and what many
of them ask for after the same change is made once (`once`).
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import select

from app.database import Database
from app.wakeup import LIVE_CHANNEL, RECONNECT_S, Pulse, listen

log = structlog.get_logger(__name__)

#: How often SQLite's counters are read while anybody watches.
POLL_S: Final = 0.25
#: An idle stream says something this often, so that proxies keep it and browsers know it lives.
KEEP_ALIVE_S: Final = 15.0
#: Watchers are told at most this often, so that many changes cost few looks. One second is
#: promised from the fact to the page: the pulse, SQLite's poll and the look have to fit in too.
TICK_GAP_S: Final = 0.4
#: So many are told at once, and the next so many a little later: the first ones' look is made for
#: all, and nobody's request waits behind five hundred others.
TOLD_AT_ONCE: Final = 50
TOLD_EVERY_S: Final = 0.02
#: What was made for many is handed out no longer than this: a tick may get lost.
FRESH_S: Final = 2.0
#: More different wishes of one tenant than this are not kept.
KEPT_MAX: Final = 200

T = TypeVar("T")


class LiveHub:
    """Hands ticks to watchers. A watcher that is slow gets one tick for many: nothing queues."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._made: dict[str, dict[Hashable, tuple[float, asyncio.Task[Any]]]] = {}
        self._told_at: dict[str, float] = {}
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
                self._made.pop(tenant_id, None)
                self._told_at.pop(tenant_id, None)
            if not self._watchers:
                self._anybody.clear()

    async def once(self, tenant_id: str, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """Return what `make` gives: made once for all who ask with this key until the next change.

        Only while somebody watches the tenant, because only then its changes are heard.
        """
        if tenant_id not in self._watchers:
            return await make()
        kept = self._made.setdefault(tenant_id, {})
        now = asyncio.get_running_loop().time()
        since, task = kept.get(key, (0.0, None))
        if task is None or now - since > FRESH_S or (task.done() and _failed(task)):
            if len(kept) >= KEPT_MAX:
                kept.clear()
            task = asyncio.ensure_future(_run(make))
            kept[key] = now, task
        if task.done():
            return task.result()  # type: ignore[no-any-return]  # what `make` gave
        made: T = await asyncio.shield(task)  # one who goes away does not spoil it for the others
        return made

    def tell(self, tenant_id: str) -> None:
        """Tick the tenant's watchers: at once, or when the gap after the last tick is over."""
        if tenant_id not in self._watchers:
            return
        loop = asyncio.get_running_loop()
        now, at = loop.time(), self._told_at.get(tenant_id, 0.0) + TICK_GAP_S
        if at <= now:
            self._tick(tenant_id)
        elif at - now <= TICK_GAP_S:  # else one is on its way
            self._told_at[tenant_id] = at
            loop.call_at(at, self._tick, tenant_id)

    def _tick(self, tenant_id: str) -> None:
        self._told_at[tenant_id] = asyncio.get_running_loop().time()
        self._made.pop(tenant_id, None)
        loop, waiting = asyncio.get_running_loop(), list(self._watchers.get(tenant_id, ()))
        _wake(waiting[:TOLD_AT_ONCE])
        for n in range(TOLD_AT_ONCE, len(waiting), TOLD_AT_ONCE):
            later_s = n / TOLD_AT_ONCE * TOLD_EVERY_S
            loop.call_later(later_s, _wake, waiting[n : n + TOLD_AT_ONCE])

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


def _wake(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        event.set()


async def _run(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None
