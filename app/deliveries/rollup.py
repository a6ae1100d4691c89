"""Durations and results, counted into time slots: what health and charts are read from."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

#: Slot lengths in seconds: minutes for the last hours, quarters of an hour for days.
SLOTS: Final = (60, 900)
#: Buckets per doubling of the duration: a percentile is read within ±9 %.
_PER_OCTAVE: Final = 4

Key = tuple[str, str, int, int, str, int]


def bucket_of(duration_ms: int) -> int:
    """Return the place of a duration on a logarithmic scale; 0 holds everything up to 1 ms."""
    return 0 if duration_ms <= 1 else min(round(math.log2(duration_ms) * _PER_OCTAVE), 32_000)


def bucket_ms(bucket: int) -> float:
    """Return the duration that stands for a bucket, in milliseconds."""
    return float(2 ** (bucket / _PER_OCTAVE))


def slot_of(epoch_s: float, length_s: int) -> int:
    """Return the start of the slot that holds a moment, in Unix seconds."""
    return int(epoch_s) // length_s * length_s


def count(
    attempts: Iterable[tuple[str, str, str, int]], epoch_s: float
) -> list[tuple[str, str, int, int, str, int, int]]:
    """Count (tenant, destination, result, duration) into rollup rows, in key order.

    The order is the same in every worker, so that two of them never wait for each other in a ring.
    """
    totals: Counter[Key] = Counter()
    slots = [(length, slot_of(epoch_s, length)) for length in SLOTS]
    for tenant_id, destination_id, result, duration_ms in attempts:
        bucket = bucket_of(duration_ms)
        for length, slot in slots:
            totals[tenant_id, destination_id, length, slot, result, bucket] += 1
    return [(*key, n) for key, n in sorted(totals.items())]


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """Return the duration in milliseconds that `share` of the counted attempts did not exceed."""
    total = sum(buckets.values())
    if not total:
        return None
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= share * total:
            return bucket_ms(bucket)
    return None
