"""How even tenants of very different size lie on several database servers: a simulation.

A tenant is never split: its rows share one key, `tenant_id`, and so one server. Sizes follow
Zipf's law, as customers do: the n-th largest makes 1/n^skew of what the largest makes.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

#: Tables that every server holds whole, because they are asked before the tenant is known, or are
#: of no tenant. All others are keyed by `tenant_id` first (a test holds that).
REFERENCE_TABLES: Final = frozenset(
    {
        "api_token",
        "member",
        "portal_session",
        "sign_in_window",
        "signing_key",
        "spent_state",
        "tenant",
        "worker_heartbeat",
    }
)
#: A tenant larger than this share of a server's fair part is taken out of its bucket.
LARGE: Final = 0.05
#: The hash sorts tenants into so many buckets per server; a bucket can be moved as one.
BUCKETS: Final = 32
REPORT_EVERY: Final = 50_000

Tell = Callable[[int, int], None]


class Balance(msgspec.Struct, frozen=True):
    """How loaded the servers are, each beside the fair part: 1.0 is even."""

    placement: str
    max_over_mean: float
    min_over_mean: float
    isolated: int
    loads: list[float]


class Simulation(msgspec.Struct, frozen=True):
    """Both placements, and the limit: no placement is more even than its largest tenant."""

    tenants: int
    shards: int
    skew: float
    seed: int
    largest_over_mean: float
    hashed: Balance
    isolated: Balance


def simulate(
    tenants: int,
    shards: int,
    skew: float,
    *,
    seed: int = 1,
    tell: Tell = lambda _done, _total: None,
) -> Simulation:
    """Place every tenant by its hash, then again with the large ones and the buckets moved."""
    total = sum(rank**-skew for rank in range(1, tenants + 1))
    fair = total / shards
    hashed, buckets, large = [0.0] * shards, [0.0] * shards * BUCKETS, list[float]()
    for rank, load in enumerate(_loads(tenants, skew), start=1):
        bucket = _bucket(rank, len(buckets), seed)
        hashed[bucket % shards] += load
        if load > LARGE * fair:
            large.append(load)
        else:
            buckets[bucket] += load
        if rank % REPORT_EVERY == 0:
            tell(rank, tenants)
    return Simulation(
        tenants=tenants,
        shards=shards,
        skew=skew,
        seed=seed,
        largest_over_mean=_rounded(1 / fair),
        hashed=_balance("by hash", hashed, fair, 0),
        isolated=_balance(
            "large ones isolated", _placed(large + buckets, shards), fair, len(large)
        ),
    )


def _loads(tenants: int, skew: float) -> Iterator[float]:
    return (rank**-skew for rank in range(1, tenants + 1))


def _bucket(rank: int, buckets: int, seed: int) -> int:
    digest = blake2b(b"%d:tenant-%d" % (seed, rank), digest_size=8).digest()
    return int.from_bytes(digest, "big") % buckets


def _placed(parts: Sequence[float], shards: int) -> list[float]:
    """Put each part, the largest first, where the least is so far."""
    servers = [0.0] * shards  # a heap of equals is one already
    for part in sorted(parts, reverse=True):
        heapq.heapreplace(servers, servers[0] + part)
    return servers


def _balance(placement: str, loads: Sequence[float], fair: float, isolated: int) -> Balance:
    parts = [_rounded(load / fair) for load in loads]
    return Balance(placement, max(parts), min(parts), isolated, parts)


def _rounded(value: float) -> float:
    return round(value, 3)
