"""Tenants, members, tokens and portal sessions: made under rules, found only while they hold."""

from datetime import timedelta
from typing import Any

import pytest
from argon2 import extract_parameters
from sqlalchemy import select, update

from app.audit.models import SYSTEM, AuditEntry
from app.crypto import token_hash
from app.database import utcnow
from app.errors import Conflict, Invalid, NotFound, Unauthenticated
from app.identity import passwords, service
from app.identity.demo import DEMO_PASSWORD
from app.identity.models import PLATFORM, Member, PortalSession
from app.identity.permissions import Role
from tests.api.rows import count, tables_that_hold
from tests.world import World


@pytest.fixture
def world(shared: World) -> World:
    return shared


PERSON: dict[str, Any] = {
    "tenant_id": "globex", "email": "new@globex.example", "name": "New", "role": Role.OPERATOR,
    "password": "correct horse battery", "actor": SYSTEM,
}  # fmt: skip


async def actions(world: World, tenant: str = "acme") -> list[str]:
    query = select(AuditEntry.action).where(AuditEntry.tenant_id == tenant)
    async with world.database.reading() as session:
        rows = await session.execute(query.order_by(AuditEntry.sequence))
        return list(rows.scalars())


async def test_a_new_tenant_can_be_published_for_at_once(world: World) -> None:
    async with world.database.transaction() as session:
        await service.create_tenant(session, tenant_id="initech", name=" Initech ", actor=SYSTEM)

    answer = await world.as_("platform").post(
        "/events", json={"tenant": "initech", "type": "a", "data": {}}
    )

    assert 202 == answer.status_code
    assert ["tenant.created"] == await actions(world, "initech")


async def test_a_tenant_needs_an_id_that_stands_anywhere_as_it_is(world: World) -> None:
    for odd in ("", "A", "a_b", "-a", "a-", "a b", "ä", "a\n", "a/b", "x" * 64, 'a"b'):
        async with world.database.transaction() as session:
            with pytest.raises(Invalid):
                await service.create_tenant(session, tenant_id=odd, name="x", actor=SYSTEM)
    for taken in ("acme", PLATFORM):
        async with world.database.transaction() as session:
            with pytest.raises(Conflict):
                await service.create_tenant(session, tenant_id=taken, name="x", actor=SYSTEM)


async def test_names_too_long_or_unprintable_are_refused_before_the_database_has_to(
    world: World,
) -> None:
    for name in ("x" * 101, "a\x00b", "a\nb"):
        async with world.database.transaction() as session:
            with pytest.raises(Invalid):
                await service.create_tenant(session, tenant_id="new", name=name, actor=SYSTEM)
            with pytest.raises(Invalid):
                await service.create_member(session, **PERSON | {"name": name})
            with pytest.raises(Invalid):
                await service.create_token(
                    session, tenant_id="acme", name=name, role=Role.OPERATOR, actor=SYSTEM
                )


async def test_a_member_signs_in_with_email_in_any_case_and_the_password(world: World) -> None:
    async with world.database.transaction() as session:
        made = await service.create_member(session, **PERSON)

    async with world.database.reading() as session:
        found = await service.authenticate(session, " NEW@globex.example ", PERSON["password"])
        for email, password in (
            (PERSON["email"], "wrong horse battery"),
            (PERSON["email"], ""),
            (PERSON["email"], PERSON["password"] + " "),
            ("nobody@acme.example", PERSON["password"]),
            ("", ""),
        ):
            with pytest.raises(Unauthenticated, match=r"^Email or password is wrong\.$"):
                await service.authenticate(session, email, password)

    assert made.id == found.id
    assert set() == await tables_that_hold(world.database, PERSON["password"])
    assert made.password_hash.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_wrong_members_are_refused(world: World) -> None:
    for fault, changed in (
        (Conflict, {"email": "ADMIN@acme.example"}),
        (Invalid, {"email": "no at sign"}),
        (Invalid, {"email": "a@b@c"}),
        (Invalid, {"email": "x" * 65 + "@acme.example"}),
        (Invalid, {"role": Role.PLATFORM}),
        (Invalid, {"tenant_id": "nope"}),
        (Invalid, {"password": "short"}),
        (Invalid, {"password": "x" * 201}),
    ):
        async with world.database.transaction() as session:
            with pytest.raises(fault):
                await service.create_member(
                    session, **PERSON | {"email": "other@globex.example"} | changed
                )


def test_a_password_for_nobody_is_compared_at_the_cost_of_a_real_one() -> None:
    real = passwords.hash_password("correct horse battery")

    assert extract_parameters(passwords.DECOY) == extract_parameters(real)
    assert not passwords.password_matches(None, "no account has this password")


