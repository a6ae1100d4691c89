"""What Prometheus gets: parsed as it parses it, right in number, and of no tenant."""

import asyncio
import threading
import urllib.request
from typing import Any

import msgspec
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from app import worker
from app.api.metrics import Overview
from app.database import Database, utcnow
from app.deliveries.models import Delivery, State
from app.errors import SettingsError
from tests.behaviours import answer, fail_first
from tests.receiver import Receiver
from tests.tools.programs import free_port
from tests.world import World, open_world, settings_for

URL = "https://93.184.216.34/hook"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(page: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((f"oneprotect_{name}", tuple(sorted(labels.items()))), 0.0)


async def scraped(world: World) -> Samples:
    world.app.state["overview"] = Overview()  # asks the database anew
    page = await world.client.get("/metrics")
    assert 200 == page.status_code
    assert page.headers["content-type"].startswith("text/plain; version=")
    assert 1 == page.headers["content-type"].count("charset")
    return samples_of(page.text)


def counted() -> Samples:
    """Return what this process counted, as a worker's own listener tells it."""
    return samples_of(generate_latest().decode())


async def test_accepted_events_are_counted_and_repeats_are_not(world: World) -> None:
    before = value(await scraped(world), "events_accepted_total")
    admin = world.as_("acme_admin")
    event = {"type": "a.b", "data": {}}

    await world.publish(id="once")
    again = {"type": "alert.created", "id": "once", "data": {"severity": "high"}}
    assert 200 == (await admin.post("/events", json=again)).status_code
    await admin.post("/events/batch", json={"events": [event, event]})

    assert before + 3 == value(await scraped(world), "events_accepted_total")


async def test_attempts_are_counted_by_outcome_with_their_latency(world: World) -> None:
    before = counted()
    async with Receiver(fail_first(2)) as receiver, world.worker():
        await world.make_destination(receiver.url)
        await world.publish()
        await world.until(lambda: world.deliveries(state="delivered"))

        async def told() -> bool:
            return value(counted(), "attempts_total", outcome="delivered") > value(
                before, "attempts_total", outcome="delivered"
            )

        await world.until(told)

    after = counted()
    for outcome, number in (("http_error", 2), ("delivered", 1)):
        for name in ("attempts_total", "attempt_duration_seconds_count"):
            grown = value(after, name, outcome=outcome) - value(before, name, outcome=outcome)
            assert number == grown, name
        below = [
            v for (name, labels), v in after.items()
            if name.endswith("duration_seconds_bucket") and ("outcome", outcome) in labels
        ]  # fmt: skip
        assert len(below) == 14
        assert below == sorted(below)
        assert below[-1] == value(after, "attempts_total", outcome=outcome)


async def test_the_backlog_and_its_age_are_told(world: World) -> None:
    await world.make_destination(URL)
    await world.publish()
    await world.publish()
    late = utcnow().replace(year=utcnow().year - 1)
    async with world.database.transaction() as session:
        first = (await world.deliveries())[0]["id"]
        here = update(Delivery).where(Delivery.id == first)
        await session.execute(here.values(next_attempt_at=late, state=State.RETRYING))

    samples = await scraped(world)

    counts = {state: value(samples, "backlog_deliveries", state=state)
              for state in ("pending", "retrying", "delivering")}  # fmt: skip
    assert {"pending": 1, "retrying": 1, "delivering": 0} == counts
    assert value(samples, "oldest_due_seconds") == pytest.approx(365.5 * 86400, rel=0.01)
    assert (1, 0) == (value(samples, "database_up"), value(samples, "worker_alive"))


async def test_nothing_owed_is_zero_seconds_late(world: World) -> None:
    assert 0 == value(await scraped(world), "oldest_due_seconds")


async def test_expired_leases_are_counted(world: World) -> None:
    await world.make_destination(URL)
    await world.publish()
    async with world.database.transaction() as session:
        long_ago = utcnow().replace(year=2020)
        await session.execute(
            update(Delivery).values(
                state=State.DELIVERING, lease_until=long_ago, lease_token="x", next_attempt_at=None
            )
        )
    before = value(counted(), "lease_expiries_total")

    async with world.worker() as engine:
        await engine.sweep()

    assert before + 1 == value(counted(), "lease_expiries_total")


async def test_live_viewers_and_the_brokers_jobs_are_told(world: World) -> None:
    watching = world.services.hub.watch("acme")
    waiting = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    before = await scraped(world)
    await world.services.queue.enqueue("wake", ttl=-1, timeout=5, retries=1)
    after = await scraped(world)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await watching.aclose()
    gone = await scraped(world)

    assert (1, 0) == (value(before, "live_viewers"), value(gone, "live_viewers"))
    grown = value(after, "queue_jobs", state="queued") - value(before, "queue_jobs", state="queued")
    assert 1 == grown


async def test_the_database_is_asked_once_in_a_while_however_often_somebody_scrapes(
    world: World,
) -> None:
    await world.make_destination(URL)
    first = await scraped(world)
    await world.publish()

    again = samples_of((await world.client.get("/metrics")).text)

    assert 0 == value(first, "backlog_deliveries", state="pending")
    assert 0 == value(again, "backlog_deliveries", state="pending")
    assert 1 == value(await scraped(world), "backlog_deliveries", state="pending")


AWAY = {"sqlite": "sqlite:////nowhere/at/all.db", "postgresql": "postgresql://u@127.0.0.1:1/d"}


async def test_without_a_database_the_page_says_so(world: World, engine_name: str) -> None:
    there, world.services.database = world.database, Database(AWAY[engine_name])

    samples = await scraped(world)

    world.services.database = there
    assert 0 == value(samples, "database_up")
    assert not any(name == "oneprotect_backlog_deliveries" for name, _ in samples)
    assert any(name == "oneprotect_events_accepted_total" for name, _ in samples)


async def test_no_label_and_no_value_is_a_tenants(world: World) -> None:
    made = await world.make_destination(URL, name="Very own name")
    await world.publish(data={"very": "own"})
    page = (await world.client.get("/metrics")).text

    for own in ("Very own name", made["id"], "93.184.216.34", "acme", "globex"):
        assert own not in page
    labels = {name for _, labels in samples_of(page) for name, _ in labels if _ is not None}
    ours = {
        label
        for family in text_string_to_metric_families(page)
        if family.name.startswith("oneprotect_")
        for sample in family.samples
        for label in sample.labels
    }
    assert ours <= labels
    assert ours <= {"state", "outcome", "le", "version"}


async def test_metrics_can_be_switched_off(database_url: str) -> None:
    async with open_world(database_url, ONEPROTECT_METRICS="false") as world:
        assert 404 == (await world.client.get("/metrics")).status_code
        before = counted()
        async with Receiver(answer()) as receiver, world.worker():
            await world.make_destination(receiver.url)
            await world.publish()
            await world.until(lambda: world.deliveries(state="delivered"))

    assert value(before, "attempts_total", outcome="delivered") == value(
        counted(), "attempts_total", outcome="delivered"
    )


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as page:
        return page.read().decode()


def test_a_worker_answers_on_a_port_of_its_own_and_lets_it_go() -> None:
    settings = msgspec.structs.replace(settings_for("sqlite:///none.db"), metrics_port=free_port())
    with worker._metrics_listener(settings):
        page = _get(f"http://127.0.0.1:{settings.metrics_port}/metrics")
        with pytest.raises(SettingsError, match="ONEPROTECT_METRICS_PORT: cannot listen"):
            worker._metrics_listener(settings).__enter__()
    with worker._metrics_listener(settings):
        pass

    assert samples_of(page)
    assert not [thread for thread in threading.enumerate() if "serve_forever" in thread.name]


def test_without_a_port_a_worker_listens_nowhere() -> None:
    before = threading.active_count()

    with worker._metrics_listener(settings_for("sqlite:///none.db")):
        assert before == threading.active_count()
