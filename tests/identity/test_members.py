"""Members: invited once, given another role, removed; and one admin stays whatever happens."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from app.audit import proof
from app.audit.models import SYSTEM, Actor, AuditEntry
from app.crypto import token_hash
from app.database import utcnow
from app.destinations import signing_keys
from app.errors import AppError, Conflict, Invalid, NotFound
from app.identity import members, service, sessions
from app.identity.models import Member, PortalSession
from app.identity.permissions import Role
from tests.api.rows import count, tables_that_hold
from tests.world import World

ACTOR = Actor(kind="member", id="usr_x", label="admin@acme.example")
PASSWORD = "a long enough pass phrase"


async def invite(world: World, email: str, role: Role = Role.OPERATOR) -> tuple[Member, str]:
    async with world.database.transaction("acme") as session:
        return await members.invite(
            session, tenant_id="acme", email=email, name="", role=role, actor=ACTOR
        )


async def join(world: World, text: str, password: str = PASSWORD) -> Member:
    async with world.database.transaction() as session:
        return await members.join(
            session, text, password=password, address="192.0.2.1", user_agent="test"
        )


async def admin_of(world: World, tenant: str = "acme") -> Member:
    async with world.database.reading() as session:
        query = select(Member).where(Member.email == f"admin@{tenant}.example")
        return (await session.execute(query)).scalar_one()


async def entries(world: World, action: str) -> list[AuditEntry]:
    query = select(AuditEntry).where(AuditEntry.tenant_id == "acme", AuditEntry.action == action)
    async with world.database.reading() as session:
        return list((await session.execute(query.order_by(AuditEntry.sequence))).scalars())


async def open_sessions(world: World, member: Member, times: int = 1) -> list[str]:
    async with world.database.transaction() as session:
        return [
            await service.open_session(session, member, address="192.0.2.1", user_agent="test")
            for _ in range(times)
        ]


async def is_signed_in(world: World, text: str) -> bool:
    async with world.database.reading() as session:
        return await service.find_session(session, text, address="", user_agent="") is not None


async def test_an_invite_is_good_once_and_its_text_is_kept_nowhere(world: World) -> None:
    made, text = await invite(world, "New@acme.example")
    assert not made.has_joined
    assert set() == await tables_that_hold(world.database, text)

    joined = await join(world, text)

    async with world.database.reading() as session:
        found = await service.authenticate(session, "new@acme.example", PASSWORD)
    assert made.id == joined.id == found.id
    with pytest.raises(NotFound):
        await join(world, text)
    assert set() == await tables_that_hold(world.database, PASSWORD)
    assert ("operator", "admin@acme.example") == (
        (await entries(world, "member.invited"))[0].changes["role"],
        (await entries(world, "member.invited"))[0].actor_label,
    )
    assert "new@acme.example" == (await entries(world, "member.joined"))[0].actor_label


async def test_of_two_who_use_the_same_invite_at_once_one_joins(world: World) -> None:
    _, text = await invite(world, "new@acme.example")

    done = await asyncio.gather(*(join(world, text) for _ in range(3)), return_exceptions=True)

    assert sorted(type(one).__name__ for one in done) == ["Member", "NotFound", "NotFound"]


async def test_an_invite_ends_after_seven_days(world: World) -> None:
    made, text = await invite(world, "new@acme.example")
    assert made.invite_expires_at is not None
    assert timedelta(days=7) == members.INVITE_LIFETIME
    async with world.database.transaction() as session:
        over = utcnow() - timedelta(seconds=1)
        ours = update(Member).where(Member.id == made.id)
        await session.execute(ours.values(invite_expires_at=over))

    for use in (lambda: join(world, text), lambda: _look(world, text)):
        with pytest.raises(NotFound):
            await use()


async def _look(world: World, text: str) -> Member:
    async with world.database.reading() as session:
        return await members.invited(session, text)


async def test_a_password_that_is_too_short_does_not_use_the_invite_up(world: World) -> None:
    _, text = await invite(world, "new@acme.example")
    with pytest.raises(Invalid):
        await join(world, text, "short")

    assert (await join(world, text)).email == "new@acme.example"


async def test_who_was_invited_and_never_joined_cannot_sign_in(world: World) -> None:
    await invite(world, "new@acme.example")
    async with world.database.reading() as session:
        for password in ("", "no account has this password"):
            with pytest.raises(AppError, match="Email or password is wrong"):
                await service.authenticate(session, "new@acme.example", password)


async def test_a_new_link_replaces_the_old_one_and_a_new_password_ends_old_sessions(
    world: World,
) -> None:
    made, first = await invite(world, "new@acme.example")
    async with world.database.transaction("acme") as session:
        _, second = await members.invite_again(session, "acme", made.id, actor=ACTOR)
    with pytest.raises(NotFound):
        await join(world, first)
    member = await join(world, second)
    (cookie,) = await open_sessions(world, member)

    async with world.database.transaction("acme") as session:
        _, third = await members.invite_again(session, "acme", made.id, actor=ACTOR)
    assert await is_signed_in(world, cookie), "until the link is used"
    await join(world, third, "another long pass phrase")

    assert not await is_signed_in(world, cookie)


async def test_an_email_is_invited_once_and_checked(world: World) -> None:
    for email, fault in (
        ("admin@globex.example", Conflict), ("no at sign", Invalid), ("a@b\0c", Invalid),
    ):  # fmt: skip
        with pytest.raises(fault):
            await invite(world, email)
    with pytest.raises(Invalid):
        await invite(world, "x@acme.example", Role.PLATFORM)


async def test_a_role_counts_at_once_and_the_audit_tells_before_and_after(world: World) -> None:
    _, text = await invite(world, "new@acme.example")
    member = await join(world, text)
    (cookie,) = await open_sessions(world, member)

    for _ in range(2):  # the second time nothing changes, and nothing is written
        async with world.database.transaction("acme") as session:
            await members.change_role(session, "acme", member.id, Role.AUDITOR, actor=ACTOR)

    async with world.database.reading() as session:
        found = await service.find_session(session, cookie, address="", user_agent="")
    assert found is not None
    assert Role.AUDITOR is found[0].role
    (entry,) = await entries(world, "member.role_changed")
    assert {"role": {"from": "operator", "to": "auditor"}} == entry.changes
    assert ("new@acme.example", "admin@acme.example") == (entry.target_label, entry.actor_label)


async def test_a_removed_member_is_signed_out_at_once_and_may_be_invited_again(
    world: World,
) -> None:
    _, text = await invite(world, "new@acme.example")
    member = await join(world, text)
    cookies = await open_sessions(world, member, 2)

    async with world.database.transaction("acme") as session:
        await members.remove(session, "acme", member.id, actor=ACTOR)

    assert not any([await is_signed_in(world, cookie) for cookie in cookies])
    assert 0 == await count(world.database, PortalSession, member_id=member.id)
    assert "new@acme.example" == (await entries(world, "member.removed"))[0].target_label
    again, _ = await invite(world, "new@acme.example")
    assert again.id != member.id
    notary = await signing_keys.notary(world.database, world.keyring)
    async with world.database.reading() as session:
        assert (await proof.verify(session, "acme", notary)).intact


async def test_the_last_admin_can_be_neither_demoted_nor_removed(world: World) -> None:
    admin = await admin_of(world)
    await invite(world, "promised@acme.example", Role.TENANT_ADMIN)  # cannot sign in yet

    for change in (_demote, _remove):
        with pytest.raises(Conflict, match=r"^The last tenant admin cannot be "):
            await change(world, admin.id)

    _, text = await invite(world, "second@acme.example", Role.TENANT_ADMIN)
    await join(world, text)
    await _demote(world, admin.id)
    assert Role.OPERATOR == (await admin_of(world)).role


async def _demote(world: World, member_id: str) -> None:
    async with world.database.transaction("acme") as session:
        await members.change_role(session, "acme", member_id, Role.OPERATOR, actor=ACTOR)


async def _remove(world: World, member_id: str) -> None:
    async with world.database.transaction("acme") as session:
        await members.remove(session, "acme", member_id, actor=ACTOR)


@pytest.mark.parametrize("changes", [(_demote, _demote), (_remove, _remove), (_demote, _remove)])
async def test_two_admins_who_undo_each_other_at_once_leave_one(
    world: World, changes: tuple[object, object]
) -> None:
    first = await admin_of(world)
    _, text = await invite(world, "second@acme.example", Role.TENANT_ADMIN)
    second = await join(world, text)
    one, other = changes

    done = await asyncio.gather(
        one(world, first.id), other(world, second.id),  # type: ignore[operator]  # they are the two above
        return_exceptions=True,
    )  # fmt: skip

    assert [Conflict] == [type(fault) for fault in done if fault is not None]
    assert 1 == await count(world.database, Member, tenant_id="acme", role=Role.TENANT_ADMIN.value)


async def test_what_is_another_tenants_is_not_found(world: World) -> None:
    theirs = await admin_of(world, "globex")
    (cookie,) = await open_sessions(world, theirs)
    async with world.database.reading() as session:
        ((current, _),) = await sessions.page(session, "globex")
    for change in (
        lambda s: members.remove(s, "acme", theirs.id, actor=ACTOR),
        lambda s: members.change_role(s, "acme", theirs.id, Role.AUDITOR, actor=ACTOR),
        lambda s: members.invite_again(s, "acme", theirs.id, actor=ACTOR),
        lambda s: sessions.end(s, "acme", current.id, actor=ACTOR),
    ):
        async with world.database.transaction() as session:
            with pytest.raises(NotFound):
                await change(session)

    assert await is_signed_in(world, cookie)


async def test_sessions_are_listed_while_they_hold_and_end_one_by_one_or_all(
    world: World,
) -> None:
    admin = await admin_of(world)
    one, *rest = await open_sessions(world, admin, 3)
    async with world.database.transaction() as session:
        old = update(PortalSession).where(PortalSession.token_hash == token_hash(rest.pop()))
        await session.execute(old.values(last_seen_at=utcnow() - timedelta(hours=3)))
    async with world.database.reading() as session:
        listed = await sessions.page(session, "acme", member_id=admin.id)
    assert 2 == len(listed)
    mine = next(row for row, _ in listed if row.token_hash == token_hash(one))

    async with world.database.transaction("acme") as session:
        with pytest.raises(NotFound):
            await sessions.end(session, "acme", mine.id, actor=ACTOR, member_id="usr_other")
        await sessions.end(session, "acme", mine.id, actor=ACTOR, member_id=admin.id)
    assert not await is_signed_in(world, one)
    assert await is_signed_in(world, rest[0])

    async with world.database.transaction("acme") as session:
        assert 2 == await sessions.end_all(session, admin, actor=SYSTEM)
    assert not await is_signed_in(world, rest[0])
    assert ["session.ended", "sessions.ended"] == [
        entry.action
        for action in ("session.ended", "sessions.ended")
        for entry in await entries(world, action)
    ]
