"""What the portal is measured with, and what comes out."""

import msgspec
from msgspec import UNSET, UnsetType

#: Changes per second while the viewers watch: the most that a tenant is told of.
CHANGES_PER_S = 5


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement."""

    database_url: str = ""  # empty: SQLite in a scratch folder
    deliveries: int = 1_000_000
    destinations: int = 20
    viewers: int = 500
    rounds: int = 40  # how often each page is asked for
    seconds: float = 15.0  # how long the viewers watch


class PageTimes(msgspec.Struct, frozen=True):
    """One page, asked for again and again by one person; `kb` is what goes over the wire."""

    p50_ms: float
    p95_ms: float
    kb: float


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The web process while all viewers watch one tenant that changes.

    `statements_per_change` are the web process's; `pulse_looks_per_s` are SQLite's looks for
    changes, one per process, which are no part of it. `refresh_ms` is from the question to the
    page, `seen_ms` from a change's commit to a page that shows it.
    """

    viewers: int
    changes: int
    refreshes: int
    failed: int
    statements_per_change: float
    pulse_looks_per_s: float
    refresh_p50_ms: float | None
    refresh_p95_ms: float | None
    seen_p50_ms: float | None
    seen_p95_ms: float | None
    cpu_percent: float | None
    rss_before_mb: float | None
    rss_mb: float | None


class Report(msgspec.Struct, kw_only=True):
    """The figures of one run."""

    engine: str
    deliveries: int
    fill_seconds: float
    pages: dict[str, PageTimes]
    slowest_p95_ms: float
    live: Live | UnsetType = UNSET
