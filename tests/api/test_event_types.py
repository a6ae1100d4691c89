"""The catalogue of event types, and what publish does with an event that does not fit."""

from typing import Any

import pytest

from app.deliveries import retention
from app.deliveries.models import Delivery
from app.events import gate
from app.events.models import Event, EventWarning
from tests.api.rows import count
from tests.world import World

SCHEMA = {
    "type": "object",
    "required": ["severity"],
    "properties": {"severity": {"enum": ["low", "high"]}},
}
URL = "https://93.184.216.34/hook"


async def describe(
    world: World, who: str = "acme_admin", name: str = "alert.created", **said: Any
) -> dict[str, Any]:
    answer = await world.as_(who).request("PUT", f"/event-types/{name}", json=said)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def listed(world: World, who: str = "acme_admin") -> dict[str, dict[str, Any]]:
    answer = await world.as_(who).get("/event-types")
    return {one["type"]: one for one in answer.json()["items"]}


async def post(world: World, data: dict[str, Any], who: str = "acme_admin", **more: Any) -> Any:
    body = {"type": "alert.created", "data": data} | more
    return await world.as_(who).post("/events", json=body)


async def test_a_type_is_described_read_and_taken_back(world: World) -> None:
    made = await describe(
        world, description="Look!", example={"severity": "low"}, schema=SCHEMA, schema_mode="warn"
    )

    assert ("alert.created", "tenant", "Look!", {"severity": "low"}, SCHEMA, "warn", False) == (
        made["type"], made["scope"], made["description"], made["example"], made["schema"],
        made["schema_mode"], made["seen"],
    )  # fmt: skip
    assert made == (await listed(world))["alert.created"]
    gone = await world.as_("acme_admin").delete("/event-types/alert.created")
    again = await world.as_("acme_admin").delete("/event-types/alert.created")
    assert (204, 404, {}) == (gone.status_code, again.status_code, await listed(world))


async def test_what_cannot_be_a_type_is_not_there(world: World) -> None:
    for name in ("a%00b", "%F0%9F%92%A5", "a" * 300, "..%2F.."):
        for method in ("GET", "DELETE"):
            answer = await world.as_("acme_admin").request(method, f"/event-types/{name}")
            assert 404 == answer.status_code, (method, name)
        put = await world.as_("acme_admin").request("PUT", f"/event-types/{name}", json={})
        assert put.status_code in {400, 404}, name


async def test_what_was_only_seen_stands_in_the_list_too(world: World) -> None:
    await world.publish(event_type="alert.closed")

    (only,) = (await listed(world)).values()

    assert ("alert.closed", True, None, "off") == (
        only["type"], only["seen"], only["scope"], only["schema_mode"],
    )  # fmt: skip


async def test_the_platforms_entry_is_everybodys_until_a_tenant_says_its_own(world: World) -> None:
    await describe(world, "platform", description="For all")
    await describe(world, "acme_admin", description="Ours")

    assert ("Ours", "tenant") == _said(await listed(world))
    assert ("For all", "platform") == _said(await listed(world, "globex_admin"))
    assert ("For all", "platform") == _said(await listed(world, "platform"))
    await world.as_("acme_admin").delete("/event-types/alert.created")
    assert ("For all", "platform") == _said(await listed(world))
    assert 404 == (await world.as_("acme_admin").delete("/event-types/alert.created")).status_code


def _said(types: dict[str, dict[str, Any]]) -> tuple[str, str]:
    return types["alert.created"]["description"], types["alert.created"]["scope"]


async def test_every_change_is_written_down_with_what_it_changed(world: World) -> None:
    await describe(world, description="Look!")
    await describe(world, description="Look!")
    await describe(world, description="Look!", schema=SCHEMA, schema_mode="warn")
    await world.as_("acme_admin").delete("/event-types/alert.created")

    trail = (await world.as_("acme_admin").get("/audit?target=alert.created")).json()["items"]

    assert ["event_type.removed", "event_type.saved", "event_type.saved"] == [
        entry["action"] for entry in trail
    ]
    assert {"schema", "schema_mode"} == set(trail[1]["changes"])


async def test_every_wrong_field_is_named(world: World) -> None:
    wrong = {
        "description": 7, "example": [], "schema": {"type": "strin"}, "schema_mode": "maybe",
        "nonsense": 1,
    }  # fmt: skip
    answer = await world.as_("acme_admin").request("PUT", "/event-types/no..dots", json=wrong)

    assert answer.status_code == 400
    assert {"description", "example", "schema", "schema_mode", "nonsense", "type"} == {
        error["field"] for error in answer.json()["errors"]
    }


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"schema_mode": "refuse"}, "schema_mode"),
        ({"schema": SCHEMA, "example": {"severity": "odd"}}, "example.severity"),
        ({"description": "a\u0000b"}, "description"),
    ],
)
async def test_an_entry_has_to_make_sense(world: World, said: dict[str, Any], field: str) -> None:
    answer = await world.as_("acme_admin").request("PUT", "/event-types/a.b", json=said)

    assert (400, field) == (answer.status_code, answer.json()["errors"][0]["field"])


async def test_a_warned_event_is_kept_and_says_where_it_does_not_fit(world: World) -> None:
    await world.make_destination(URL)
    await describe(world, schema=SCHEMA, schema_mode="warn")

    fits = await post(world, {"severity": "low"})
    odd = await post(world, {"severity": "hunter2"})

    assert (202, 202) == (fits.status_code, odd.status_code)
    assert "warnings" not in fits.json()
    assert (1, "data.severity") == (
        odd.json()["deliveries"], odd.json()["warnings"][0]["field"],
    )  # fmt: skip
    seen = {
        who: (await world.as_(who).get(f"/events/{odd.json()['id']}")).json()["warnings"]
        for who in ("acme_admin", "acme_operator", "acme_auditor")
    }
    told = odd.json()["warnings"]
    assert {"acme_admin": told, "acme_operator": told, "acme_auditor": None} == seen
    assert "hunter2" not in str(told)


