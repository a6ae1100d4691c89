"""What the guard costs: one check of a URL at creation, and of an address at each connect."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from time import perf_counter
from typing import Final

from app.sending.egress import EgressPolicy
from app.sending.guard import Guard, Trip
from app.sending.networks import Address
from app.sending.url_safety import check_url

URLS: Final = (
    "https://hooks.example.com/oneprotect?tenant=acme",
    "https://hooks.bücher.example:8443/oneprotect",
    "https://8.8.8.8/hook",
    "https://[2606:4700::6810:84e5]/hook",
)
ROUNDS: Final = 2_000
REPEATS: Final = 5


def measure() -> dict[str, float]:
    """Return what each check takes, in microseconds, DNS not counted.

    `creation_check_us`: of a URL in a form. `connect_check_us`: of a name with an address that was
    never seen before. `pooled_check_us`: of a delivery on a connection that is open already.
    The best of some repeats, as timeit does: the rest is other programs' noise.
    """
    policy = EgressPolicy()
    return {
        "creation_check_us": _best(lambda: _create(policy)) / len(URLS),
        "connect_check_us": asyncio.run(_connects(Guard(policy, _Known(), verdict_s=0))),
        "pooled_check_us": asyncio.run(_connects(Guard(policy, _Known()))),
    }


def _best(work: Callable[[], None], rounds: int = ROUNDS) -> float:
    times = []
    for _ in range(REPEATS):
        started = perf_counter()
        for _ in range(rounds):
            work()
        times.append(perf_counter() - started)
    return min(times) / rounds * 1e6


def _create(policy: EgressPolicy) -> None:
    for url in URLS:
        check_url(url, policy)


async def _connects(guard: Guard) -> float:
    trips = [Trip() for _ in range(ROUNDS)]
    times = []
    for _ in range(REPEATS):
        started = perf_counter()
        for trip in trips:
            await guard.vet(trip, ("hooks.example.com", 443), None)
        times.append(perf_counter() - started)
    return min(times) / ROUNDS * 1e6


class _Known:
    """A resolver that knows the answer, another one each time: the network is not measured."""

    def __init__(self) -> None:
        first = ip_address("8.8.0.0")
        self._next = iter([first + n for n in range(ROUNDS * REPEATS)])

    async def resolve(self, _host: str, _port: int) -> list[Address]:
        return [next(self._next)]
