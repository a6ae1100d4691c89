"""The ceiling: our transport posting the same bytes to the same receiver, with no database."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from multiprocessing.connection import Connection
from typing import Final

import msgspec

from app.sending.egress import EgressAllow, EgressPolicy
from app.sending.outcome import OutcomeKind
from app.sending.transport import Sender
from app.tools.bench.children import answer, child
from app.tools.bench.plan import BenchError

#: Connections are opened in this share of a slice, before it counts.
WARM_UP: Final = 0.2


class Postings(msgspec.Struct, frozen=True):
    """What the bare clients post, where to, and how many at once; signed beforehand."""

    urls: list[str]
    allow: str
    headers: list[tuple[str, str]]
    body: bytes
    at_once: int


class Ceiling:
    """As many bare clients as there are workers; each slice is a measurement of its own."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes
        self._rates: list[float] = []

    @property
    def per_second(self) -> float:
        return sum(self._rates) / len(self._rates)

    async def measure(self, seconds: float) -> None:
        """Post for so long, while nothing else of ours has work."""
        for pipe in self._pipes:
            pipe.send(seconds)
        rates = [await asyncio.to_thread(answer, pipe) for pipe in self._pipes]
        if not all(rates):
            raise BenchError("the bare client had a request that was not answered with 200")
        self._rates.append(sum(rates))


@contextlib.asynccontextmanager
async def standing_by(postings: Postings, clients: int) -> AsyncIterator[Ceiling]:
    async with contextlib.AsyncExitStack() as stack:
        yield Ceiling([stack.enter_context(child(_post, postings)) for _ in range(clients)])


async def _post(pipe: Connection, postings: Postings) -> None:
    """Answer each wish for so many seconds with the rate; 0 if a request went wrong."""
    policy = EgressPolicy(allow=EgressAllow.parse(postings.allow), require_https=False)
    while seconds := await asyncio.to_thread(pipe.recv):
        sender = Sender(policy)
        await _slice(sender, postings, WARM_UP * seconds)
        pipe.send(await _slice(sender, postings, seconds))
        await sender.aclose()


async def _slice(sender: Sender, postings: Postings, seconds: float) -> float:
    started = time.perf_counter()
    ends = started + seconds

    async def post_on(number: int) -> int:
        url = postings.urls[number % len(postings.urls)]
        posted = 0
        while time.perf_counter() < ends:
            outcome = await sender.send(url, postings.headers, postings.body)
            if outcome.kind is not OutcomeKind.DELIVERED:
                return -1
            posted += 1
        return posted

    counts = await asyncio.gather(*(post_on(number) for number in range(postings.at_once)))
    took = time.perf_counter() - started
    return 0.0 if min(counts) < 0 else sum(counts) / took
