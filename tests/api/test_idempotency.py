"""The publisher's own id: a repeat is harmless, a contradiction is told, a race has one winner."""

import asyncio
from collections import Counter

from app.deliveries.models import Delivery
from app.events.models import Event, IdempotencyKey
from tests.api.rows import count
from tests.world import World

URL = "https://93.184.216.34/hook"


async def test_the_same_id_and_body_again_answers_200_with_the_first_answer(world: World) -> None:
    await world.make_destination(URL)
    admin = world.as_("acme_admin")
    body = {"type": "alert.created", "data": {"a": [1, {"b": 2}]}, "id": "alert-4711"}

    first = await admin.post("/events", json=body)
    await world.make_destination(URL)  # would make a second delivery, were it a new event
    again = await admin.post("/events", json=body)

    assert (202, 200) == (first.status_code, again.status_code)
    assert first.json() == again.json() == {"id": first.json()["id"], "deliveries": 1}
    assert (1, 1) == (await count(world.database, Event), await count(world.database, Delivery))


async def test_order_of_names_and_white_space_do_not_make_another_body(world: World) -> None:
    admin = world.as_("acme_admin")
    first = await admin.post(
        "/events", content=b'{"type":"a","data":{"x":1,"y":{"p":"\\u00fc","q":[1,2]}},"id":"k"}'
    )

    again = await admin.post(
        "/events",
        content=b' {"id" : "k",\n "data":{"y":{"q":[1, 2],"p":"\xc3\xbc"} , "x":1},"type":"a"}',
    )

    assert (200, first.json()) == (again.status_code, again.json())


async def test_the_same_id_with_another_body_is_a_conflict(world: World) -> None:
    await world.publish(id="k", data={"x": 1, "y": [1, 2]})
    others = (
        {"type": "alert.created", "data": {"x": 2, "y": [1, 2]}},
        {"type": "alert.created", "data": {"x": 1, "y": [2, 1]}},
        {"type": "alert.created", "data": {"x": 1}},
        {"type": "alert.closed", "data": {"x": 1, "y": [1, 2]}},
    )

    for other in others:
        answer = await world.as_("acme_admin").post("/events", json=other | {"id": "k"})
        assert 409 == answer.status_code, other
        assert "An event with id 'k' exists with another body." == answer.json()["detail"]

    assert 1 == await count(world.database, Event)


async def test_a_repeat_after_the_destination_is_gone_still_gets_the_first_answer(
    world: World,
) -> None:
    made = await world.make_destination(URL)
    first = await world.publish(id="k")
    await world.as_("acme_admin").delete(f"/integrations/destinations/{made['id']}")

    body = {"type": "alert.created", "data": {"severity": "high"}, "id": "k"}
    again = await world.as_("platform").post("/events", json=body | {"tenant": "acme"})

    assert (200, first) == (again.status_code, again.json())


async def test_fifty_publishers_of_one_id_at_once_make_exactly_one_event(world: World) -> None:
    await world.make_destination(URL)
    admin, platform = world.as_("acme_admin"), world.as_("platform")
    body = {"type": "alert.created", "data": {}, "id": "once", "tenant": "acme"}

    answers = await asyncio.gather(
        *((admin if n % 2 else platform).post("/events", json=body) for n in range(50))
    )

    assert Counter({200: 49, 202: 1}) == Counter(answer.status_code for answer in answers)
    assert 1 == len({answer.content for answer in answers})
    assert (1, 1, 1) == (
        await count(world.database, Event),
        await count(world.database, Delivery),
        await count(world.database, IdempotencyKey),
    )


async def test_batches_that_cross_each_other_never_deadlock_nor_double(world: World) -> None:
    keys = [f"k{n}" for n in range(40)]
    events = [{"type": "a", "data": {}, "id": key} for key in keys]
    admin = world.as_("acme_admin")

    answers = await asyncio.gather(
        *(
            admin.post("/events/batch", json={"events": events[::step]})
            for step in (1, -1) * 10
        )
    )  # fmt: skip

    assert {202} == {answer.status_code for answer in answers}
    assert len(keys) == await count(world.database, Event)


async def test_two_tenants_may_use_the_same_id(world: World) -> None:
    acme = await world.publish(id="k", data={"x": 1})
    globex = await world.publish(who="globex_admin", id="k", data={"x": 2})

    assert acme["id"] != globex["id"]


async def test_without_an_id_every_publish_is_a_new_event(world: World) -> None:
    first, second = await world.publish(), await world.publish()

    assert first["id"] != second["id"]
    assert 0 == await count(world.database, IdempotencyKey)


async def test_an_event_can_be_found_by_the_publishers_id(world: World) -> None:
    published = await world.publish(id="alert-4711")
    await world.publish(id="alert-4712")

    answer = await world.as_("acme_auditor").get("/events?idempotency_key=alert-4711")

    assert [published["id"]] == [item["id"] for item in answer.json()["items"]]
