"""The guard at the socket: an attempt dials what it has just vetted, and nothing else."""

import socket
import ssl
from contextvars import ContextVar
from ipaddress import IPv6Address, ip_address
from itertools import islice
from time import monotonic, perf_counter
from typing import Any

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from app.sending.egress import EgressPolicy
from app.sending.networks import Address
from app.sending.resolver import LookupFailed, Resolver

VERDICT_S = 4.0  # a pooled connection may outlive what DNS said by no more than this
KEEP_ALIVE_S = 4.0  # shorter than the five seconds after which many servers hang up
MAX_DIALLED = 6  # every answer is judged, the first few are tried
MAX_VERDICTS = 4096
FOREIGN_S = 1.0  # an address that becomes ours is known as such this soon

Place = tuple[str, int]


class DestinationBlocked(Exception):
    """We refuse to connect there. The text is constant: no address, no name, no reason."""

    def __init__(self) -> None:
        super().__init__("the destination is not allowed")


class Trip:
    """What one attempt may dial, and what it saw on its way."""

    __slots__ = (
        "addresses",
        "answered_at",
        "dialled_at",
        "dns_s",
        "host",
        "peer",
        "ready_at",
        "started_at",
        "status",
        "tls_at",
    )

    def __init__(self) -> None:
        self.host = ""
        self.addresses: tuple[Address, ...] = ()
        self.peer: str | None = None
        self.status: int | None = None
        self.started_at = perf_counter()
        self.dns_s: float | None = None
        self.dialled_at: float | None = None  # stays None on a pooled connection
        self.tls_at: float | None = None
        self.ready_at: float | None = None
        self.answered_at: float | None = None


# The connector's hooks are called without a word about the request that they serve.
TRIP: ContextVar[Trip | None] = ContextVar("trip", default=None)


class Guard:
    """Vets names, remembers the verdict for seconds, and stands before every socket."""

    def __init__(
        self, policy: EgressPolicy, resolver: Resolver, *, verdict_s: float = VERDICT_S
    ) -> None:
        self._policy = policy
        self._resolver = resolver
        self._verdict_s = verdict_s
        self._verdicts: dict[Place, tuple[float, tuple[Address, ...]]] = {}
        self._foreign: dict[Address, float] = {}  # no address of ours, until then

    def connector(self, tls: ssl.SSLContext, *, proxied: bool) -> TCPConnector:
        """Build the pool. Behind an operator's proxy only the proxy itself is ever dialled."""
        return TCPConnector(
            resolver=_VettedNames(),
            socket_factory=_open_vetted if proxied else self._open_permitted,
            use_dns_cache=False,
            ssl=tls,
            limit=0,
            keepalive_timeout=KEEP_ALIVE_S,
        )

    async def vet(self, trip: Trip, place: Place, literal: Address | None) -> None:
        """Set what the trip may dial, or raise DestinationBlocked before any packet leaves."""
        trip.host = place[0]
        if self._recalls(trip, place):
            return
        addresses = (literal,) if literal is not None else await self._look_up(trip, place)
        if not all(self._permits(ip, place[1], place[0]) for ip in addresses):
            self._verdicts.pop(place, None)
            raise DestinationBlocked
        trip.addresses = addresses[:MAX_DIALLED]
        self._remember(place, trip.addresses)

    async def vet_proxy(self, trip: Trip, host: str, port: int) -> None:
        """Allow the operator's own proxy, wherever it stands, and nothing beside it."""
        if self._recalls(trip, (host, port)):
            return
        try:
            trip.addresses = (ip_address(host),)
        except ValueError:
            trip.addresses = await self._look_up(trip, (host, port))
        self._remember((host, port), trip.addresses)

    async def _look_up(self, trip: Trip, place: Place) -> tuple[Address, ...]:
        started = perf_counter()
        try:
            addresses = tuple(await self._resolver.resolve(*place))
        except OSError:
            raise LookupFailed from None
        if not addresses:
            raise LookupFailed
        trip.dns_s = perf_counter() - started
        return addresses

    def _recalls(self, trip: Trip, place: Place) -> bool:
        verdict = self._verdicts.get(place)
        if verdict is None or verdict[0] <= monotonic():
            return False
        trip.addresses = verdict[1]
        return True

    def _remember(self, place: Place, addresses: tuple[Address, ...]) -> None:
        _make_room(self._verdicts)
        self._verdicts[place] = (monotonic() + self._verdict_s, addresses)

    def _permits(self, ip: Address, port: int, host: str) -> bool:
        if self._policy.allow.covers(ip, port, host):
            return True
        return self._policy.permits(ip, port, host) and self._is_foreign(ip)

    def _is_foreign(self, ip: Address) -> bool:
        """Whether the address is none of this host; only a yes is remembered, and not for long."""
        if self._foreign.get(ip, 0.0) > monotonic():
            return True
        if is_own(ip):
            return False
        _make_room(self._foreign)
        self._foreign[ip] = monotonic() + FOREIGN_S
        return True

    def _open_permitted(self, info: tuple[Any, ...]) -> socket.socket:
        """Judge the very address of a connect once more: literals come this way too."""
        trip = TRIP.get()
        host = trip.host if trip is not None else ""
        if not self._permits(ip_address(info[4][0]), info[4][1], host):
            raise DestinationBlocked
        return _open_vetted(info)


class _VettedNames(AbstractResolver):
    """Gives the connector the addresses that the trip was vetted for; never looks up anything."""

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        trip = TRIP.get()
        if trip is None:
            raise DestinationBlocked
        return [_answer(host, port, ip) for ip in trip.addresses]

    async def close(self) -> None:
        """Hold nothing."""


class _ClockedTls(ssl.SSLObject):
    """Notes when the handshake begins, which no library reports."""

    def do_handshake(self) -> None:
        trip = TRIP.get()
        if trip is not None and trip.tls_at is None:
            trip.tls_at = perf_counter()
        super().do_handshake()


def clocked(tls: ssl.SSLContext) -> ssl.SSLContext:
    """Let a context of ours note the start of its handshakes."""
    tls.sslobject_class = _ClockedTls
    return tls


def is_own(ip: Address) -> bool:
    """Whether an address belongs to this host: a connected datagram socket sends no packet."""
    family = socket.AF_INET6 if isinstance(ip, IPv6Address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(ip), 9))
            return bool(probe.getsockname()[0] == str(ip))
    except OSError:
        return False


def _make_room(memory: dict[Any, Any]) -> None:
    """Forget the older half, before a memory of verdicts grows without bound."""
    if len(memory) >= MAX_VERDICTS:
        for key in list(islice(memory, MAX_VERDICTS // 2)):
            del memory[key]


def _open_vetted(info: tuple[Any, ...]) -> socket.socket:
    trip = TRIP.get()
    if trip is None or ip_address(info[4][0]) not in trip.addresses:
        raise DestinationBlocked
    if trip.dialled_at is None:
        trip.dialled_at = perf_counter()
    return socket.socket(info[0], info[1], info[2])


def _answer(host: str, port: int, ip: Address) -> ResolveResult:
    family = socket.AF_INET6 if isinstance(ip, IPv6Address) else socket.AF_INET
    return {
        "hostname": host,
        "host": str(ip),
        "port": port,
        "family": family,
        "proto": socket.IPPROTO_TCP,
        "flags": socket.AI_NUMERICHOST,
    }
