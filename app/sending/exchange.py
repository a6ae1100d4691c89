"""One HTTP/1.1 exchange over the guarded connector: written in one piece, answered raw.

aiohttp gives the pool, TLS and the parser. Its session is left out: cookies, redirects, proxies of
the environment and hidden retries cannot happen, and an exchange costs a third of the time.
"""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

import httpx
from aiohttp import (
    ClientOSError,
    ClientRequest,
    ClientTimeout,
    ServerDisconnectedError,
    TCPConnector,
    encode_basic_auth,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.helpers import TimerNoop
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import StreamReader
from yarl import URL

from app.sending.egress import EgressPolicy
from app.sending.guard import TRIP, VERDICT_S, DestinationBlocked, Guard, Place, Trip, clocked
from app.sending.networks import Address
from app.sending.resolver import Resolver, SystemResolver
from app.sending.url_safety import SafeUrl, UnsafeUrl, check_url

READ_BYTES = 16 * 1024
MAX_HEAD_BYTES = 64 * 1024
MAX_FIELD_BYTES = 8190  # aiohttp's own default, named because the next line builds on it
FEW_HEADERS = MAX_HEAD_BYTES // MAX_FIELD_BYTES
MAX_INTERIM = 16  # an honest server sends one or two 1xx answers
MAX_ROUTES = 8192
CLOSE_S = 1.0

NO_TIMEOUT = ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
_NO_TIMER = TimerNoop()
_SWITCHING = 101

Headers = Sequence[tuple[str, str]]


class HeadTooLarge(Exception):
    """The headers of the answer go beyond the limit."""


class NeverFinal(Exception):
    """The server keeps announcing an answer and never gives one."""


@dataclass(frozen=True, slots=True)
class Route:
    """Everything about a destination that stays the same from one request to the next."""

    place: Place
    literal: Address | None
    request: ClientRequest  # what the pool wants to know of a request, made once
    target: str
    head: str

    @classmethod
    def to(cls, safe: SafeUrl, proxy: URL | None) -> "Route":
        url = URL(safe.url, encoded=True)
        request = ClientRequest("POST", url, loop=asyncio.get_running_loop(), proxy=proxy)
        target, head = url.raw_path_qs, f"Host: {url.host_port_subcomponent}\r\n"
        if proxy is not None and url.scheme == "http":
            target, head = safe.url, head + _proxy_authorization(proxy)
        return cls((safe.host, safe.port), safe.literal, request, target, head)


class Reply:
    """An answer whose head is here. Read `body`, then `finish`; or `abort`."""

    __slots__ = ("_connection", "_protocol", "body", "message")

    def __init__(
        self,
        connection: Connection,
        protocol: ResponseHandler,
        message: RawResponseMessage,
        body: StreamReader,
    ) -> None:
        self._connection = connection
        self._protocol = protocol
        self.message = message
        self.body = body

    def finish(self) -> None:
        """Give the connection back; the pool keeps it only if the body was read to its end."""
        self._connection.release()

    def abort(self) -> None:
        _abort(self._connection, self._protocol)


class Exchange:
    """Asks one place after another; what a Sender and an httpx client have in common."""

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        verdict_s: float = VERDICT_S,
    ) -> None:
        self._policy = policy
        self._own_resolver: SystemResolver | None = None
        if resolver is None:
            resolver = self._own_resolver = SystemResolver()
        self._guard = Guard(policy, resolver, verdict_s=verdict_s)
        self._tls = ssl_context or client_tls()
        self._proxy = URL(proxy) if proxy else None
        self._routes: dict[str, Route] = {}
        self._connector: TCPConnector | None = None

    def route(self, url: str) -> Route:
        """Find the way to a URL; DestinationBlocked if today's policy would not accept it."""
        route = self._routes.get(url)
        if route is None:
            try:
                route = Route.to(check_url(url, self._policy), self._proxy)
            except UnsafeUrl:
                raise DestinationBlocked from None
            if len(self._routes) >= MAX_ROUTES:
                self._routes.pop(next(iter(self._routes)))
            self._routes[url] = route
        return route

    async def ask(
        self,
        trip: Trip,
        route: Route,
        headers: Headers,
        body: bytes,
        *,
        method: str = "POST",
        patience: ClientTimeout = NO_TIMEOUT,
    ) -> Reply:
        """Send one request and wait for the head of its answer."""
        request = _head(method, route, headers, body) + body
        TRIP.set(trip)
        await self._vet(trip, route)
        try:
            return await self._once(trip, route, request, method, patience)
        except (ServerDisconnectedError, ClientOSError):
            if trip.dialled_at is not None:
                raise
            # The server hung up on an idle connection while we wrote. A webhook carries its id for
            # exactly this: better twice than a failure that nobody caused.
            return await self._once(trip, route, request, method, patience)

    async def aclose(self) -> None:
        if self._connector is not None:
            # A peer that does not read can keep a closing connection open for ever.
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._connector.close()
        if self._own_resolver is not None:
            self._own_resolver.close()

    async def _vet(self, trip: Trip, route: Route) -> None:
        if self._proxy is None:
            await self._guard.vet(trip, route.place, route.literal)
        else:
            await self._guard.vet_proxy(trip, str(self._proxy.host), self._proxy.port or 80)

    async def _once(
        self, trip: Trip, route: Route, request: bytes, method: str, patience: ClientTimeout
    ) -> Reply:
        connection, protocol, transport = await self._connected(route, patience)
        if trip.dialled_at is not None:
            trip.ready_at = perf_counter()
        try:
            trip.peer = _host_of(transport.get_extra_info("peername"))
            protocol.set_response_params(
                timer=_NO_TIMER,
                skip_payload=method == "HEAD",
                read_until_eof=True,
                auto_decompress=False,
                read_timeout=patience.sock_read,
                read_bufsize=READ_BYTES,
                max_field_size=MAX_FIELD_BYTES,
            )
            transport.write(request)
            protocol.start_timeout()
            message, body = await _final(protocol)
        except BaseException:
            _abort(connection, protocol)
            raise
        trip.answered_at = perf_counter()
        trip.status = message.code
        return Reply(connection, protocol, message, body)

    async def _connected(
        self, route: Route, patience: ClientTimeout
    ) -> tuple[Connection, ResponseHandler, asyncio.WriteTransport]:
        if self._connector is None:
            self._connector = self._guard.connector(self._tls, proxied=self._proxy is not None)
        while True:
            connection = await self._connector.connect(route.request, [], patience)
            protocol = connection.protocol
            # Bytes that came unasked on an idle connection would answer the wrong request.
            if protocol is not None and protocol.transport and not protocol.should_close:
                return connection, protocol, protocol.transport
            connection.close()


