"""The doors to the network: `Sender` for deliveries, `GuardedTransport` for any httpx client.

What the world does comes back as a value or as an httpx exception, by one table:

    DestinationBlocked      destination_not_allowed   ours; no packet was sent
    ConnectError            dns_error, connect_error, tls_error
    ConnectTimeout          timeout
    ReadTimeout             timeout
    ReadError               protocol_error            the connection broke
    RemoteProtocolError     protocol_error            what came is no whole HTTP answer
    RemoteProtocolError     response_too_large        headers beyond the limit
    ProxyError              connect_error
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from time import perf_counter, time
from typing import NoReturn

import aiohttp
import httpx
from aiohttp.http_exceptions import HttpProcessingError

from app.sending.egress import EgressPolicy
from app.sending.exchange import Exchange, Headers, HeadTooLarge, NeverFinal, Reply
from app.sending.guard import VERDICT_S, DestinationBlocked, Trip
from app.sending.outcome import (
    STORED_BODY_BYTES,
    Outcome,
    OutcomeKind,
    Timing,
    classify,
    kept_headers,
    retry_after_s,
    stored_text,
)
from app.sending.resolver import LookupFailed, Resolver

__all__ = ["DestinationBlocked", "GuardedTransport", "Sender"]

TIMEOUT_S = 15.0
MAX_BODY_BYTES = 1024 * 1024  # beyond it, the answer is a fault or an attack

PLAIN = (("Accept", "*/*"), ("Accept-Encoding", "identity"))
_FRAMING = frozenset(("connection", "content-length", "host", "keep-alive", "transfer-encoding"))

# Read from the top: we want the most specific row that fits.
TRANSLATION: tuple[tuple[type[Exception], type[Exception], OutcomeKind], ...] = (
    (DestinationBlocked, DestinationBlocked, OutcomeKind.DESTINATION_NOT_ALLOWED),
    (LookupFailed, httpx.ConnectError, OutcomeKind.DNS_ERROR),
    (aiohttp.ClientConnectorDNSError, httpx.ConnectError, OutcomeKind.DNS_ERROR),
    (aiohttp.ClientConnectorCertificateError, httpx.ConnectError, OutcomeKind.TLS_ERROR),
    (aiohttp.ClientConnectorSSLError, httpx.ConnectError, OutcomeKind.TLS_ERROR),
    (aiohttp.ClientProxyConnectionError, httpx.ProxyError, OutcomeKind.CONNECT_ERROR),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError, OutcomeKind.CONNECT_ERROR),
    (aiohttp.ClientConnectorError, httpx.ConnectError, OutcomeKind.CONNECT_ERROR),
    (aiohttp.SocketTimeoutError, httpx.ReadTimeout, OutcomeKind.TIMEOUT),
    (TimeoutError, httpx.ConnectTimeout, OutcomeKind.TIMEOUT),
    (HeadTooLarge, httpx.RemoteProtocolError, OutcomeKind.RESPONSE_TOO_LARGE),
    (NeverFinal, httpx.RemoteProtocolError, OutcomeKind.PROTOCOL_ERROR),
    (HttpProcessingError, httpx.RemoteProtocolError, OutcomeKind.PROTOCOL_ERROR),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError, OutcomeKind.PROTOCOL_ERROR),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError, OutcomeKind.PROTOCOL_ERROR),
    (aiohttp.ClientError, httpx.ReadError, OutcomeKind.PROTOCOL_ERROR),
    (OSError, httpx.ReadError, OutcomeKind.PROTOCOL_ERROR),
)
_WORLD = tuple(row[0] for row in TRANSLATION)


class Sender:
    """The engine's door: one attempt in, one Outcome out, whatever the world does."""

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        timeout_s: float = TIMEOUT_S,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        verdict_s: float = VERDICT_S,
    ) -> None:
        self._timeout_s = timeout_s
        self._exchange = Exchange(
            policy, resolver=resolver, ssl_context=ssl_context, proxy=proxy, verdict_s=verdict_s
        )

    async def send(self, url: str, headers: Headers, body: bytes) -> Outcome:
        """POST once, under one deadline for DNS, connect, TLS, sending and reading.

        Only cancellation passes, and ValueError for a header that would break the framing.
        """
        trip = Trip()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._attempt(trip, url, headers, body)
        except _WORLD as error:
            return _failed(trip, _row(error)[2])

    async def aclose(self) -> None:
        await self._exchange.aclose()

    async def _attempt(self, trip: Trip, url: str, headers: Headers, body: bytes) -> Outcome:
        route = self._exchange.route(url)
        reply = await self._exchange.ask(trip, route, [*headers, *PLAIN], body)
        try:
            kept, oversized = await _read(reply)
        except BaseException:
            reply.abort()
            raise
        if oversized:
            reply.abort()
        else:
            reply.finish()
        return _answered(trip, reply, kept, oversized=oversized)


