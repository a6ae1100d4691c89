"""Publishing one event: who may, for whom, and the exact bytes that are kept and sent."""

import json
import re
from typing import Any

from app.deliveries.models import Delivery
from app.events.intake import MAX_DATA_BYTES
from app.events.models import Event
from tests.api.rows import count
from tests.receiver import Receiver
from tests.world import World

URL = "https://93.184.216.34/hook"
#: Spaces, an escape, a non-ASCII letter, an odd number: a re-serialised body would show.
DATA = b'{ "b": 1.0, "a": "\\u00fc\xc3\xbc \\/", "n": 1e2,\t"k":{"z":null , "y":[ ]}}'


async def stored_body(world: World, event_id: str, tenant: str = "acme") -> bytes:
    async with world.database.reading() as session:
        event = await session.get_one(Event, (tenant, event_id))
        return event.body


async def test_202_means_the_event_and_its_deliveries_are_stored(world: World) -> None:
    await world.make_destination(URL)
    await world.make_destination(URL, event_types=["alert.*"])
    await world.make_destination(URL, event_types=["incident.*"])
    await world.make_destination(URL, who="globex_admin")

    published = await world.publish()

    assert {"id", "deliveries"} == set(published)
    assert (2, 2) == (
        published["deliveries"],
        await count(world.database, Delivery, tenant_id="acme", event_id=published["id"]),
    )
    assert 0 == await count(world.database, Delivery, tenant_id="globex")


async def test_the_stored_body_is_the_envelope_in_order_with_data_byte_for_byte(
    world: World,
) -> None:
    raw = b'{"id":"key-1",  "data" : ' + DATA + b' , "type":"alert.created"}'

    answer = await world.as_("acme_admin").post("/events", content=raw)

    event_id = answer.json()["id"]
    pattern = (
        rb'\{"id":"%s","type":"alert\.created",'
        rb'"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","tenant":"acme","data":(.*)\}'
    )
    found = re.fullmatch(
        pattern % event_id.encode(), await stored_body(world, event_id), flags=re.DOTALL
    )
    assert found is not None
    assert DATA == found[1]


async def test_the_receiver_gets_the_stored_bytes(world: World) -> None:
    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        raw = b'{"type":"alert.created","data":' + DATA + b"}"
        async with world.worker():
            event = (await world.as_("acme_admin").post("/events", content=raw)).json()
            await receiver.wait_for(1)

    assert [await stored_body(world, event["id"])] == receiver.bodies


async def test_the_platform_publishes_for_any_tenant_and_has_to_say_which(world: World) -> None:
    platform = world.as_("platform")
    body = {"type": "alert.created", "data": {}}

    acme = await platform.post("/events", json=body | {"tenant": "acme"})
    globex = await platform.post("/events", json=body | {"tenant": "globex"})
    nobody = await platform.post("/events", json=body)

    assert [202, 202, 400] == [a.status_code for a in (acme, globex, nobody)]
    assert "tenant is required" == nobody.json()["detail"]
    for tenant, answer in (("acme", acme), ("globex", globex)):
        stored = json.loads(await stored_body(world, answer.json()["id"], tenant))
        assert tenant == stored["tenant"]


async def test_an_unknown_tenant_is_refused_and_nothing_kept(world: World) -> None:
    platform = world.as_("platform")
    for tenant in ("nope", "platform", "ACME", "a b", "", "a\x00b", 7, [], "x" * 64):
        body = {"type": "alert.created", "data": {}, "id": "k", "tenant": tenant}
        answer = await platform.post("/events", json=body)

        assert answer.status_code == 400, tenant
        assert ["tenant"] == [error["field"] for error in answer.json()["errors"]]

    assert 0 == await count(world.database, Event)


async def test_a_tenant_admin_publishes_for_their_own_tenant_only(world: World) -> None:
    admin = world.as_("acme_admin")
    body = {"type": "alert.created", "data": {}}

    own = await admin.post("/events", json=body | {"tenant": "acme"})
    foreign = await admin.post("/events", json=body | {"tenant": "globex"})
    unknown = await admin.post("/events", json=body | {"tenant": "nope"})

    assert [202, 400, 400] == [a.status_code for a in (own, foreign, unknown)]
    assert foreign.content == unknown.content


async def test_those_who_only_watch_may_not_publish(world: World) -> None:
    for who in ("acme_operator", "acme_auditor"):
        for path in ("/events", "/events/batch"):
            answer = await world.as_(who).post(path, json={"type": "a", "data": {}})
            assert 403 == answer.status_code

    assert 0 == await count(world.database, Event)


def of_size(size: int) -> bytes:
    data = b'{"x":"' + b"a" * (size - 8) + b'"}'
    assert len(data) == size
    return b'{"type":"alert.created","data": ' + data + b" }"


async def test_data_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(world: World) -> None:
    admin = world.as_("acme_admin")

    at_limit = await admin.post("/events", content=of_size(MAX_DATA_BYTES))
    over = await admin.post("/events", content=of_size(MAX_DATA_BYTES + 1))

    assert (1_048_576, 202, 413) == (MAX_DATA_BYTES, at_limit.status_code, over.status_code)
    assert over.json() == {
        "type": "urn:oneprotect:problem:too-large",
        "title": "Too large",
        "status": 413,
        "detail": "data has 1048577 bytes; the limit is 1048576 bytes",
    }


WRONG: list[tuple[dict[str, Any], set[str]]] = [
    ({"type": "alert.created"}, {"data"}),
    ({"data": {}}, {"type"}),
    ({"type": "alert..created", "data": {}}, {"type"}),
    ({"type": ".", "data": {}}, {"type"}),
    ({"type": "x" * 129, "data": {}}, {"type"}),
    ({"type": None, "data": {}}, {"type"}),
    ({"type": "alert\n", "data": {}}, {"type"}),
    ({"type": "a", "data": []}, {"data"}),
    ({"type": "a", "data": None}, {"data"}),
    ({"type": "a", "data": "{}"}, {"data"}),
    ({"type": "a", "data": {}, "id": ""}, {"id"}),
    ({"type": "a", "data": {}, "id": "x" * 256}, {"id"}),
    ({"type": "a", "data": {}, "id": "a\tb"}, {"id"}),
    ({"type": "a", "data": {}, "id": 5}, {"id"}),
    ({"type": "a", "data": {}, "severity": "high"}, {"severity"}),
    ({"type": 1, "data": [], "id": "", "tenant": "x", "y": 0},
     {"type", "data", "id", "tenant", "y"}),
]  # fmt: skip


async def test_every_wrong_field_is_named_at_once(world: World) -> None:
    for body, fields in WRONG:
        answer = await world.as_("acme_admin").post("/events", json=body)

        assert answer.status_code == 400, body
        assert fields == {error["field"] for error in answer.json()["errors"]}, body

    assert 0 == await count(world.database, Event)
