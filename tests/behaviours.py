"""What receivers do on the open Internet: one coroutine function each, for a `Receiver`."""

import asyncio
import gzip
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

REASONS = {200: "OK", 204: "No Content", 304: "Not Modified", 410: "Gone", 500: "Error"}


@dataclass(frozen=True)
class Received:
    """One request as it came off the wire."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    at: float = field(default_factory=time.time)

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever its case."""
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)

    @property
    def named(self) -> dict[str, str]:
        return dict(self.headers)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Conversation:
    """The server's side of one request: what came, and the means to answer."""

    def __init__(
        self,
        request: Received,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.request = request
        self.number = number
        self.reader = reader
        self.writer = writer
        self.over = False

    async def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))
        await self.writer.drain()

    async def answer(
        self,
        status: int = 200,
        body: bytes = b"ok",
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if status not in {204, 304}:
            lines.append(f"content-length: {len(body)}")
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1"), body)

    def close(self) -> None:
        """End the connection after this answer."""
        self.over = True

    def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        peer = self.writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.over = True


Behaviour = Callable[[Conversation], Awaitable[None]]


def answer(
    status: int = 200, body: bytes = b"ok", headers: Sequence[tuple[str, str]] = ()
) -> Behaviour:
    """Always the same answer."""

    async def behave(talk: Conversation) -> None:
        await talk.answer(status, body, headers)

    return behave


def redirect(location: str, status: int = 302) -> Behaviour:
    return answer(status, b"", [("location", location)])


def set_cookie(cookie: str = "session=stolen; Path=/") -> Behaviour:
    return answer(200, b"ok", [("set-cookie", cookie)])


def fail_first(count: int, status: int = 500) -> Behaviour:
    """Fail so many requests, then answer 200."""

    async def behave(talk: Conversation) -> None:
        await talk.answer(status if talk.number <= count else 200)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One behaviour after the other; the last one stays."""

    async def behave(talk: Conversation) -> None:
        await behaviours[min(talk.number, len(behaviours)) - 1](talk)

    return behave


def slow(seconds: float, status: int = 200) -> Behaviour:
    async def behave(talk: Conversation) -> None:
        await asyncio.sleep(seconds)
        await talk.answer(status)

    return behave


async def never(talk: Conversation) -> None:
    """Take the request and say nothing, until the test ends."""
    await asyncio.sleep(3600)


async def reset(talk: Conversation) -> None:
    """Take the request, then drop the connection."""
    talk.reset()


async def hang_up(talk: Conversation) -> None:
    """Take the request, then close without a word."""
    talk.close()


async def reset_mid_body(talk: Conversation) -> None:
    await talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly ten b")
    await asyncio.sleep(0.05)
    talk.reset()


async def truncated_chunk(talk: Conversation) -> None:
    await talk.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20\r\nshort")
    talk.close()


async def bad_chunk(talk: Conversation) -> None:
    await talk.send(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nshort\r\n0\r\n\r\n"
    )
    talk.close()


async def garbage(talk: Conversation) -> None:
    await talk.send(b"\x00\x01SSH-2.0-OpenSSH_9.6\r\n\r\n")
    talk.close()


def drip(interval_s: float = 1.0) -> Behaviour:
    """A body of one byte at a time, without end."""

    async def behave(talk: Conversation) -> None:
        await talk.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await talk.send(b"1\r\n.\r\n")
            await asyncio.sleep(interval_s)

    return behave


def endless_103(interval_s: float = 0.0) -> Behaviour:
    """Early hints, for ever."""

    async def behave(talk: Conversation) -> None:
        while True:
            await talk.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
            await asyncio.sleep(interval_s)

    return behave


def early_hints(count: int) -> Behaviour:
    """A few early hints, then the answer."""

    async def behave(talk: Conversation) -> None:
        await talk.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * count)
        await talk.answer()

    return behave


def large_body(size: int = 10 * 1024 * 1024, *, announced: bool = True) -> Behaviour:
    """So many bytes, with a length or in chunks."""

    async def behave(talk: Conversation) -> None:
        how = f"content-length: {size}" if announced else "transfer-encoding: chunked"
        await talk.send(f"HTTP/1.1 200 OK\r\n{how}\r\n\r\n".encode())
        piece = b"x" * 65_536
        for _ in range(size // len(piece)):
            await talk.send(piece if announced else b"10000\r\n" + piece + b"\r\n")
        if not announced:
            await talk.send(b"0\r\n\r\n")

    return behave


def gzip_bomb(size: int = 64 * 1024 * 1024) -> Behaviour:
    """A small body that would unfold to so many bytes."""
    bomb = _bomb(size)
    return answer(200, bomb, [("content-encoding", "gzip")])


@cache
def _bomb(size: int) -> bytes:
    return gzip.compress(b"\0" * size, 9)


def huge_headers(total: int = 100 * 1024, count: int = 100) -> Behaviour:
    """Headers of so many bytes in all."""
    value = "y" * (total // count)
    return answer(200, b"ok", [(f"x-filler-{at}", value) for at in range(count)])


async def http_1_0(talk: Conversation) -> None:
    """An old server: no length, the end of the connection ends the body."""
    await talk.send(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nold but fine")
    talk.close()


async def no_reason(talk: Conversation) -> None:
    await talk.send(b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n")


async def unasked_answer(talk: Conversation) -> None:
    """Two answers for one request: the second one waits for a victim."""
    await talk.answer(200, b"first")
    await asyncio.sleep(0.05)
    await talk.answer(299, b"poison")


def tunnel(port: int) -> Behaviour:
    """A proxy that connects every CONNECT to one port of loopback."""

    async def behave(talk: Conversation) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await talk.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(talk.reader, writer), _pump(reader, talk.writer))
        talk.close()

    return behave


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
    finally:
        writer.close()
