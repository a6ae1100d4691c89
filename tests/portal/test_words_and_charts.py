"""How numbers and times read, and the geometry of the charts."""

from datetime import timedelta

import pytest

from app.database import utcnow
from app.deliveries.health import Bar
from app.portal import charts, formats


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "—"),
        (1.0, "100 %"),
        (0.99999, "99.99 %"),
        (0.991, "99.1 %"),
        (0.972, "97.2 %"),
        (0.61, "61 %"),
        (0.0, "0 %"),
    ],
)
def test_a_share_is_never_rounded_up_to_all(share: float | None, text: str):
    assert formats.percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "—"), (41.2, "41 ms"), (999.0, "999 ms"), (15_000, "15.0 s")]
)
def test_durations(value: float | None, text: str):
    assert formats.millis(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(42, "42 s"), (89, "89 s"), (372, "6 min"), (7_200, "2 h"), (200_000, "2 d")],
)
def test_spans_name_one_unit(seconds: float, text: str):
    assert formats.span(seconds) == text
    assert formats.relative(utcnow() - timedelta(seconds=seconds + 0.5)) == f"{text} ago"


def test_what_is_overdue_is_due_now():
    assert formats.due(utcnow() - timedelta(seconds=40)) == "now"


@pytest.mark.parametrize(
    ("count", "text"), [(48, "48 B"), (1_200, "1.2 KB"), (2_500_000, "2.5 MB")]
)
def test_sizes(count: int, text: str):
    assert formats.size(count) == text


def test_a_payload_keeps_its_values_and_is_cut_when_too_long():
    assert formats.pretty(b'{"n":1.10,"s":"\xc3\xa9"}') == '{\n  "n": 1.10,\n  "s": "é"\n}'
    assert formats.pretty(b'"' + b"x" * 100_000 + b'"').endswith("… 100.0 KB in all")
    assert formats.pretty(b"\xff{") == "\ufffd{"


@pytest.mark.parametrize("value", [0, 0.4])
def test_less_than_a_millisecond_is_not_nothing(value: float):
    assert formats.millis(value) == "< 1 ms"


def _bars(*counts: tuple[int, int, int]) -> list[Bar]:
    return [Bar(utcnow(), *three) for three in counts]


def test_bars_fill_the_height_and_one_failure_among_thousands_is_seen():
    chart = charts.outcome_chart(_bars((9_999, 0, 1), (5_000, 0, 0), (0, 0, 0)))

    high, half, none = chart.columns
    assert (chart.peak, len(none.parts)) == (10_000, 0)
    assert high.parts[-1].height >= charts.LEAST
    assert min(part.y for part in high.parts) >= 0
    assert half.parts[0].height == pytest.approx(charts.HEIGHT / 2, abs=2)
    assert all(part.y + part.height <= charts.HEIGHT + 0.01 for part in high.parts)


@pytest.mark.parametrize(
    ("peak", "end"),
    [(0, 0), (1, 1), (3, 4), (41, 60), (551, 600), (600, 600), (999_001, 1_000_000)],
)
def test_an_axis_ends_at_a_number_that_people_halve(peak: int, end: int):
    assert charts.round_up(peak) == end


def test_an_answer_that_is_json_is_indented_and_any_other_left_alone():
    assert formats.pretty_text('{"a":[1]}') == '{\n  "a": [\n    1\n  ]\n}'
    assert formats.pretty_text("{ not json") == "{ not json"
    assert formats.pretty_text("<h1>Bad gateway</h1>") == "<h1>Bad gateway</h1>"


def test_a_chart_without_attempts_says_so():
    chart = charts.outcome_chart(_bars((0, 0, 0), (0, 0, 0)))

    assert chart.is_empty
    assert chart.columns == []


def test_a_sparkline_stays_in_its_box():
    points = charts.spark(_bars(*[(n % 7, 0, 0) for n in range(96)]), "delivered")

    for point in points.split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= charts.SPARK[0]
        assert 0 <= y <= charts.SPARK[1]
