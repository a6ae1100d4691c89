"""Signing in and out: the session is new each time, ends when told, and cannot be planted."""

from pathlib import Path

import pytest

from app.audit.models import SYSTEM
from app.database import Database
from app.database.migrate import migrate
from app.identity import service
from app.identity.permissions import Role
from app.portal.session import local_path
from tests.portal.visitor import Visitor, text_of
from tests.world import World, open_world


async def test_signing_in_leads_to_the_page_that_was_asked_for(visitor: Visitor):
    asked = await visitor.get("/deliveries?state=failed")
    assert asked.headers["location"] == "/login?next=%2Fdeliveries%3Fstate%3Dfailed"

    answer = await visitor.sign_in(onward="/deliveries?state=failed")

    assert (answer.status_code, answer.headers["location"]) == (303, "/deliveries?state=failed")
    assert (await visitor.get("/deliveries?state=failed")).status_code == 200


async def test_the_root_leads_to_integrations(visitor: Visitor):
    assert (await visitor.get("/")).headers["location"] == "/integrations"


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb"],
)
def test_only_a_path_of_ours_is_gone_on_to(path: str):
    assert local_path(path) == "/integrations"


async def test_every_sign_in_makes_a_new_session(visitor: Visitor):
    await visitor.sign_in()
    first = visitor.http.cookies["session"]
    await visitor.post("/logout")
    await visitor.sign_in()

    assert visitor.http.cookies["session"] != first


async def test_a_cookie_the_browser_chose_is_never_accepted(visitor: Visitor):
    visitor.http.cookies.set("session", "attacker-chosen")
    assert (await visitor.get("/integrations")).status_code == 303

    await visitor.sign_in()

    async with Visitor(visitor.http._transport.app) as attacker:  # type: ignore[attr-defined]
        attacker.http.cookies.set("session", "attacker-chosen")
        assert (await attacker.get("/integrations")).status_code == 303


async def test_signing_in_again_ends_the_session_before(visitor: Visitor):
    await visitor.sign_in()
    first = visitor.http.cookies["session"]
    await visitor.post("/login", {"email": "admin@acme.example", "password": "oneprotect-local"})
    assert visitor.http.cookies["session"] != first

    visitor.http.cookies.set("session", first, domain="testserver.local")

    assert (await visitor.get("/integrations")).status_code == 303


async def test_signing_out_ends_the_session_on_the_server(visitor: Visitor):
    await visitor.sign_in()
    cookie = visitor.http.cookies["session"]

    assert (await visitor.post("/logout")).headers["location"] == "/login"

    visitor.http.cookies.clear()
    visitor.http.cookies.set("session", cookie)
    assert (await visitor.get("/integrations")).headers["location"].startswith("/login")


async def test_htmx_and_streams_are_told_in_their_own_way(visitor: Visitor):
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/audit?verify=1"}
    swap = await visitor.get("/audit", headers=headers)
    stream = await visitor.get("/live", headers={"Accept": "text/event-stream"})

    assert swap.status_code == 401
    assert swap.headers["hx-redirect"] == "/login?next=%2Faudit%3Fverify%3D1"
    assert stream.status_code == 401


@pytest.mark.parametrize("who", ["admin", "nobody@acme.example", "x\0@y"])
async def test_one_sentence_for_every_wrong_sign_in(visitor: Visitor, who: str):
    answer = await visitor.sign_in(who, "wrong")

    assert answer.status_code == 401
    assert "Email or password is wrong." in text_of(answer)
    assert "session" not in visitor.http.cookies


async def test_what_no_person_asked_for_does_not_keep_a_session_alive(
    world: World, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
):
    await visitor.sign_in()
    monkeypatch.setattr(service, "is_stale", lambda _last: True)
    seen = await _last_seen(world, visitor)

    await visitor.get("/integrations", headers={"X-Background": "1"})
    assert await _last_seen(world, visitor) == seen

    await visitor.get("/integrations")
    assert await _last_seen(world, visitor) > seen


async def _last_seen(world: World, visitor: Visitor):
    async with world.database.reading() as session:
        cookie = visitor.http.cookies["session"]
        found = await service.find_session(session, cookie, address="", user_agent="")
    assert found
    return found[1].last_seen_at


async def test_outside_development_cookies_are_locked_to_https(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'production.db'}"
    database = Database(url)
    await migrate(database)
    async with database.transaction() as session:
        await service.create_tenant(session, tenant_id="initech", name="Initech", actor=SYSTEM)
        await service.create_member(
            session, tenant_id="initech", email="peter@initech.example", name="Peter",
            role=Role.OPERATOR, password="a long pass phrase", actor=SYSTEM,
        )  # fmt: skip
    await database.close()

    async with (
        open_world(url, ONEPROTECT_ENV="production") as world,
        Visitor(world.app) as visitor,
    ):
        visitor.http.base_url = "https://testserver"
        page = await visitor.get("/login")
        answer = await visitor.sign_in("peter@initech.example", "a long pass phrase")

    assert answer.status_code == 303
    cookie = next(c for c in answer.headers.get_list("set-cookie") if "session" in c)
    assert cookie.startswith("__Host-session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert page.headers["strict-transport-security"].startswith("max-age=63072000")
    assert "Local demo" not in page.text