class GuardedTransport(httpx.AsyncBaseTransport):
    """The same guarded exchange beneath an `httpx.AsyncClient`; redirects stay the client's."""

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        verdict_s: float = VERDICT_S,
    ) -> None:
        self._exchange = Exchange(
            policy, resolver=resolver, ssl_context=ssl_context, proxy=proxy, verdict_s=verdict_s
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; httpx's own exceptions, or DestinationBlocked before any packet."""
        headers = [pair for pair in request.headers.multi_items() if pair[0] not in _FRAMING]
        body = await request.aread()
        try:
            route = self._exchange.route(str(request.url))
            reply = await self._exchange.ask(
                Trip(), route, headers, body, method=request.method, patience=_patience(request)
            )
        except _WORLD as error:
            _raise_as_httpx(error, request)
        message = reply.message
        return httpx.Response(
            message.code, headers=list(message.raw_headers), stream=_Body(reply, request)
        )

    async def aclose(self) -> None:
        await self._exchange.aclose()


class _Body(httpx.AsyncByteStream):
    """The raw body as it arrives; whoever stops early gives up the connection."""

    def __init__(self, reply: Reply, request: httpx.Request) -> None:
        self._reply = reply
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await self._reply.body.readany():
                yield chunk
        except _WORLD as error:
            _raise_as_httpx(error, self._request)

    async def aclose(self) -> None:
        self._reply.finish()


async def _read(reply: Reply) -> tuple[bytes, bool]:
    """Keep the first 16 KiB, read on to the end, give up beyond the hard limit."""
    if reply.body.at_eof():
        return b"", False
    kept = b""
    total = 0
    announced = int(reply.message.headers.get("Content-Length", 0))
    while chunk := await reply.body.readany():
        total += len(chunk)
        if len(kept) < STORED_BODY_BYTES:
            kept += chunk
        if max(total, announced) > MAX_BODY_BYTES and len(kept) >= STORED_BODY_BYTES:
            return kept, True
    return kept, False


def _answered(trip: Trip, reply: Reply, kept: bytes, *, oversized: bool) -> Outcome:
    status, headers = reply.message.code, reply.message.headers
    timing = _timing(trip)
    return Outcome(
        kind=classify(status, oversized=oversized),
        duration_ms=int(timing.total_ms),
        response_status=status,
        response_body=stored_text(kept) if kept else "",
        response_headers=kept_headers(headers),
        retry_after_s=retry_after_s(headers.get("Retry-After"), now=time()),
        resolved_address=trip.peer,
        timing=timing,
    )


def _failed(trip: Trip, kind: OutcomeKind) -> Outcome:
    timing = _timing(trip)
    return Outcome(
        kind=kind,
        duration_ms=int(timing.total_ms),
        response_status=trip.status,
        resolved_address=trip.peer,
        timing=timing,
    )


def _timing(trip: Trip) -> Timing:
    total_ms = round((perf_counter() - trip.started_at) * 1000, 1)
    first_byte_ms = _ms(trip.started_at, trip.answered_at)
    if trip.dialled_at is None and trip.dns_s is None:
        return Timing(total_ms=total_ms, first_byte_ms=first_byte_ms)
    return Timing(
        total_ms=total_ms,
        dns_ms=None if trip.dns_s is None else round(trip.dns_s * 1000, 1),
        connect_ms=_ms(trip.dialled_at, trip.tls_at or trip.ready_at),
        tls_ms=_ms(trip.tls_at, trip.ready_at),
        first_byte_ms=first_byte_ms,
    )


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round((end - start) * 1000, 1)


def _row(error: Exception) -> tuple[type[Exception], type[Exception], OutcomeKind]:
    return next(row for row in TRANSLATION if isinstance(error, row[0]))


def _raise_as_httpx(error: Exception, request: httpx.Request) -> NoReturn:
    target, kind = _row(error)[1:]
    if issubclass(target, httpx.RequestError):
        raise target(kind, request=request) from error
    raise error


def _patience(request: httpx.Request) -> aiohttp.ClientTimeout:
    given = request.extensions.get("timeout", {})
    return aiohttp.ClientTimeout(connect=given.get("connect"), sock_read=given.get("read"))