def client_tls() -> ssl.SSLContext:
    """TLS that trusts the public authorities, whatever the environment says."""
    return clocked(httpx.create_ssl_context(trust_env=False))


async def _final(protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
    """Read on until an answer that is not interim."""
    try:
        for _ in range(MAX_INTERIM):
            message, body = await protocol.read()
            if message.code == _SWITCHING or not 100 <= message.code <= 199:  # noqa: PLR2004
                _refuse_large_head(message)
                return message, body
    except HttpProcessingError as error:
        if isinstance(error.__cause__, LineTooLong) or "Too many headers" in error.message:
            raise HeadTooLarge from None
        raise
    raise NeverFinal


def _refuse_large_head(message: RawResponseMessage) -> None:
    fields = message.raw_headers
    if len(fields) > FEW_HEADERS and sum(len(n) + len(v) for n, v in fields) > MAX_HEAD_BYTES:
        raise HeadTooLarge


def _head(method: str, route: Route, headers: Headers, body: bytes) -> bytes:
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
    # A break inside a field would let its author write the rest of the request.
    lines = len(headers)
    if fields.count("\r") != lines or fields.count("\n") != lines or "\0" in fields:
        raise ValueError("a header holds a line break or a NUL")
    if not fields.isascii():
        raise ValueError("a header holds a character beyond ASCII")
    length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
    return f"{method} {route.target} HTTP/1.1\r\n{route.head}{fields}{length}\r\n".encode()


def _abort(connection: Connection, protocol: ResponseHandler) -> None:
    # A plain close would wait for a peer that never reads what we have written.
    protocol.abort()
    connection.close()


def _host_of(peername: object) -> str | None:
    return str(peername[0]) if isinstance(peername, tuple) else None


def _proxy_authorization(proxy: URL) -> str:
    if proxy.user is None:
        return ""
    return f"Proxy-Authorization: {encode_basic_auth(proxy.user, proxy.password or '')}\r\n"
