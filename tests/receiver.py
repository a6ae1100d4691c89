"""A real HTTP(S) server on loopback that answers as it is told, however rudely.

    async with Receiver(answer(500)) as receiver:
        ...
    assert len(receiver.requests) == 1

It lives in the test's own loop and ends with its context. `tests/behaviours.py` has the manners.
"""

import asyncio
import socket
import ssl
from typing import Self

import trustme

from tests.behaviours import Behaviour, Conversation, Received, answer

MAX_HEAD = 1024 * 1024


class Receiver:
    """The server. `behaviour` may be changed at any time; `requests` is everything that came."""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        name: str | None = None,
        greeting: bytes = b"",
        deaf_s: float = 0.0,
    ) -> None:
        self.behaviour = behaviour or answer()
        self.requests: list[Received] = []
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._host = host
        self._name = name or host
        self._greeting = greeting
        self._deaf_s = deaf_s
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._news = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self._host, self.port, ssl=self._tls, limit=MAX_HEAD
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._open)
        for task, writer in self._open.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def place(self) -> str:
        """`host:port`, as an operator's allow list wants it."""
        return f"{self._name}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.place}/hook"

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]

    async def wait_for(self, count: int, timeout_s: float = 10.0) -> list[Received]:
        """Wait until so many requests have come; TimeoutError if they do not."""
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open[asyncio.create_task(self._serve(reader, writer))] = writer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._deaf_s:
            writer.transport.pause_reading()
            await asyncio.sleep(self._deaf_s)
            writer.transport.resume_reading()
        try:
            writer.write(self._greeting)
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the other side hung up: part of many a script
        finally:
            writer.close()
            self._open.pop(asyncio.current_task(), None)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await _read(reader)
        self.requests.append(request)
        async with self._news:
            self._news.notify_all()
        conversation = Conversation(request, len(self.requests), reader, writer)
        await self.behaviour(conversation)
        return not conversation.over


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = start.split(" ", 2)
    headers = [(name, value.strip()) for name, _, value in (one.partition(":") for one in lines)]
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Received(method, path, headers, await reader.readexactly(length))


class Authority:
    """A private certificate authority, and contexts that trust it or are vouched for by it."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def server(self, *names: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert(*names).configure_cert(context)
        return context

    @property
    def pem(self) -> bytes:
        return self._ca.cert_pem.bytes()

    def trust(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """Let a client's context trust this authority too."""
        self._ca.configure_trust(context)
        return context


def closed_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
