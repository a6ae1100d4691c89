"""Publishing many events: all are kept or none, and each has its own result."""

from typing import Any

from app.deliveries.models import Delivery
from app.events.intake import MAX_DATA_BYTES
from app.events.models import Event, IdempotencyKey
from tests.api.rows import count
from tests.world import World

URL = "https://93.184.216.34/hook"


def batch(number: int, **fields: Any) -> dict[str, Any]:
    return {"events": [{"type": "a.b", "data": {"n": n}} | fields for n in range(number)]}


async def test_a_thousand_events_are_taken_in_order(world: World) -> None:
    await world.make_destination(URL)

    answer = await world.as_("acme_admin").post("/events/batch", json=batch(1000))

    items = answer.json()["items"]
    assert (202, 1000) == (answer.status_code, len(items))
    assert items == sorted(items, key=lambda item: item["id"])
    assert {1} == {item["deliveries"] for item in items}
    assert (1000, 1000) == (
        await count(world.database, Event), await count(world.database, Delivery),
    )  # fmt: skip


async def test_a_thousand_and_one_or_none_are_refused(world: World) -> None:
    for number in (0, 1001):
        answer = await world.as_("acme_admin").post("/events/batch", json=batch(number))

        assert 400 == answer.status_code
        assert answer.json()["errors"] == [
            {"field": "events", "message": f"events must hold 1 to 1000 events, not {number}"}
        ]

    assert 0 == await count(world.database, Event)


async def test_one_wrong_event_keeps_all_the_others_out_and_every_fault_is_named(
    world: World,
) -> None:
    body = batch(5)
    body["events"][1]["type"] = "!"
    body["events"][3] |= {"data": [], "colour": "red"}
    body["events"][4] = 7

    answer = await world.as_("acme_admin").post("/events/batch", json=body)

    assert 400 == answer.status_code
    assert {"events[1].type", "events[3].data", "events[3].colour", "events[4]"} == {
        error["field"] for error in answer.json()["errors"]
    }
    assert 0 == await count(world.database, Event)


async def test_an_unknown_tenant_or_too_large_an_event_keeps_all_the_others_out(
    world: World,
) -> None:
    strange = batch(2, tenant="acme")
    strange["events"][0]["id"], strange["events"][1]["tenant"] = "k1", "nope"
    large = batch(2, tenant="acme")
    large["events"][0]["id"], large["events"][1]["data"] = "k2", {"x": "y" * MAX_DATA_BYTES}

    answers = [
        await world.as_("platform").post("/events/batch", json=body) for body in (strange, large)
    ]

    assert [400, 413] == [answer.status_code for answer in answers]
    assert answers[1].json()["detail"].startswith("events[1].data has 1048584 bytes; the limit")
    assert (0, 0) == (
        await count(world.database, Event), await count(world.database, IdempotencyKey),
    )  # fmt: skip


async def test_the_platform_mixes_tenants_in_one_batch(world: World) -> None:
    await world.make_destination(URL, who="globex_admin")
    body = batch(2, tenant="acme")
    body["events"] += batch(2, tenant="globex")["events"]

    items = (await world.as_("platform").post("/events/batch", json=body)).json()["items"]

    assert [0, 0, 1, 1] == [item["deliveries"] for item in items]
    assert 2 == await count(world.database, Event, tenant_id="globex")


async def test_repeats_inside_and_before_the_batch_get_the_first_answer(world: World) -> None:
    first = await world.publish(id="k0", data={"n": 0})
    body = batch(3)
    for event, key in zip(body["events"], ("k0", "k1", "k1"), strict=True):
        event["id"] = key
    body["events"][0] |= {"type": "alert.created"}
    body["events"][2]["data"] = body["events"][1]["data"]

    items = (await world.as_("acme_admin").post("/events/batch", json=body)).json()["items"]

    assert first["id"] == items[0]["id"]
    assert items[1]["id"] == items[2]["id"]
    assert [True, False, True] == [item["duplicate"] for item in items]
    assert 2 == await count(world.database, Event)


async def test_one_conflict_keeps_the_whole_batch_out(world: World) -> None:
    await world.publish(id="k0")
    body = batch(2)
    body["events"][1]["id"] = "k0"

    answer = await world.as_("acme_admin").post("/events/batch", json=body)

    assert (409, 1) == (answer.status_code, await count(world.database, Event))


async def test_a_body_that_is_no_list_of_events_is_refused(world: World) -> None:
    for raw in (b"null", b"3", b"[]", b"{}", b'{"events":null}', b'{"events":{}}', b'"events"'):
        answer = await world.as_("acme_admin").post("/events/batch", content=raw)

        assert (400, "events") == (answer.status_code, answer.json()["errors"][0]["field"]), raw
