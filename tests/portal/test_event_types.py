"""The catalogue in the portal: described by admins, read by all, offered where filters are set."""

import re

from tests.portal.conftest import SignedIn
from tests.portal.visitor import Visitor, text_of
from tests.world import World

SCHEMA = '{"type": "object", "required": ["severity"]}'


async def test_a_type_is_described_and_removed(world: World, admin: Visitor) -> None:
    fields = {
        "type": "alert.created", "description": "Look!", "example": '{"severity": "high"}',
        "schema": SCHEMA, "schema_mode": "refuse",
    }  # fmt: skip
    saved = await admin.post("/events/types", fields)
    shown = await admin.get("/events/types?type=alert.created")

    assert (303, "/events/types?type=alert.created") == (
        saved.status_code, saved.headers["location"],
    )  # fmt: skip
    assert "Look! you refuse no" in text_of(shown)
    refused = await world.as_("acme_admin").post(
        "/events", json={"type": "alert.created", "data": {}}
    )
    assert 400 == refused.status_code, "heeded at once"
    await admin.post("/events/types/remove", {"type": "alert.created"})
    assert "No event types yet" in text_of(await admin.get("/events/types"))


async def test_every_fault_stands_under_its_field_and_what_was_typed_stays(admin: Visitor) -> None:
    wrong = {"type": "a..b", "schema": '{"type": "strin"}', "schema_mode": "warn"}
    answer = await admin.post("/events/types", wrong)
    no_json = await admin.post("/events/types", {"type": "a.b", "example": "{severity: high}"})

    assert (400, 400) == (answer.status_code, no_json.status_code)
    for field in ("type", "schema"):
        assert f'id="e-{field}"' in answer.text, field
    assert 'value="a..b"' in answer.text
    assert "example must be JSON" in text_of(no_json)
    assert "{severity: high}" in text_of(no_json)


async def test_an_example_that_does_not_fit_says_where(admin: Visitor) -> None:
    fields = {"type": "a.b", "schema": SCHEMA, "example": "{}", "schema_mode": "off"}
    answer = await admin.post("/events/types", fields)

    assert "example.severity is required" in text_of(answer)


async def test_who_only_watches_reads_a_type_and_has_no_form(
    world: World, signed_in: SignedIn
) -> None:
    await world.as_("platform").request(
        "PUT", "/event-types/alert.created", json={"example": {"a": 1}, "description": "For all"}
    )
    async with signed_in("auditor") as visitor:
        answer = await visitor.get("/events/types?type=alert.created")

    assert "For all the platform none no" in text_of(answer)
    assert '"a": 1' in text_of(answer)
    assert '<form method="post" action="/events/types' not in answer.text


async def test_an_event_says_where_it_does_not_fit_to_those_who_may_read_it(
    world: World, admin: Visitor, signed_in: SignedIn
) -> None:
    said = {"schema": {"required": ["severity"]}, "schema_mode": "warn"}
    await world.as_("acme_admin").request("PUT", "/event-types/alert.created", json=said)
    event = await world.publish(data={})
    fits = await world.publish(data={"severity": 1})

    shown = text_of(await admin.get(f"/events/{event['id']}"))
    assert "It does not fit its schema data.severity : data.severity is required" in shown
    assert "It does not fit" not in text_of(await admin.get(f"/events/{fits['id']}"))
    async with signed_in("auditor") as auditor:
        hidden = text_of(await auditor.get(f"/events/{event['id']}"))
    assert "In 1 place. Your role may not read payloads." in hidden
    assert "data.severity" not in hidden


async def test_filters_offer_each_type_and_each_family(world: World, admin: Visitor) -> None:
    await world.publish(event_type="incident.case.opened")
    await world.as_("platform").request("PUT", "/event-types/alert.created", json={})
    made = await world.make_destination("http://127.0.0.1:9/hook")

    for path in ("/integrations", f"/integrations/{made['id']}/edit"):
        page = (await admin.get(path)).text
        offered = re.search(r'<datalist id="known-types">(.*?)</datalist>', page, re.DOTALL)
        assert offered, path
        assert ["alert.*", "alert.created", "incident.*", "incident.case.*",
                "incident.case.opened"] == re.findall(r'value="([^"]*)"', offered[1])  # fmt: skip
        assert 'list="known-types"' in page
