"""The portal's measurement, run small on both databases: its figures, and that it cleans up."""

import json
from pathlib import Path

import pytest

from app.tools.measure.viewers import LAST_S, Sight, delays_of
from tests.tools.programs import call
from tests.tools.test_bench import scratch_databases


@pytest.fixture
def server(engine_name: str, request: pytest.FixtureRequest) -> tuple[str, ...]:
    if engine_name == "sqlite":
        return ()
    return ("--database-url", str(request.getfixturevalue("postgres_url")))


def test_a_change_counts_as_seen_when_a_viewers_page_first_shows_it_or_a_newer_one() -> None:
    changes = [("dlv_1", 10.0), ("dlv_2", 10.2), ("dlv_3", 10.4)]
    sights = [Sight(1, "dlv_0", 10.1), Sight(1, "dlv_2", 10.5), Sight(9, "dlv_3", 10.7)]

    of_one, of_nine = delays_of(changes, sights[:2]), delays_of(changes, sights[2:])

    assert pytest.approx([0.5, 0.3, LAST_S]) == of_one
    assert pytest.approx([0.7, 0.5, 0.3]) == of_nine
    assert sorted([*of_one, *of_nine]) == sorted(delays_of(changes, sights))


def test_the_portal_is_measured_and_nothing_is_left_behind(
    engine_name: str, server: tuple[str, ...], tmp_path: Path
) -> None:
    arguments = ("--deliveries", "2000", "--viewers", "40", "--rounds", "1", "--seconds", "2")
    done = call(
        tmp_path, "measure-portal", "--json", *arguments, *server, extra={"TMPDIR": str(tmp_path)}
    )

    assert (0, "") == (done.returncode, done.stderr)
    found = json.loads(done.stdout)
    assert (engine_name, 2_000) == (found["engine"], found["deliveries"])
    pages, live = found["pages"], found["live"]
    assert {"integrations", "destination", "events", "audit"} <= set(pages)
    assert all(0 < one["p50_ms"] <= one["p95_ms"] and 0 < one["kb"] < 60 for one in pages.values())
    assert found["slowest_p95_ms"] == max(one["p95_ms"] for one in pages.values())
    assert (40, 0) == (live["viewers"], live["failed"])
    assert live["changes"] >= 5
    assert live["refreshes"] >= 6
    assert live["statements_per_change"] > 0
    assert 0 < live["seen_p50_ms"] <= live["seen_p95_ms"] < 2_000  # the longest that is waited
    assert list(tmp_path.iterdir()) == []
    assert not server or scratch_databases(server[1]) == []
