"""Many browsers that watch: each holds a stream open and asks for its page at every tick."""

import asyncio
import contextlib
import gzip
import re
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Final

import msgspec

#: A page asks at most this often, however busy its tenant is; app.js waits as long.
GAP_S: Final = 0.5
#: One viewer in so many also notes what its page shows, so that noting takes little.
WITNESS_EVERY: Final = 20
WITNESS: Final = 1  # of them; the second of the paths is the list of deliveries
#: How long the last change may take to show.
LAST_S: Final = 2.0
#: The newest delivery of a list.
_NEWEST: Final = re.compile(rb'<tr id="(dlv_\w+)"')
#: So many connections are opened at once.
OPENING: Final = 25


class Crowd(msgspec.Struct, frozen=True):
    """Who watches what: one cookie per viewer, and the pages that they share out."""

    port: int
    cookies: list[str]
    paths: list[str]


class Sight(msgspec.Struct, frozen=True):
    """What one viewer's page showed: the newest delivery, and when (time.monotonic)."""

    viewer: int
    newest: str
    at: float


class Seen(msgspec.Struct, frozen=True):
    """What the viewers saw since they were last asked."""

    streams: int
    seconds: list[float]  # from the tick to the page that it led to
    failed: int
    sights: list[Sight] = []


async def watch(pipe: Connection, crowd: Crowd) -> None:
    """Watch until the pipe ends; say when all streams stand, then answer each wish with `Seen`."""
    seen = _Tally()
    opening = asyncio.Semaphore(OPENING)
    viewers = [
        asyncio.ensure_future(
            _Viewer(crowd.port, cookie, crowd.paths[n % len(crowd.paths)], seen, n).watch(opening)
        )
        for n, cookie in enumerate(crowd.cookies)
    ]
    try:
        while await asyncio.to_thread(pipe.recv):
            pipe.send(seen.take())
    finally:
        for viewer in viewers:
            viewer.cancel()


class _Tally:
    def __init__(self) -> None:
        self.streams = 0
        self.failed = 0
        self.seconds: list[float] = []
        self.sights: list[Sight] = []

    def take(self) -> Seen:
        taken = Seen(self.streams, self.seconds, self.failed, self.sights)
        self.seconds, self.failed, self.sights = [], 0, []
        return taken


class _Viewer:
    def __init__(self, port: int, cookie: str, path: str, seen: _Tally, number: int) -> None:
        self._port = port
        self._number = number
        self._seen = seen
        self._stream = _head("/live", cookie, "Accept: text/event-stream")
        self._page = _head(
            path, cookie, "HX-Request: true", "HX-Target: live", "X-Background: 1",
            "Accept-Encoding: gzip",
        )  # fmt: skip
        self._ticked: float | None = None
        self._tick = asyncio.Event()

    async def watch(self, opening: asyncio.Semaphore) -> None:
        async with opening:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(self._stream)
            await reader.readuntil(b"event: hello")
        self._seen.streams += 1
        refreshing = asyncio.ensure_future(self._refresh())
        try:
            while chunk := await reader.read(65_536):
                if b"event: tick" in chunk:
                    self._ticked = self._ticked or perf_counter()
                    self._tick.set()
        finally:
            self._seen.streams -= 1
            refreshing.cancel()
            writer.close()

    async def _refresh(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.closing(writer):
            while True:
                await self._tick.wait()
                self._tick.clear()
                asked, self._ticked = perf_counter(), None
                writer.write(self._page)
                status, body = await read_answer(reader)
                self._note(body)
                self._seen.seconds.append(perf_counter() - asked)
                self._seen.failed += status != b"200"
                await asyncio.sleep(max(0.0, asked + GAP_S - perf_counter()))

    def _note(self, body: bytes) -> None:
        if self._number % WITNESS_EVERY != WITNESS:
            return
        if found := _NEWEST.search(gzip.decompress(body)):
            sight = Sight(self._number, found[1].decode(), time.monotonic())
            self._seen.sights.append(sight)


def delays_of(changes: list[tuple[str, float]], sights: list[Sight]) -> list[float]:
    """Return for each viewer that noted, and each change, how long until its page showed it."""
    delays: list[float] = []
    for viewer in {sight.viewer for sight in sights}:
        own = [sight for sight in sights if sight.viewer == viewer]
        for delivery_id, committed in changes:
            seen = next((sight.at for sight in own if sight.newest >= delivery_id), None)
            # One that never showed counts as what it would be at best: longer than we waited.
            delays.append((seen or committed + LAST_S) - committed)
    return delays


def _head(path: str, cookie: str, *lines: str) -> bytes:
    all_lines = (f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Cookie: session={cookie}", *lines)
    return "\r\n".join((*all_lines, "", "")).encode()


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one answer; return its status and its body, packed as it came."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = head[9:12]
    if b"transfer-encoding: chunked" in head:
        return status, await _chunks(reader)
    length = int(_field(head.splitlines(), b"content-length: ") or 0)
    return status, await reader.readexactly(length)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while size := int(await reader.readline(), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return b"".join(parts)


def _field(lines: Sequence[bytes], name: bytes) -> bytes:
    return next((line.removeprefix(name) for line in lines if line.startswith(name)), b"")