async def test_a_refused_event_is_not_kept_and_its_path_is_the_field(world: World) -> None:
    await describe(world, schema=SCHEMA, schema_mode="refuse")

    odd = await post(world, {}, id="k-1")
    mended = await post(world, {"severity": "low"}, id="k-1")

    assert (400, "data.severity") == (odd.status_code, odd.json()["errors"][0]["field"])
    assert 202 == mended.status_code, "its id was not used up"
    assert 1 == await count(world.database, Event)


async def test_a_batch_is_refused_whole_and_every_misfit_is_placed(world: World) -> None:
    await describe(world, schema=SCHEMA, schema_mode="refuse")
    events = [{"type": "alert.created", "data": data} for data in ({"severity": "low"}, {}, {})]

    answer = await world.as_("acme_admin").post("/events/batch", json={"events": events})

    assert ["events[1].data.severity", "events[2].data.severity"] == [
        error["field"] for error in answer.json()["errors"]
    ]
    assert (0, 0) == (await count(world.database, Event), await count(world.database, Delivery))


async def test_a_batch_says_which_of_its_events_do_not_fit(world: World) -> None:
    await describe(world, schema=SCHEMA, schema_mode="warn")
    events = [{"type": "alert.created", "data": data} for data in ({"severity": "low"}, {})]

    answer = await world.as_("acme_admin").post("/events/batch", json={"events": events})

    fits, odd = answer.json()["items"]
    assert ("warnings" in fits, odd["warnings"][0]["field"]) == (False, "events[1].data.severity")


async def test_a_repeat_of_a_kept_event_stays_the_first_answer(world: World) -> None:
    first = await post(world, {"old": True}, id="k-1")
    await describe(world, schema=SCHEMA, schema_mode="refuse")

    repeat = await post(world, {"old": True}, id="k-1")

    assert (200, first.json()["id"]) == (repeat.status_code, repeat.json()["id"])


async def test_a_tenants_schema_never_turns_the_platform_away(world: World) -> None:
    await describe(world, "acme_admin", schema=SCHEMA, schema_mode="refuse")
    events = [
        {"type": "alert.created", "data": {}, "tenant": tenant} for tenant in ("acme", "globex")
    ]

    answer = await world.as_("platform").post("/events/batch", json={"events": events})

    assert answer.status_code == 202, answer.text
    acme, globex = answer.json()["items"]
    assert ("events[0].data.severity", False) == (
        acme["warnings"][0]["field"],
        "warnings" in globex,
    )


async def test_the_platforms_schema_holds_for_all_whatever_a_tenant_says(world: World) -> None:
    await describe(world, "platform", schema=SCHEMA, schema_mode="refuse")
    await describe(world, "acme_admin", description="we do not care")

    by_tenant = await post(world, {})
    by_platform = await post(world, {}, "platform", tenant="globex")

    assert (400, 400) == (by_tenant.status_code, by_platform.status_code)


async def test_one_tenants_schema_says_nothing_of_anothers_events(world: World) -> None:
    await describe(world, "globex_admin", schema=SCHEMA, schema_mode="refuse")

    assert 202 == (await post(world, {})).status_code
    assert 400 == (await post(world, {}, "globex_admin")).status_code


async def test_a_change_is_heeded_at_once_here_and_soon_elsewhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = gate.SchemaGate(world.database)
    monkeypatch.setattr(world.services, "schemas", elsewhere)
    assert 202 == (await post(world, {})).status_code
    monkeypatch.setattr(world.services, "schemas", gate.SchemaGate(world.database))
    await describe(world, schema=SCHEMA, schema_mode="refuse")
    assert 400 == (await post(world, {})).status_code
    monkeypatch.setattr(world.services, "schemas", elsewhere)
    assert 202 == (await post(world, {})).status_code, "what it knew is still fresh"

    elsewhere._known = {tenant: (0.0, rules) for tenant, (_, rules) in elsewhere._known.items()}

    assert 400 == (await post(world, {})).status_code


async def test_without_schemas_a_publish_asks_the_database_nothing_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[list[str]] = []
    load = gate.SchemaGate._load

    async def counted(self: gate.SchemaGate, tenants: list[str]) -> None:
        loads.append(tenants)
        await load(self, tenants)

    monkeypatch.setattr(gate.SchemaGate, "_load", counted)
    monkeypatch.setattr(gate, "FRESH_S", 60.0)
    for _ in range(5):
        await world.publish()

    assert [["acme", "platform"]] == [sorted(tenants) for tenants in loads]


async def test_more_tenants_than_are_remembered_are_judged_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await describe(world, "globex_admin", schema=SCHEMA, schema_mode="warn")
    monkeypatch.setattr(gate, "MAX_TENANTS", 1)
    assert 202 == (await post(world, {})).status_code
    events = [
        {"type": "alert.created", "data": {}, "tenant": tenant} for tenant in ("acme", "globex")
    ]

    answer = await world.as_("platform").post("/events/batch", json={"events": events})

    assert [False, True] == ["warnings" in one for one in answer.json()["items"]]


async def test_warnings_go_with_their_event(world: World) -> None:
    await describe(world, schema=SCHEMA, schema_mode="warn")
    await post(world, {})
    assert 1 == await count(world.database, EventWarning)

    await retention.run(world.database, days=0)

    if world.database.dialect == "sqlite":  # a partition is dropped when its week is over
        assert 0 == await count(world.database, EventWarning)
    assert await count(world.database, EventWarning) == await count(world.database, Event)
