"""The brake on guessing: one count for all web processes, and no victim locked out by it."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import update

from app.database import utcnow
from app.errors import TooManyRequests
from app.identity import throttle
from app.identity.models import SignInWindow
from app.identity.throttle import TRIES, TRIES_PER_ACCOUNT, TRIES_PER_ADDRESS, WITHIN
from app.portal import cookies
from tests.api.rows import count, tables_that_hold
from tests.portal.visitor import Asked, Visitor
from tests.world import World, open_world

EMAIL = "admin@acme.example"
OWNER = "203.0.113.7"  # where a Visitor comes from


async def take(
    world: World, email: str, address: str, device: str | None = None
) -> TooManyRequests | None:
    async with world.database.transaction() as session:
        return await throttle.take(session, throttle.windows_of(email, address, device))


async def test_two_processes_count_together(world: World) -> None:
    async with (
        open_world(world.url) as other,
        Visitor(world.app) as here,
        Visitor(other.app) as there,
    ):
        for _ in range(TRIES // 2 - 1):
            assert await take(world, EMAIL, OWNER) is None
            assert await take(other, EMAIL, OWNER) is None
        assert (await here.sign_in("admin", "guess")).status_code == 401
        assert (await there.sign_in("admin", "guess")).status_code == 401

        for visitor in (here, there):
            refused = await visitor.sign_in("admin")
            assert refused.status_code == 429
            assert 0 < int(refused.headers["retry-after"]) <= WITHIN.total_seconds() + 1
        async with Visitor(other.app, address="198.51.100.4") as victim:
            assert (await victim.sign_in("admin")).status_code == 303


async def test_tries_at_the_same_moment_are_all_counted(world: World) -> None:
    taken = await asyncio.gather(*(take(world, EMAIL, "192.0.2.1") for _ in range(TRIES + 5)))

    assert TRIES == taken.count(None)


async def test_a_known_device_gets_in_however_hard_others_guess(world: World) -> None:
    async with Visitor(world.app) as owner:
        assert (await owner.sign_in("admin")).status_code == 303
        await owner.post("/logout")
        # The attacker sits behind the owner's own address, and everywhere else.
        for number in range(TRIES_PER_ACCOUNT + 1):
            await take(world, EMAIL, OWNER if number < TRIES + 1 else f"10.0.0.{number}")

        async with Visitor(world.app, address="203.0.113.99") as unknown:
            assert (await unknown.sign_in("admin")).status_code == 429
        assert (await owner.sign_in("admin")).status_code == 303

        # A stolen device has its own brake, and is good for one account only.
        await owner.post("/logout")
        raw = cookies.read_sealed(Asked(world, owner), cookies.DEVICE) or b""  # type: ignore[arg-type]  # all it needs
        device = msgspec.json.decode(raw)["id"]
        for _ in range(TRIES):
            assert await take(world, EMAIL, OWNER, device) is None
        assert (await owner.sign_in("admin")).status_code == 429


async def test_a_device_cookie_counts_for_its_account_only_and_cannot_be_made(
    world: World,
) -> None:
    async with Visitor(world.app) as visitor:
        await visitor.sign_in("operator")
        await visitor.post("/logout")
        for _ in range(TRIES + 1):
            await take(world, EMAIL, OWNER)
        assert (await visitor.sign_in("admin")).status_code == 429
        device = visitor.http.cookies["device"]
        visitor.http.cookies.set("device", device[:-4] + "AAAA", domain="testserver.local")
        for _ in range(TRIES + 1):
            await take(world, "operator@acme.example", OWNER)
        assert (await visitor.sign_in("operator")).status_code == 429
        for odd in ("", "A", "AAAA", "x" * 3_000):
            visitor.http.cookies.clear()
            visitor.http.cookies.set("device", odd)
            assert (await visitor.sign_in("operator")).status_code == 429


async def test_an_address_that_tries_many_accounts_is_stopped_before_it_leaves_rows(
    world: World,
) -> None:
    async with world.database.transaction() as session:
        for number in range(TRIES_PER_ADDRESS):
            windows = throttle.windows_of(f"u{number}@acme.example", "192.0.2.9", None)
            assert await throttle.take(session, windows[:1]) is None
    before = await count(world.database, SignInWindow)

    assert await take(world, "one.more@acme.example", "192.0.2.9") is not None
    assert before == await count(world.database, SignInWindow)
    assert await take(world, "one.more@acme.example", "192.0.2.10") is None


async def test_the_brake_lets_go_after_its_time(world: World) -> None:
    for _ in range(TRIES + 1):
        refusal = await take(world, EMAIL, "192.0.2.2")
    assert refusal is not None

    async with world.database.transaction() as session:
        past = utcnow() - timedelta(seconds=1)
        await session.execute(update(SignInWindow).values(until=past))

    assert await take(world, EMAIL, "192.0.2.2") is None
    for _ in range(TRIES - 1):
        assert await take(world, EMAIL, "192.0.2.2") is None
    assert await take(world, EMAIL, "192.0.2.2") is not None


async def test_a_success_is_no_guess_and_what_was_typed_is_not_kept(world: World) -> None:
    async with Visitor(world.app) as visitor:
        for _ in range(2):
            for _ in range(TRIES - 1):
                assert await take(world, "operator@acme.example", OWNER) is None
            assert (await visitor.sign_in("operator")).status_code == 303
            await visitor.post("/logout")
            visitor.http.cookies.delete("device")
        await visitor.sign_in("my password, typed in the wrong field", "x")

    assert set() == await tables_that_hold(world.database, "my password")


@pytest.mark.parametrize("email", ["\ud800@x", "x" * 10_000, "a\0b"])
def test_whatever_is_typed_has_a_key(email: str) -> None:
    assert {32} == {len(window.key) for window in throttle.windows_of(email, "1", None)}
