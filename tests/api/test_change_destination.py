"""Changing a destination: only what was given, under the rules of creating."""

from typing import Any

import pytest

from app.audit.models import AuditEntry
from tests.api.rows import count
from tests.world import World


@pytest.fixture
def world(shared: World) -> World:
    return shared


URL = "https://93.184.216.34/hook"


CHANGES: list[tuple[str, Any]] = [
    ("name", "Renamed"),
    ("endpoint_url", "https://93.184.216.35/other"),
    ("event_types", ["incident.opened"]),
    ("description", "New words"),
    ("rate_limit_per_second", 9),
    ("rate_limit_per_second", None),
    ("ordered", True),
]


async def test_a_given_field_changes_and_the_others_stay(world: World) -> None:
    before = await world.make_destination(
        URL, description="Old", rate_limit_per_second=3, event_types=["alert.*"]
    )
    path = f"/integrations/destinations/{before['id']}"
    del before["signing_secret"]

    for field, value in CHANGES:
        after = (await world.as_("acme_admin").patch(path, json={field: value})).json()

        assert after == (await world.as_("acme_admin").get(path)).json()
        differing = {name for name in before if before[name] != after[name]}
        assert differing - {"updated_at"} == {field}
        assert (value, True) == (after[field], after["updated_at"] >= before["updated_at"])
        before = after


async def test_headers_are_replaced_as_a_whole(world: World) -> None:
    made = await world.make_destination(URL, headers={"X-One": "1", "X-Two": "2"})
    path = f"/integrations/destinations/{made['id']}"
    admin = world.as_("acme_admin")

    changed = (await admin.patch(path, json={"headers": {"X-Three": "3"}})).json()
    emptied = (await admin.patch(path, json={"headers": {}})).json()

    assert ["X-Three"] == changed["header_names"]
    assert [] == emptied["header_names"]


async def test_a_change_that_changes_nothing_leaves_no_trace(world: World) -> None:
    made = await world.make_destination(URL)
    before = await count(world.database, AuditEntry, tenant_id="acme")
    path = f"/integrations/destinations/{made['id']}"

    for body in ({}, {"name": made["name"]}, {"endpoint_url": URL}):
        answer = await world.as_("acme_admin").patch(path, json=body)
        assert (200, made["updated_at"]) == (answer.status_code, answer.json()["updated_at"])

    assert before == await count(world.database, AuditEntry, tenant_id="acme")


async def test_the_secret_is_not_changed_this_way(world: World) -> None:
    made = await world.make_destination(URL)
    path = f"/integrations/destinations/{made['id']}"

    answer = await world.as_("acme_admin").patch(path, json={"signing_secret": None})

    assert (400, "signing_secret") == (answer.status_code, answer.json()["errors"][0]["field"])


async def test_one_wrong_field_keeps_the_right_ones_from_being_applied(world: World) -> None:
    made = await world.make_destination(URL)
    path = f"/integrations/destinations/{made['id']}"

    answer = await world.as_("acme_admin").patch(path, json={"name": "Renamed", "ordered": 3})

    assert answer.status_code == 400
    assert made["name"] == (await world.as_("acme_admin").get(path)).json()["name"]
