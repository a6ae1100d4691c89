"""The measurement, run small on both databases: its shape, its counting, and that it cleans up."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from app.tools.bench import sink
from app.tools.bench.plan import Latency, Plan, Profile
from app.tools.bench.profiles import Figures
from app.tools.bench.publishers import data_of
from tests.tools.programs import call, environment, eventually

KEYS = [
    "profile", "engine", "events", "deliveries", "seconds", "deliveries_per_second",
    "intake_per_second", "latency_ms", "cpu_us_per_delivery", "ceiling_per_second",
    "ceiling_ratio", "peak_rss_mb", "lost", "duplicates",
]  # fmt: skip
SMALL = {
    "throughput": ("--events", "60", "--destinations", "3"),
    "latency": ("--events", "10"),
    "backlog": ("--events", "60", "--destinations", "12", "--claim-rows", "100"),
    "neighbour": ("--events", "5"),
}


@pytest.fixture
def server(engine_name: str, request: pytest.FixtureRequest) -> tuple[str, ...]:
    if engine_name == "sqlite":
        return ()
    return ("--database-url", str(request.getfixturevalue("postgres_url")))


def bench(folder: Path, *arguments: str) -> dict[str, object]:
    done = call(folder, "bench", "--json", *arguments, extra={"TMPDIR": str(folder)})
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def scratch_databases(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname ~ '^op_bench_'")
        return [row[0] for row in rows]


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_the_cost_of_watching_is_measured_in_one_run(tmp_path: Path, engine_name: str) -> None:
    found = bench(tmp_path, "--overheads", "--events", "40", "--destinations", "2")

    assert (engine_name, 40, 80, 0) == tuple(
        found[name] for name in ("engine", "events", "deliveries", "lost")
    )
    for figure in ("deliveries_per_second", "cpu_us_per_delivery"):
        assert ["bare", "metrics", "tracing"] == list(found[figure])
    for percent in ("throughput_lost_percent", "cpu_added_percent"):
        assert ["metrics", "tracing"] == list(found[percent])


def test_with_tracing_the_spans_leave_and_every_event_arrives(
    engine_name: str, server: tuple[str, ...], tmp_path: Path
) -> None:
    found = bench(tmp_path, "--tracing", "--no-metrics", *SMALL["throughput"], *server)

    assert (180, 0, 0) == (found["deliveries"], found["lost"], found["duplicates"])


@pytest.mark.parametrize("profile", SMALL)
def test_every_profile_delivers_all_and_says_so_in_the_same_words(
    profile: str, engine_name: str, server: tuple[str, ...], tmp_path: Path
) -> None:
    found = bench(tmp_path, "--profile", profile, *SMALL[profile], *server)
    assert list(found)[: len(KEYS)] == KEYS
    assert (found["profile"], found["engine"]) == (profile, engine_name)
    assert found["deliveries"] == {"throughput": 180, "backlog": 60}.get(profile, found["events"])
    assert (found["lost"], found["duplicates"]) == (0, 0)
    assert found["ceiling_per_second"] > 0
    assert found["deliveries_per_second"] > 0
    assert found["cpu_us_per_delivery"] > 0
    assert ("claim_ms" in found) is (profile == "backlog")
    assert ("neighbour" in found) is (profile == "neighbour")
    assert (found["latency_ms"]["p50"] is None) is (profile == "backlog")
    assert list(tmp_path.iterdir()) == []
    assert not server or scratch_databases(server[1]) == []


def test_an_interrupted_run_leaves_nothing_behind(postgres_url: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "app", "bench", "--database-url", postgres_url],
        cwd=tmp_path, env=environment() | {"TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE,
    )  # fmt: skip
    eventually(lambda: list(tmp_path.glob("op-bench-*/worker.log")))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    assert scratch_databases(postgres_url) == []


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = call(tmp_path, "bench", "--database-url", "postgresql://127.0.0.1:1/postgres")
    assert done.returncode == 1
    assert re.fullmatch(r"oneprotect: the PostgreSQL server: .*\n", done.stderr)


def test_what_never_came_and_what_came_again_is_counted() -> None:
    here, there = b"/ok/0", b"/ok/1"
    figures = Figures(
        expected={"evt_1": frozenset({here, there}), "evt_2": frozenset({here, there})},
        arrivals=[
            (1.0, here, b"evt_1"), (2.0, here, b"evt_1"), (2.5, here, b"evt_1"),
            (3.0, there, b"evt_1"), (4.0, here, b"evt_2"), (5.0, here, b"evt_of_another"),
        ],
        seconds=1.0,
        cpu_s=None,
    )  # fmt: skip
    assert figures.deliveries == 4
    assert figures.faults() == (1, 2)


def test_percentiles_are_values_that_were_measured() -> None:
    assert Latency.of([]) == Latency(None, None, None)
    assert Latency.of([n / 1000 for n in range(101)]) == Latency(50.0, 95.0, 99.0)


def test_a_payload_has_the_size_that_was_asked_for() -> None:
    assert [len(data_of(size)) for size in (16, 1024)] == [16, 1024]
    json.loads(data_of(1024))


def test_the_profiles_have_their_own_numbers() -> None:
    assert Plan().complete() == Plan(events=20_000, destinations=10)
    paced = Plan(profile=Profile.LATENCY).complete()
    assert (paced.events, paced.destinations) == (1_000, 1)


async def test_the_receiver_takes_requests_in_any_pieces() -> None:
    request = b"POST /ok/7 HTTP/1.1\r\nwebhook-id: evt_1\r\nContent-Length: 4\r\n\r\nbody"
    with sink.running_sink() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request + request + request[:30])
        before = time.perf_counter()
        assert (await reader.readexactly(2 * len(sink.ANSWER))) == 2 * sink.ANSWER
        writer.write(request[30:])
        await reader.readexactly(len(sink.ANSWER))
        writer.close()
        assert running.count() == 3
        arrivals = running.take()
        assert running.count() == 0
    assert [(path, key) for _, path, key in arrivals] == [(b"/ok/7", b"evt_1")] * 3
    assert all(abs(at - before) < 5 for at, _, _ in arrivals)


async def test_the_receiver_never_answers_where_it_must_not() -> None:
    with sink.running_sink() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"POST /never HTTP/1.1\r\nwebhook-id: evt_1\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        assert running.count() == 1
        writer.close()
