"""Publishers that race with each other, and destinations that go away before their turn."""

import asyncio
import time

import pytest

from app.events.intake import MAX_DATA_BYTES
from tests.behaviours import answer
from tests.chaos import pace
from tests.chaos.ledger import api
from tests.chaos.scene import Scene
from tests.chaos.site import LEASE_S, on_postgresql
from tests.tools.programs import free_port

PUBLISHERS = 50
THOUSANDS = pace.rounds(short=3, per_minute=25)  # two minutes: the 50,000 of the promise


async def test_one_id_from_fifty_publishers_at_two_web_processes_is_one_event(
    scene: Scene,
) -> None:
    port = free_port()
    other = scene.site.start("web-2", "serve", ONEPROTECT_PORT=str(port))
    await scene.site.ready(other)
    body = {"type": scene.event_type, "data": {"n": 1}, "id": f"one-{scene.event_type}"}
    async with api(f"http://127.0.0.1:{port}") as second:
        answers = await asyncio.gather(
            *((scene.client, second)[n % 2].post("/api/v1/events", json=body)
              for n in range(PUBLISHERS))
        )  # fmt: skip
    await scene.record.settled(await scene.record.open())
    other.end()

    assert [200] * (PUBLISHERS - 1) + [202] == sorted(a.status_code for a in answers)
    assert 1 == len({answer.text for answer in answers})
    assert [answers[0].json()["id"]] == [event.id for event in await scene.record.events()]
    assert 1 == len(scene.receiver.requests)


@on_postgresql
async def test_two_workers_share_thousands_of_rows_and_send_none_twice(scene: Scene) -> None:
    scene.receiver.behaviour = answer()
    load = scene.load()
    for _ in range(THOUSANDS):
        await load.ask_many(1_000)
    began = time.monotonic()
    await scene.record.settled(await scene.record.open(), within_s=60 + 2 * THOUSANDS)

    total = await scene.reckon(load, "two workers, no fault", time.monotonic() - began)
    assert (THOUSANDS * 1_000, 0) == (total.delivered, total.duplicates)


async def test_the_largest_event_arrives_whole_and_one_byte_more_is_refused(scene: Scene) -> None:
    fits = b'{"pad":"%b"}' % (b"x" * (MAX_DATA_BYTES - len(b'{"pad":""}')))
    answers = [
        await scene.client.post(
            "/api/v1/events", content=b'{"type":"%b","data":%b}' % (scene.event_type.encode(), data)
        )
        for data in (fits, fits.replace(b"pad", b"pads"))
    ]
    await scene.record.settled(await scene.record.open())

    assert [202, 413] == [answer.status_code for answer in answers]
    assert f"the limit is {MAX_DATA_BYTES} bytes" in answers[1].json()["detail"]
    assert 1 == len(await scene.record.events())
    (request,) = scene.receiver.requests
    assert request.body.endswith(b'"data":' + fits + b"}")


@pytest.mark.parametrize(("method", "path"), [("POST", "/disable"), ("DELETE", "")])
async def test_what_is_owed_to_a_destination_that_goes_away_is_cancelled_not_lost(
    scene: Scene, method: str, path: str
) -> None:
    doomed = await scene.make_destination(f"{scene.receiver.url}/doomed")
    async with scene.site.frozen():
        body = {"type": scene.event_type, "data": {}}
        published = await scene.client.post("/api/v1/events", json=body)
        gone = await scene.client.request(
            method, f"/api/v1/integrations/destinations/{doomed}{path}"
        )
    await scene.record.settled(await scene.record.open())

    assert (202, 2) == (published.status_code, published.json()["deliveries"])
    assert gone.is_success
    rows = await scene.client.get(
        "/api/v1/integrations/deliveries", params={"event_type": scene.event_type}
    )
    states = {row["destination_id"]: (row["state"], row["reason"]) for row in rows.json()["items"]}
    assert ("delivered", None) == states[scene.lane]
    assert "cancelled" == states[doomed][0]
    assert "destination" in states[doomed][1]
    assert ["/hook"] == [request.path for request in scene.receiver.requests]


async def test_a_destination_disabled_under_load_gets_nothing_more_and_owes_nothing(
    scene: Scene,
) -> None:
    async with scene.load() as load:
        await load.reached(10)
        path = f"/api/v1/integrations/destinations/{scene.lane}"
        assert (await scene.client.post(f"{path}/disable")).is_success
        await load.abandon()
    await scene.record.settled(await scene.record.open(), within_s=LEASE_S + 2)
    arrived = len(scene.receiver.requests)
    await asyncio.sleep(0.3)

    assert arrived == len(scene.receiver.requests)
    states = [row.state for event in await scene.record.events() for row in event.deliveries]
    assert {"delivered", "cancelled"} >= set(states)
    assert arrived == states.count("delivered")
