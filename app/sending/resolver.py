"""Names to addresses: a bounded look-up that a slow name server cannot use to stop the others."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from app.sending.networks import Address

DEADLINE_S = 3.0
QUICK_THREADS = 10
SLOW_THREADS = 4
MAX_REMEMBERED = 1024


class LookupFailed(OSError):
    """No address for the name; the text is constant, so that it tells nothing."""

    def __init__(self) -> None:
        super().__init__(socket.EAI_NONAME, "the name did not resolve")


class Resolver(Protocol):
    """The seam for tests. Raises OSError, or returns nothing, when there is no answer."""

    async def resolve(self, host: str, port: int) -> list[IPv4Address | IPv6Address]: ...


class SystemResolver:
    """The machine's own resolver, on threads of its own: a look-up cannot be cancelled.

    Each name occupies at most one thread. One that missed its deadline moves to the slow lane,
    so that a tenant's dead name server holds up only its like.
    """

    def __init__(self, *, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._quick = ThreadPoolExecutor(QUICK_THREADS, thread_name_prefix="dns")
        self._slow = ThreadPoolExecutor(SLOW_THREADS, thread_name_prefix="dns-slow")
        self._slow_names: dict[str, None] = {}
        self._running: dict[str, asyncio.Future[list[Address]]] = {}

    async def resolve(self, host: str, port: int) -> list[IPv4Address | IPv6Address]:
        """Every address of a name, in the system's order; LookupFailed after the deadline."""
        key = f"{host}:{port}"
        running = self._running.get(key) or self._start(key, host, port)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.shield(running)
        except TimeoutError:
            self._remember_as_slow(host)
            raise LookupFailed from None
        except (OSError, UnicodeError):
            raise LookupFailed from None

    def close(self) -> None:
        self._quick.shutdown(wait=False, cancel_futures=True)
        self._slow.shutdown(wait=False, cancel_futures=True)

    def _start(self, key: str, host: str, port: int) -> "asyncio.Future[list[Address]]":
        lane = self._slow if host in self._slow_names else self._quick
        running = asyncio.get_running_loop().run_in_executor(lane, _look_up, host, port)
        self._running[key] = running
        running.add_done_callback(lambda done: self._finish(key, host, done))
        return running

    def _finish(self, key: str, host: str, done: "asyncio.Future[list[Address]]") -> None:
        self._running.pop(key, None)
        if not done.cancelled() and done.exception() is None:
            self._slow_names.pop(host, None)

    def _remember_as_slow(self, host: str) -> None:
        if len(self._slow_names) >= MAX_REMEMBERED:
            self._slow_names.pop(next(iter(self._slow_names)))
        self._slow_names[host] = None


def _look_up(host: str, port: int) -> list[Address]:
    # The dot ends the name: neither search list nor hosts file may answer for it.
    name = f"{host}." if "." in host else host
    answers = socket.getaddrinfo(name, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
    return [ip_address(text) for text in dict.fromkeys(str(one[4][0]) for one in answers)]
