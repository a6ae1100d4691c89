"""The four measurements, each on a stage of its own."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from app.tools.bench.plan import OVERDUE_ROWS, BenchError, Latency, Neighbour, Profile
from app.tools.bench.publishers import Publisher, publish_batches, publish_paced
from app.tools.bench.sink import Arrival
from app.tools.bench.stage import LOOK_EVERY_S, Stage, path

#: The lanes rest until every worker is there; none finds anything before.
_REST_S = 3_600.0

Publish = Callable[[Callable[[], Publisher], int, threading.Event], tuple[dict[str, float], float]]
#: Which paths must have seen each event.
Expected = Mapping[str, frozenset[bytes]]


class Figures(msgspec.Struct, kw_only=True):
    """What a profile found; `seconds` is what the rate is taken over."""

    expected: Expected
    arrivals: list[Arrival]
    seconds: float
    cpu_s: float | None
    intake_per_second: float | None = None
    latencies: Sequence[float] = ()
    neighbour: Neighbour | UnsetType = UNSET

    @property
    def deliveries(self) -> int:
        return sum(map(len, self.expected.values()))

    def faults(self) -> tuple[int, int]:
        """Return how many events are missing somewhere, and how many pairs came again."""
        times = Counter((key.decode(), seen) for _, seen, key in self.arrivals)
        pairs = {(key, wanted) for key, paths in self.expected.items() for wanted in paths}
        lost = {key for key, _ in pairs - times.keys()}
        return len(lost), sum(times[pair] - 1 for pair in pairs & times.keys())


async def throughput(stage: Stage) -> Figures:
    """Publish N events in batches while the workers deliver them: first publish to last receipt."""
    await stage.start(web=True)
    return await _published(stage, publish_batches)


async def latency(stage: Stage) -> Figures:
    """Publish one event after the other at a steady pace."""
    await stage.start(web=True)
    return await _published(stage, publish_paced)


async def backlog(stage: Stage) -> Figures:
    """Drain N rows that are due already, each the only one of its event; then time claims."""
    targets = stage.destinations
    events = await stage.insert_due(stage.plan.events, targets)
    await stage.let_rest(_REST_S)
    await stage.start(web=False)
    cpu_before = stage.cpu_seconds()
    await stage.let_rest(0)
    await stage.received(len(events))
    await stage.recorded()
    cpu_s = _less(stage.cpu_seconds(), cpu_before)
    arrivals = stage.sink.take()
    paths = [frozenset([path(number).encode()]) for number in range(len(targets))]
    return Figures(
        expected={event: paths[n % len(paths)] for n, event in enumerate(events)},
        arrivals=arrivals,
        seconds=_last(arrivals) - min(at for at, _, _ in arrivals),
        cpu_s=cpu_s,
    )


async def neighbour(stage: Stage) -> Figures:
    """Publish to a healthy destination: alone, then beside one that never answers."""
    await stage.start(web=True)
    alone = Latency.of((await _published(stage, publish_paced)).latencies)
    await stage.insert_due(OVERDUE_ROWS, [stage.unheard])
    await stage.received(1)  # the workers are at the one that never answers
    figures = await _published(stage, publish_paced)
    beside = Latency.of(figures.latencies)
    ratio = round(beside.p99 / alone.p99, 2) if alone.p99 and beside.p99 else None
    figures.neighbour = Neighbour(alone, beside, ratio)
    return figures


async def _published(stage: Stage, publish: Publish) -> Figures:
    cpu_before = stage.cpu_seconds()
    started = time.perf_counter()
    sent, intake_s = await _while_watching(stage, publish)
    await stage.received(len(sent) * len(stage.destinations))
    await stage.recorded()
    cpu_s = _less(stage.cpu_seconds(), cpu_before)
    arrivals = stage.sink.take()
    paths = frozenset(path(number).encode() for number in range(len(stage.destinations)))
    return Figures(
        expected=dict.fromkeys(sent, paths),
        arrivals=arrivals,
        seconds=_last(arrivals) - started,
        cpu_s=cpu_s,
        intake_per_second=round(len(sent) / intake_s, 1),
        latencies=[at - sent[key.decode()] for at, _, key in arrivals if key.decode() in sent],
    )


async def _while_watching(stage: Stage, publish: Publish) -> tuple[dict[str, float], float]:
    """Publish in a thread; show meanwhile how much arrived."""
    stopped = threading.Event()
    events = stage.plan.events
    work = asyncio.ensure_future(asyncio.to_thread(publish, stage.publisher, events, stopped))
    try:
        while not work.done():
            stage.fleet.check()
            stage.tell("Delivering", stage.sink.count(), events * len(stage.destinations))
            await asyncio.wait([work], timeout=LOOK_EVERY_S)
        return await work
    finally:
        stopped.set()


def _last(arrivals: Sequence[Arrival]) -> float:
    if not arrivals:
        raise BenchError("nothing arrived at the receiver")
    return max(at for at, _, _ in arrivals)


def _less(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


PROFILES: dict[Profile, Callable[[Stage], Awaitable[Figures]]] = {
    Profile.THROUGHPUT: throughput,
    Profile.LATENCY: latency,
    Profile.BACKLOG: backlog,
    Profile.NEIGHBOUR: neighbour,
}
