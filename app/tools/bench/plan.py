"""What a measurement is asked for, and what it answers."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType


class BenchError(Exception):
    """The measurement cannot be made, or would not mean anything; one line that says why."""


class Profile(StrEnum):
    """What is measured."""

    THROUGHPUT = "throughput"  # events over the API while the workers deliver them
    LATENCY = "latency"  # from the call that publishes one event to its first byte at the receiver
    BACKLOG = "backlog"  # what is due already, drained; and the cost of one claim
    NEIGHBOUR = "neighbour"  # a healthy destination beside one that never answers


#: Latency and neighbour publish at this pace, so many seconds long.
PACE_PER_SECOND: Final = 50
PACED_EVENTS: Final = PACE_PER_SECOND * 20
#: Rows that are due for the destination that never answers.
OVERDUE_ROWS: Final = 10_000
#: The claim is timed with so few due rows, and with `claim_rows`.
FEW_ROWS: Final = 10_000

_EVENTS: Final = {Profile.LATENCY: PACED_EVENTS, Profile.NEIGHBOUR: PACED_EVENTS}
_DESTINATIONS: Final = {Profile.LATENCY: 1, Profile.NEIGHBOUR: 1}

#: Told what goes on, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement; zero events or destinations means the profile's own number.

    Every event goes to every destination; in `backlog` each of the N rows is an event of its own.
    """

    profile: Profile = Profile.THROUGHPUT
    database_url: str = ""  # empty: SQLite in a scratch folder
    events: int = 0
    destinations: int = 0
    payload_bytes: int = 1024
    workers: int = 1
    claim_rows: int = 1_000_000
    metrics: bool = True
    tracing: bool = False

    def complete(self) -> "Plan":
        """Return the plan with the profile's own numbers in place of the zeros."""
        return msgspec.structs.replace(
            self,
            events=self.events or _EVENTS.get(self.profile, 20_000),
            destinations=self.destinations or _DESTINATIONS.get(self.profile, 10),
        )


class Latency(msgspec.Struct, frozen=True):
    """Percentiles in milliseconds; None where nothing was timed."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Latency":
        if not seconds:
            return cls()
        ranked = sorted(seconds)
        return cls(*(_ms(ranked[int(share * (len(ranked) - 1))]) for share in (0.5, 0.95, 0.99)))


class Neighbour(msgspec.Struct, frozen=True):
    """The healthy destination's latency alone, and beside the one that never answers."""

    alone_ms: Latency
    beside_ms: Latency
    p99_ratio: float | None


class Report(msgspec.Struct, kw_only=True):
    """The figures of one run, in the order in which they are printed.

    CPU is that of our processes and the database's, without receiver and load generator;
    `peak_rss_mb` is the largest of our processes. None: this profile or machine has no such figure.
    """

    profile: Profile
    engine: str
    events: int
    deliveries: int
    seconds: float
    deliveries_per_second: float
    intake_per_second: float | None
    latency_ms: Latency
    cpu_us_per_delivery: float | None
    ceiling_per_second: float
    ceiling_ratio: float
    peak_rss_mb: float | None
    lost: int
    duplicates: int
    claim_ms: dict[str, float] | UnsetType = UNSET  # by number of due rows
    neighbour: Neighbour | UnsetType = UNSET


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