async def test_the_platform_role_belongs_to_the_platform_and_to_no_tenant(world: World) -> None:
    for tenant, role in (
        ("acme", Role.PLATFORM),
        (PLATFORM, Role.OPERATOR),
        ("nope", Role.AUDITOR),
    ):
        async with world.database.transaction() as session:
            with pytest.raises(Invalid):
                await service.create_token(
                    session, tenant_id=tenant, name="x", role=role, actor=SYSTEM
                )


async def test_revoking_twice_or_a_foreign_token_is_not_found(world: World) -> None:
    before = (await actions(world)).count("token.revoked")
    async with world.database.transaction() as session:
        token, _ = await service.create_token(
            session, tenant_id="acme", name="x", role=Role.AUDITOR, actor=SYSTEM
        )
    async with world.database.transaction() as session:
        with pytest.raises(NotFound):
            await service.revoke_token(session, "globex", token.id, actor=SYSTEM)
        await service.revoke_token(session, "acme", token.id, actor=SYSTEM)
    async with world.database.transaction() as session:
        with pytest.raises(NotFound):
            await service.revoke_token(session, "acme", token.id, actor=SYSTEM)

    assert before + 1 == (await actions(world)).count("token.revoked")


async def open_session(world: World) -> str:
    async with world.database.transaction() as session:
        member = await service.authenticate(session, "auditor@acme.example", DEMO_PASSWORD)
        return await service.open_session(
            session, member, address="192.0.2.7", user_agent="x" * 999
        )


async def holder(world: World, text: str) -> str | None:
    async with world.database.reading() as session:
        found = await service.find_session(session, text, address="", user_agent="")
        return found[0].actor.label if found else None


async def test_a_session_is_found_by_its_text_alone_and_recorded(world: World) -> None:
    text = await open_session(world)

    assert "auditor@acme.example" == await holder(world, text)
    for other in ("", text[:-1], text + "x", "attackerchosen"):
        assert await holder(world, other) is None
    assert set() == await tables_that_hold(world.database, text)
    assert "member.signed_in" == (await actions(world))[-1]


async def test_every_sign_in_has_a_session_of_its_own(world: World) -> None:
    assert await open_session(world) != await open_session(world)


async def test_an_idle_or_old_session_is_over(world: World) -> None:
    now = utcnow()
    for over in (
        {"last_seen_at": now - service.SESSION_IDLE - timedelta(seconds=1)},
        {"expires_at": now - timedelta(seconds=1)},
    ):
        text = await open_session(world)
        ours = PortalSession.token_hash == token_hash(text)
        async with world.database.transaction() as session:
            await session.execute(update(PortalSession).where(ours).values(**over))
        assert await holder(world, text) is None


async def test_signing_out_ends_the_session_everywhere_and_is_recorded_once(world: World) -> None:
    text = await open_session(world)
    async with world.database.reading() as session:
        member = await session.scalar(select(Member).where(Member.email == "auditor@acme.example"))
    assert member is not None
    actor = service.member_actor(member, address="", user_agent="")
    before = (await actions(world)).count("member.signed_out")

    for _ in range(2):
        async with world.database.transaction() as session:
            await service.close_session(session, text, actor)

    assert await holder(world, text) is None
    assert before + 1 == (await actions(world)).count("member.signed_out")
    assert 0 == await count(world.database, PortalSession, token_hash=token_hash(text))


async def test_a_role_that_changes_counts_from_the_next_request_on(world: World) -> None:
    text = await open_session(world)
    async with world.database.transaction() as session:
        await session.execute(
            update(Member).where(Member.email == "auditor@acme.example").values(role=Role.OPERATOR)
        )

    async with world.database.reading() as session:
        found = await service.find_session(session, text, address="", user_agent="")

    assert found is not None
    assert Role.OPERATOR is found[0].role


async def test_a_last_use_is_worth_a_write_once_a_minute() -> None:
    now = utcnow()

    assert service.is_stale(None)
    assert service.is_stale(now - timedelta(seconds=61))
    assert not service.is_stale(now - timedelta(seconds=30))


async def test_a_token_of_256_random_bits_is_made_each_time(world: World) -> None:
    async with world.database.transaction() as session:
        texts = {
            (
                await service.create_token(
                    session, tenant_id="acme", name="x", role=Role.AUDITOR, actor=SYSTEM
                )
            )[1]
            for _ in range(5)
        }

    assert 5 == len(texts)
    assert {46} == {len(text) for text in texts}
