"""Single sign-on for the portal, the whole code flow over HTTP with a real provider."""

import base64
import hashlib
import json
from typing import Any

import pytest
from sqlalchemy import select

from app.audit.models import AuditEntry
from app.identity.models import Member
from app.portal import cookies
from tests.portal.visitor import Asked, Visitor, text_of
from tests.sso.conftest import Provider, settings_of
from tests.sso.journey import at_the_provider, leave, query_of, sign_in
from tests.world import World, open_world


async def member(world: World, email: str) -> Member | None:
    async with world.database.reading() as session:
        query = select(Member).where(Member.email == email)
        return (await session.execute(query)).scalar_one_or_none()


async def trail(world: World, tenant: str = "acme") -> list[AuditEntry]:
    async with world.database.reading() as session:
        query = select(AuditEntry).where(AuditEntry.tenant_id == tenant)
        return list((await session.execute(query.order_by(AuditEntry.sequence))).scalars())


async def test_the_first_sign_in_makes_the_member_and_leads_on(
    world: World, provider: Provider
) -> None:
    name = provider.person(role="tenant_admin", name="Ada Lovelace")
    async with Visitor(world.app) as visitor:
        assert "Sign in with single sign-on" in text_of(await visitor.get("/login"))

        answer = await sign_in(visitor, name, onward="/audit")

        assert (answer.status_code, answer.headers["location"]) == (303, "/audit")
        page = text_of(await visitor.get("/settings"))
    assert f"{name}@corp.example" in page
    assert "Tenant admin" in page
    made = await member(world, f"{name}@corp.example")
    assert made is not None
    assert ("acme", "Ada Lovelace", "") == (made.tenant_id, made.name, made.password_hash)
    assert provider.issuer == made.issuer
    last = [entry.action for entry in await trail(world)][-2:]
    assert last == ["member.created", "member.signed_in"]


