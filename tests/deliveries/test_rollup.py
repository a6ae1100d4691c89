"""Counting attempts into time slots, and reading percentiles back."""

from hypothesis import given
from hypothesis import strategies as st

from app.deliveries.rollup import bucket_ms, bucket_of, count, percentile, slot_of


@given(st.integers(1, 3_600_000))
def test_a_bucket_stands_for_its_durations_within_nine_percent(duration_ms: int) -> None:
    assert abs(bucket_ms(bucket_of(duration_ms)) / duration_ms - 1) <= 0.095


def test_percentiles_are_read_from_the_buckets() -> None:
    buckets = {bucket_of(10): 98, bucket_of(1000): 2}

    p50, p99 = percentile(buckets, 0.5), percentile(buckets, 0.99)

    assert p50 is not None
    assert p99 is not None
    assert abs(p50 - 10) < 1
    assert abs(p99 - 1000) < 95


def test_nothing_counted_has_no_percentile() -> None:
    assert percentile({}, 0.5) is None


def test_an_attempt_is_counted_once_per_slot_length_in_key_order() -> None:
    rows = count([("b", "d", "delivered", 8), ("a", "d", "failed", 8), ("b", "d", "delivered", 8)],
                 1_000_000_123.0)  # fmt: skip

    assert sorted(rows) == rows
    assert [1, 1, 2, 2] == [row[-1] for row in rows]
    assert {60, 900} == {row[2] for row in rows}
    assert all(row[3] == slot_of(1_000_000_123, row[2]) for row in rows)
