"""Members and sessions through the API: invited, changed, removed, signed out, each shown once."""

from typing import Any

import pytest
from sqlalchemy import select

from app.identity import members, service
from app.identity.models import Member
from tests.portal.visitor import Visitor
from tests.world import World


@pytest.fixture
def world(shared: World) -> World:
    return shared


async def make(world: World, email: str, role: str = "operator") -> dict[str, Any]:
    answer = await world.as_("acme_admin").post("/members", json={"email": email, "role": role})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def listed(world: World) -> dict[str, dict[str, Any]]:
    answer = await world.as_("acme_admin").get("/members")
    return {one["email"]: one for one in answer.json()["items"]}


async def test_the_link_is_in_one_answer_and_lets_its_holder_in(world: World) -> None:
    made = await make(world, "ada@acme.example")

    assert made["invite_url"].startswith("http://testserver/invite/")
    assert ("invited", False, None) == (
        made["status"], made["single_sign_on"], made["signed_in_at"],
    )  # fmt: skip
    item = (await listed(world))["ada@acme.example"]
    assert {"invite_url"} == set(made) - set(item)
    text = made["invite_url"].rpartition("/")[2]
    async with world.database.transaction() as session:
        await members.join(session, text, password="x" * 12, address="", user_agent="")
    item = (await listed(world))["ada@acme.example"]
    assert ("active", None) == (item["status"], item["invite_expires_at"])


async def test_members_come_a_page_at_a_time_newest_first(world: World) -> None:
    for number in range(3):
        await make(world, f"page{number}@acme.example")
    admin = world.as_("acme_admin")
    seen, cursor = [], ""
    while cursor is not None:
        answer = (await admin.get(f"/members?limit=2{cursor and f'&cursor={cursor}'}")).json()
        seen += [item["id"] for item in answer["items"]]
        cursor = answer["next_cursor"]

    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == len(await listed(world)) >= 6


WRONG: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"email", "role"}),
    ({"email": "x", "role": "platform"}, {"email", "role"}),
    ({"email": ["a@b"], "role": ["operator"], "name": 5}, {"email", "role", "name"}),
    ({"email": "a@b\0c", "role": "operator", "name": "a\0"}, {"email", "name"}),
    ({"email": "a@b.example", "role": "operator", "name": "x" * 101}, {"name"}),
    ({"email": "a@b.example", "role": "operator", "tenant": "globex"}, {"tenant"}),
]


@pytest.mark.parametrize(("body", "fields"), WRONG)
async def test_every_wrong_field_is_named(
    world: World, body: dict[str, Any], fields: set[str]
) -> None:
    answer = await world.as_("acme_admin").post("/members", json=body)

    assert answer.status_code == 400
    assert fields == {error["field"] for error in answer.json()["errors"]}


async def test_a_taken_address_is_a_conflict_that_does_not_say_whose(world: World) -> None:
    for email in ("operator@acme.example", "admin@globex.example"):
        body = {"email": email, "role": "operator"}
        answer = await world.as_("acme_admin").post("/members", json=body)
        assert (409, f"A user {email} exists already.") == (
            answer.status_code, answer.json()["detail"],
        )  # fmt: skip


async def test_roles_change_and_members_go(world: World) -> None:
    made = await make(world, "grace@acme.example")
    admin, path = world.as_("acme_admin"), f"/members/{made['id']}"

    changed = await admin.patch(path, json={"role": "auditor"})
    wrong = await admin.patch(path, json={"role": "root", "email": "x@y"})
    again = await admin.post(f"{path}/invite")
    gone = await admin.delete(path)
    twice = await admin.delete(path)

    assert (200, "auditor") == (changed.status_code, changed.json()["role"])
    assert {"role", "email"} == {error["field"] for error in wrong.json()["errors"]}
    assert (201, 204, 404) == (again.status_code, gone.status_code, twice.status_code)
    assert again.json()["invite_url"] != made["invite_url"]
    trail = (await admin.get(f"/audit?target={made['id']}")).json()["items"]
    assert [
        "member.removed", "member.invited", "member.role_changed", "member.invited",
    ] == [entry["action"] for entry in trail]  # fmt: skip
    assert made["invite_url"].rpartition("/")[2] not in str(trail)


async def test_the_last_admin_stays_even_against_a_token(world: World) -> None:
    admin = (await listed(world))["admin@acme.example"]
    path = f"/members/{admin['id']}"

    for answer in (
        await world.as_("acme_admin").patch(path, json={"role": "operator"}),
        await world.as_("acme_admin").delete(path),
    ):
        assert answer.status_code == 409
        assert "The last tenant admin" in answer.json()["detail"]


async def open_session(world: World, email: str) -> str:
    async with world.database.transaction() as session:
        found = (await session.execute(select(Member).where(Member.email == email))).scalar_one()
        return await service.open_session(session, found, address="192.0.2.3", user_agent="cli")


async def test_sessions_are_seen_and_ended_by_an_admin(world: World) -> None:
    cookies = [await open_session(world, "auditor@acme.example") for _ in range(3)]
    member = (await listed(world))["auditor@acme.example"]
    admin, path = world.as_("acme_admin"), f"/sessions?member_id={member['id']}"
    async with Visitor(world.app) as visitor:
        visitor.http.cookies.set("session", cookies[0])
        assert (await visitor.get("/audit")).status_code == 200

        items = (await admin.get(path)).json()["items"]
        assert 3 == len(items)
        assert {("auditor@acme.example", "192.0.2.3", "cli")} == {
            (one["email"], one["address"], one["user_agent"]) for one in items
        }
        assert not any(cookie in str(items) for cookie in cookies)
        one = await admin.delete(f"/sessions/{items[0]['id']}")
        assert 2 == len((await admin.get(path)).json()["items"])
        everything = await admin.delete(path)

        assert (204, 204) == (one.status_code, everything.status_code)
        assert [] == (await admin.get(path)).json()["items"]
        assert (await visitor.get("/audit")).status_code == 303
    nobody = await admin.delete("/sessions?member_id=usr_nobody")
    missing = await admin.delete("/sessions")
    assert (404, 400) == (nobody.status_code, missing.status_code)
