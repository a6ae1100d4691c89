"""The receiver of a measurement: answers as cheaply as can be, and remembers what came when."""

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any, Final

from app.tools.bench.children import answer, child

#: A request to a path that starts so is read and never answered.
NEVER: Final = "/never"
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_BACKLOG: Final = 1024

#: First byte (of the machine's monotonic clock), path, webhook-id.
Arrival = tuple[float, bytes, bytes]


class Sink:
    """The receiver, seen from the process that measures."""

    def __init__(self, pipe: Connection, port: int) -> None:
        self._pipe = pipe
        self.port = port

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def count(self) -> int:
        """Return how many requests came since the last `take`."""
        self._pipe.send("count")
        return int(answer(self._pipe))

    def take(self) -> list[Arrival]:
        """Return what came since the last `take`, and forget it there."""
        self._pipe.send("take")
        taken: list[Arrival] = answer(self._pipe)
        return taken


@contextlib.contextmanager
def running_sink() -> Iterator[Sink]:
    with child(_receive, None) as pipe:
        yield Sink(pipe, int(answer(pipe)))


async def _receive(pipe: Connection, _argument: None) -> None:
    gc.disable()  # it only ever gathers what is asked for
    arrivals: list[Arrival] = []
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(arrivals), "127.0.0.1", 0, backlog=_BACKLOG
    )
    pipe.send(server.sockets[0].getsockname()[1])
    # Until the other end is closed. A thread, because a reader of the loop would not block to send.
    while wish := await asyncio.to_thread(pipe.recv):
        pipe.send(len(arrivals) if wish == "count" else arrivals)
        if wish == "take":
            arrivals.clear()


class _Connection(asyncio.Protocol):
    """Just enough HTTP/1.1: a head, a Content-Length, the next request."""

    def __init__(self, arrivals: list[Arrival]) -> None:
        self._arrivals = arrivals
        self._rest = b""
        self._since = 0.0

    def connection_made(self, transport: Any) -> None:  # uvloop's own: no class of asyncio's
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        else:
            self._since = perf_counter()
        while data and (taken := self._take(data)):
            data = data[taken:]
        self._rest = data

    def _take(self, data: bytes) -> int:
        """Take one whole request; return its length, 0 if the rest is still to come."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        head = data[:end].lower()
        whole = end + 4 + int(_field(head, b"\r\ncontent-length: ") or 0)
        if len(data) < whole:
            return 0
        path = head.split(b" ", 2)[1]
        self._arrivals.append((self._since, path, _field(head, b"\r\nwebhook-id: ")))
        if not path.startswith(NEVER.encode()):
            self._transport.write(ANSWER)
        return whole


def _field(head: bytes, name: bytes) -> bytes:
    start = head.find(name)
    if start < 0:
        return b""
    end = head.find(b"\r\n", start + 2)
    return head[start + len(name) : end if end >= 0 else None]
