"""SIGTERM: what is in flight ends or is given back, nothing is sent twice, and it is quick."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator

import httpx

from app.identity.demo import DEMO_PASSWORD
from tests.behaviours import answer, in_turn, never, slow
from tests.chaos.scene import Scene
from tests.chaos.site import Site
from tests.portal.visitor import EMAILS, TOKEN

MAX_STOP_S = 10.0
STREAMS = 3


async def test_a_stopped_worker_ends_what_it_began_and_nothing_arrives_twice(
    scene: Scene,
) -> None:
    scene.receiver.behaviour = slow(0.15)
    async with scene.load(gap_s=0.05) as load:
        await load.reached(10)
        worker = random.choice(scene.site.workers)
        said = len(worker.output)
        took_s = await worker.stop()
        await load.reached(10)

    assert took_s < MAX_STOP_S
    assert "worker.stopped" in worker.output[said:]
    assert "Traceback" not in worker.output[said:]
    total = await scene.reckon(load, "SIGTERM a worker")
    assert 0 == total.duplicates


async def test_everything_stopped_under_load_and_open_streams_goes_on_where_it_was(
    scene: Scene,
) -> None:
    async with browser(scene.site) as visitor, scene.load() as load:
        ticks: Counter[int] = Counter()
        streams = [asyncio.create_task(watch(visitor, ticks, n)) for n in range(STREAMS)]
        await load.reached(20)
        took = await asyncio.gather(*(process.stop() for process in scene.site.all))
        await asyncio.gather(*streams)  # each was ended, not torn
        began = time.monotonic()
        owed = await scene.record.open()
        await scene.site.heal()
        await scene.record.settled(owed)
        recovery_s = time.monotonic() - began

    assert max(took) < MAX_STOP_S
    assert STREAMS == len(ticks)
    total = await scene.reckon(load, "SIGTERM everything", recovery_s)
    assert 0 == total.duplicates


async def test_an_attempt_that_outlives_the_grace_is_given_back_and_made_again(
    scene: Scene,
) -> None:
    scene.receiver.behaviour = in_turn(never, answer())
    load = scene.load()
    async with scene.site.frozen():  # so that the one with patience gets it
        patient = scene.site.start("patient", ONEPROTECT_DELIVERY_TIMEOUT="60")
        await scene.site.ready(patient)
        assert await load.ask("given back")
        await scene.receiver.wait_for(1)
        await scene.note_in_flight()
        took_s = await patient.stop()
        given_back = await scene.record.in_flight()
    began = time.monotonic()
    await scene.receiver.wait_for(2)
    recovery_s = time.monotonic() - began

    assert set() == given_back
    assert took_s < MAX_STOP_S
    total = await scene.reckon(load, "SIGTERM, no answer", recovery_s)
    assert 1 == total.duplicates


@contextlib.asynccontextmanager
async def browser(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    """Sign in to the portal as a person would."""
    async with httpx.AsyncClient(base_url=site.base_url, trust_env=False, timeout=20) as client:
        form = TOKEN.search((await client.get("/login")).text)
        assert form
        fields = {"_csrf": form[1], "email": EMAILS["admin"], "password": DEMO_PASSWORD}
        answered = await client.post("/login", data=fields)
        assert 303 == answered.status_code, answered.text
        yield client


async def watch(client: httpx.AsyncClient, ticks: Counter[int], number: int) -> None:
    """Hold a live stream open until the server ends it; count what it says."""
    async with client.stream("GET", "/live") as stream:
        assert 200 == stream.status_code
        async for line in stream.aiter_lines():
            ticks[number] += line.startswith("event: tick")
