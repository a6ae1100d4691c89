"""Many browsers that watch: each holds a stream open and asks for its page at every tick."""

import asyncio
import contextlib
from collections.abc import Sequence
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Final

import msgspec

#: A page asks at most this often, however busy its tenant is; app.js waits as long.
GAP_S: Final = 0.5
#: So many connections are opened at once.
OPENING: Final = 25


class Crowd(msgspec.Struct, frozen=True):
    """Who watches what: one cookie per viewer, and the pages that they share out."""

    port: int
    cookies: list[str]
    paths: list[str]


class Seen(msgspec.Struct, frozen=True):
    """What the viewers saw since they were last asked."""

    streams: int
    seconds: list[float]  # from the tick to the page that it led to
    failed: int


async def watch(pipe: Connection, crowd: Crowd) -> None:
    """Watch until the pipe ends; say when all streams stand, then answer each wish with `Seen`."""
    seen = _Tally()
    opening = asyncio.Semaphore(OPENING)
    viewers = [
        asyncio.ensure_future(
            _Viewer(crowd.port, cookie, crowd.paths[n % len(crowd.paths)], seen).watch(opening)
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

    def take(self) -> Seen:
        taken = Seen(self.streams, self.seconds, self.failed)
        self.seconds, self.failed = [], 0
        return taken


class _Viewer:
    def __init__(self, port: int, cookie: str, path: str, seen: _Tally) -> None:
        self._port = port
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
                status, _ = await read_answer(reader)
                self._seen.seconds.append(perf_counter() - asked)
                self._seen.failed += status != b"200"
                await asyncio.sleep(max(0.0, asked + GAP_S - perf_counter()))


def _head(path: str, cookie: str, *lines: str) -> bytes:
    all_lines = (f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Cookie: session={cookie}", *lines)
    return "\r\n".join((*all_lines, "", "")).encode()


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    """Read one answer; return its status and the bytes of its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = head[9:12]
    if b"transfer-encoding: chunked" in head:
        return status, await _chunks(reader)
    length = int(_field(head.splitlines(), b"content-length: ") or 0)
    await reader.readexactly(length)
    return status, length


async def _chunks(reader: asyncio.StreamReader) -> int:
    total = 0
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
        total += size
    await reader.readline()
    return total


def _field(lines: Sequence[bytes], name: bytes) -> bytes:
    return next((line.removeprefix(name) for line in lines if line.startswith(name)), b"")