async def test_pkce_state_and_nonce_leave_and_the_provider_checks_them(
    world: World, provider: Provider
) -> None:
    async with Visitor(world.app) as visitor:
        asked = query_of(await leave(visitor))
        raw = cookies.read_sealed(Asked(world, visitor), cookies.TICKET)  # type: ignore[arg-type]  # all it needs
        ticket = json.loads(raw or b"")
        digest = hashlib.sha256(ticket["verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")

        assert {"code", "S256", challenge} == {
            asked["response_type"], asked["code_challenge_method"], asked["code_challenge"],
        }  # fmt: skip
        assert (ticket["state"], ticket["nonce"]) == (asked["state"], asked["nonce"])
        assert ticket["verifier"] not in visitor.http.cookies["sign-on"]

        # Another verifier than the one whose hash was sent: the provider keeps its code.
        address = await at_the_provider(
            (await leave(visitor)).replace("code_challenge=", "code_challenge=x"),
            provider.person(),
        )
        answer = await visitor.get(address)
    assert answer.status_code == 403
    assert "provider refused this sign-in" in text_of(answer)


async def test_the_role_is_the_providers_at_every_sign_in(world: World, provider: Provider) -> None:
    name = provider.person(role=["staff", "auditor"])
    async with Visitor(world.app) as visitor:
        await sign_in(visitor, name)
        assert (await visitor.get("/audit")).status_code == 200
        provider.claim(name, role="operator")

        async with Visitor(world.app) as again:
            await sign_in(again, name)
            assert (await again.get("/audit")).status_code == 403

        assert (await visitor.get("/audit")).status_code == 403, "the older session too"
    (changed,) = [one for one in await trail(world) if one.action == "member.role_changed"]
    assert changed.changes == {"role": {"from": "auditor", "to": "operator"}}
    assert changed.actor_label == "single sign-on"


@pytest.mark.parametrize(
    ("claims", "tenant", "said"),
    [
        ({"tenant": "initech"}, "platform", "belongs to no tenant"),
        ({"tenant": None}, "platform", "belongs to no tenant"),
        ({"tenant": ["acme"]}, "platform", "belongs to no tenant"),
        ({"tenant": "platform", "role": "platform"}, "platform", "belongs to no tenant"),
        ({"role": "Operator"}, "acme", "names none of the roles"),
        ({"role": None}, "acme", "names none of the roles"),
        ({"role": "platform"}, "acme", "names none of the roles"),
        ({"role": ["operator", "auditor"]}, "acme", "more than one role: operator, auditor"),
        ({"email": None}, "acme", "names no email address"),
        ({"email": "admin@globex.example"}, "acme", "another member's address"),
        (
            {"email": "operator@acme.example", "email_verified": False},
            "acme",
            "has not verified that operator@acme.example is yours",
        ),
    ],
)
async def test_who_does_not_belong_is_told_why_and_it_is_audited(
    shared: World, provider: Provider, claims: dict[str, Any], tenant: str, said: str
) -> None:
    name = provider.person(**claims)
    async with Visitor(shared.app) as visitor:
        answer = await sign_in(visitor, name)

        assert answer.status_code == 403
        assert "You cannot sign in" in text_of(answer)
        assert said in text_of(answer)
        assert (await visitor.get("/settings")).status_code == 303
    entry = (await trail(shared, tenant))[-1]
    assert entry.action == "member.sign_in_refused"
    assert said in entry.changes["reason"]


async def test_a_local_account_goes_over_to_single_sign_on_and_loses_its_password(
    world: World, provider: Provider
) -> None:
    name = provider.person(email="Operator@acme.example", role="operator")
    before = await member(world, "operator@acme.example")
    async with Visitor(world.app) as visitor:
        assert (await sign_in(visitor, name)).status_code == 303
    after = await member(world, "operator@acme.example")

    assert before is not None
    assert after is not None
    assert (before.id, "") == (after.id, after.password_hash)
    async with Visitor(world.app) as visitor:
        assert (await visitor.sign_in("operator")).status_code == 401
        decoy = await visitor.sign_in("operator", "no account has this password")
        assert decoy.status_code == 401
    assert "member.linked" in [entry.action for entry in await trail(world)]


async def test_somebody_elses_sign_in_cannot_take_the_place_of_a_member(
    world: World, provider: Provider
) -> None:
    first = provider.person()
    other = provider.person(email=f"{first}@corp.example")
    moved = provider.person()
    async with Visitor(world.app) as visitor:
        await sign_in(visitor, first)
        await sign_in(visitor, moved)
    provider.claim(moved, tenant="globex")

    for name, said in ((other, "another member's address"), (moved, "member of another tenant")):
        async with Visitor(world.app) as visitor:
            answer = await sign_in(visitor, name)
            assert answer.status_code == 403
            assert said in text_of(answer)


async def test_an_answer_counts_once_and_only_where_it_was_asked_for(
    world: World, provider: Provider
) -> None:
    name = provider.person()
    async with Visitor(world.app) as visitor, Visitor(world.app) as stranger:
        back = await at_the_provider(await leave(visitor), name)
        ticket = visitor.http.cookies["sign-on"]

        # Planted in a stranger's browser, with no sign-in begun there or with another one.
        assert (await stranger.get(back)).status_code == 400
        await leave(stranger)
        assert (await stranger.get(back)).status_code == 400
        assert (await visitor.get(back.replace("state=", "state=x"))).status_code == 400
        assert (await visitor.get(f"{back}&iss=https://evil.example")).status_code == 400

        assert (await visitor.get(back)).status_code == 303
        assert "sign-on" not in visitor.http.cookies
        # Replayed: without the ticket, and with the ticket put back.
        assert (await visitor.get(back)).status_code == 400
        visitor.http.cookies.set("sign-on", ticket)
        replayed = await visitor.get(back)
        assert replayed.status_code == 400
        assert "used already" in text_of(replayed)


async def test_a_refusal_at_the_provider_is_told_in_our_words(world: World) -> None:
    async with Visitor(world.app) as visitor:
        state = query_of(await leave(visitor))["state"]
        answer = await visitor.get(
            f"/login/sso/callback?state={state}&error=access_denied&error_description=<b>boo</b>"
        )

    assert answer.status_code == 403
    assert "did not let you in" in text_of(answer)
    assert "boo" not in answer.text


async def test_the_nonce_ties_the_id_token_to_this_sign_in(
    world: World, provider: Provider
) -> None:
    async with Visitor(world.app) as visitor:
        other = (await leave(visitor)).replace("nonce=", "nonce=x")
        answer = await visitor.get(await at_the_provider(other, provider.person()))

    assert answer.status_code == 403
    assert "belongs to another sign-in" in text_of(answer)


async def test_with_local_accounts_off_passwords_and_invites_are_refused(
    database_url: str, provider: Provider
) -> None:
    settings = settings_of(provider, ONEPROTECT_LOCAL_ACCOUNTS="false")
    name = provider.person(role="tenant_admin")
    async with open_world(database_url, **settings) as world, Visitor(world.app) as visitor:
        page = await visitor.get("/login")
        assert 'name="password"' not in page.text
        assert "Local demo" not in page.text
        assert "Sign in with single sign-on" in page.text
        refused = await visitor.sign_in("admin")
        assert refused.status_code == 403
        assert "Passwords are switched off" in text_of(refused)
        assert (await visitor.get("/invite/anything")).status_code == 403

        person = {"email": "x@acme.example", "role": "operator"}
        assert (await world.as_("acme_admin").post("/members", json=person)).status_code == 409
        assert (await sign_in(visitor, name)).status_code == 303
        settings_page = await visitor.get("/settings")
        assert "Invite member" not in settings_page.text


async def test_without_a_provider_there_is_nothing_to_press(database_url: str) -> None:
    async with open_world(database_url) as world, Visitor(world.app) as visitor:
        assert "single sign-on" not in (await visitor.get("/login")).text
        assert (await visitor.get("/login/sso")).status_code == 404
        assert (await visitor.get("/login/sso/callback?code=x&state=y")).status_code == 404


async def test_while_the_provider_is_away_people_are_told_to_try_again(
    database_url: str, provider: Provider
) -> None:
    gone = settings_of(provider, ONEPROTECT_OIDC_ISSUER="http://127.0.0.1:9/o")
    async with open_world(database_url, **gone) as world, Visitor(world.app) as visitor:
        for _ in range(2):
            answer = await visitor.get("/login/sso")
            assert answer.status_code == 503
            assert "cannot be reached now" in text_of(answer)
        assert (await visitor.sign_in("admin")).status_code == 303, "passwords work on"
