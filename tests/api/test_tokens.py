"""API tokens: shown once, kept as a hash, gone the moment they are revoked or expire."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.crypto import token_hash
from app.database import utcnow
from app.identity.models import ApiToken
from app.identity.permissions import RIGHTS, Role
from tests.api.rows import count, tables_that_hold
from tests.world import Caller, World


@pytest.fixture
def world(shared: World) -> World:
    return shared


async def make(world: World, who: str = "acme_admin", **fields: Any) -> dict[str, Any]:
    body = {"name": "SIEM import", "role": "operator"} | fields
    answer = await world.as_(who).post("/tokens", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def holder(world: World, token: str) -> Caller:
    caller = world.as_("acme_admin")
    caller._headers = {"Authorization": f"Bearer {token}"}
    return caller


async def test_the_text_is_shown_once_and_works_with_the_role_it_was_given(world: World) -> None:
    made = await make(world, role="auditor")

    me = (await holder(world, made["token"]).get("/me")).json()

    assert made["token"].startswith("op_")
    assert 43 <= len(made["token"].removeprefix("op_"))
    assert ("acme", "Acme Corp", "auditor", "SIEM import") == (
        me["tenant"], me["tenant_name"], me["role"], me["name"],
    )  # fmt: skip
    assert set(me["permissions"]) == {right.value for right in RIGHTS[Role.AUDITOR]}
    listed = await world.as_("acme_admin").get("/tokens")
    assert made["token"] not in listed.text
    assert {"token"} == set(made) - set(listed.json()["items"][0])


async def test_only_the_hash_of_the_text_is_stored(world: World) -> None:
    made = await make(world)

    assert set() == await tables_that_hold(world.database, made["token"])
    assert 1 == await count(world.database, ApiToken, token_hash=token_hash(made["token"]))


async def test_the_hint_recognises_a_token_without_giving_it_away(world: World) -> None:
    made = await make(world)

    start, _, end = made["hint"].partition("…")
    assert made["token"].startswith(start)
    assert made["token"].endswith(end)
    assert len(start) + len(end) <= 10


async def test_a_revoked_token_is_refused_from_the_next_request_on(world: World) -> None:
    made = await make(world)
    caller = holder(world, made["token"])
    before = (await caller.get("/me")).status_code

    revoked = await world.as_("acme_admin").delete(f"/tokens/{made['id']}")

    after = await caller.get("/me")
    again = await world.as_("acme_admin").delete(f"/tokens/{made['id']}")
    assert (200, 204, 401, 404) == (
        before, revoked.status_code, after.status_code, again.status_code,
    )  # fmt: skip
    listed = (await world.as_("acme_admin").get("/tokens")).json()["items"]
    assert made["id"] not in [item["id"] for item in listed]


async def test_a_token_may_revoke_itself(world: World) -> None:
    made = await make(world, role="tenant_admin")
    caller = holder(world, made["token"])

    revoked = await caller.delete(f"/tokens/{made['id']}")

    assert (204, 401) == (revoked.status_code, (await caller.get("/tokens")).status_code)


async def test_an_expired_token_is_refused(world: World) -> None:
    made = await make(world, expires_in_days=1)
    caller = holder(world, made["token"])
    assert 200 == (await caller.get("/me")).status_code

    async with world.database.transaction() as session:
        past = utcnow() - timedelta(seconds=1)
        await session.execute(
            update(ApiToken).where(ApiToken.id == made["id"]).values(expires_at=past)
        )

    answer = await caller.get("/me")
    assert (401, "The token is unknown, expired or revoked.") == (
        answer.status_code, answer.json()["detail"],
    )  # fmt: skip


async def test_the_last_use_is_noted_at_most_once_a_minute(world: World) -> None:
    made = await make(world)
    caller = holder(world, made["token"])

    async def noted() -> str | None:
        listed = (await world.as_("acme_admin").get("/tokens")).json()["items"]
        return next(item["last_used_at"] for item in listed if item["id"] == made["id"])

    unused = await noted()
    await caller.get("/me")
    first = await noted()
    await caller.get("/me")
    second = await noted()

    assert unused is None
    assert first is not None
    assert first == second


WRONG: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"name", "role"}),
    ({"name": "", "role": "operator"}, {"name"}),
    ({"name": "x" * 101, "role": "operator"}, {"name"}),
    ({"name": "a\nb", "role": "operator"}, {"name"}),
    ({"name": ["x"], "role": ["operator"]}, {"name", "role"}),
    ({"name": "x", "role": "platform"}, {"role"}),
    ({"name": "x", "role": "root"}, {"role"}),
    ({"name": "x", "role": "operator", "expires_in_days": 0}, {"expires_in_days"}),
    ({"name": "x", "role": "operator", "expires_in_days": 3651}, {"expires_in_days"}),
    ({"name": "x", "role": "operator", "expires_in_days": True}, {"expires_in_days"}),
    ({"name": "x", "role": "operator", "expires_in_days": "9"}, {"expires_in_days"}),
    ({"name": "x", "role": "operator", "tenant": "globex"}, {"tenant"}),
    ({"name": 1, "role": 1, "expires_in_days": -1, "y": 1},
     {"name", "role", "expires_in_days", "y"}),
]  # fmt: skip


async def test_every_wrong_field_is_named_and_no_token_made(world: World) -> None:
    before = await count(world.database, ApiToken)

    for body, fields in WRONG:
        answer = await world.as_("acme_admin").post("/tokens", json=body)

        assert 400 == answer.status_code, body
        assert fields == {error["field"] for error in answer.json()["errors"]}, body

    assert before == await count(world.database, ApiToken)


async def test_a_tenant_sees_and_revokes_only_its_own_tokens(world: World) -> None:
    theirs = await make(world, "globex_admin")

    listed = (await world.as_("acme_admin").get("/tokens")).json()["items"]
    foreign = await world.as_("acme_admin").delete(f"/tokens/{theirs['id']}")
    never = await world.as_("acme_admin").delete("/tokens/tok_0")

    assert theirs["id"] not in {item["id"] for item in listed}
    assert (404, foreign.content) == (foreign.status_code, never.content)
    assert 200 == (await holder(world, theirs["token"]).get("/me")).status_code
