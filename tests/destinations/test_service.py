"""What a face does not show of destinations: sealing, rekeying, secrets destroyed."""

import base64

import pytest
from sqlalchemy import select

from app.crypto import Keyring, UndecryptableError
from app.destinations import resealing, service
from app.destinations.models import Destination, SigningSecret, secret_context
from tests.api.rows import count
from tests.world import World

URL = "https://93.184.216.34/hook"
OLD = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
NEW = base64.b64encode(bytes(32)).decode()


async def stored(world: World) -> tuple[Destination, SigningSecret]:
    async with world.database.reading() as session:
        destination = (await session.execute(select(Destination))).scalars().one()
        secret = (await session.execute(select(SigningSecret))).scalars().one()
        return destination, secret


async def test_a_secret_is_bound_to_its_destination(world: World) -> None:
    made = await world.make_destination(URL)
    _, secret = await stored(world)

    key = world.keyring.open(secret.sealed, secret_context("acme", made["id"]))

    assert made["signing_secret"] == "whsec_" + base64.b64encode(key).decode()
    for tenant, destination in (("globex", made["id"]), ("acme", made["id"] + "x")):
        with pytest.raises(UndecryptableError):
            world.keyring.open(secret.sealed, secret_context(tenant, destination))


async def test_rekeying_seals_everything_anew_and_once(world: World) -> None:
    made = await world.make_destination(URL, headers={"X-Key": "k-5f1e"})
    both = Keyring.from_texts([NEW, OLD])

    async with world.database.transaction() as session:
        first = await resealing.rekey(session, both)
    async with world.database.transaction() as session:
        second = await resealing.rekey(session, both)

    newest = Keyring.from_texts([NEW])
    destination, secret = await stored(world)
    key = newest.open(secret.sealed, secret_context("acme", made["id"]))
    assert (2, 0) == (first.sealed, second.sealed)
    assert made["signing_secret"].endswith(base64.b64encode(key).decode())
    assert ["X-Key"] == service.header_names(destination, newest)


async def test_what_no_key_opens_is_told_and_left_as_it_is(world: World) -> None:
    made = await world.make_destination(URL, headers={"X-Key": "k-5f1e"})
    before = (await stored(world))[1].sealed

    async with world.database.transaction() as session:
        done = await resealing.rekey(session, Keyring.from_texts([NEW]))

    assert (0, {made["id"]}) == (done.sealed, done.lost)
    assert before == (await stored(world))[1].sealed


async def test_headers_that_no_key_opens_do_not_break_the_page(world: World) -> None:
    made = await world.make_destination(URL, headers={"X-Key": "k-5f1e"})
    world.services.keyring = Keyring.from_texts([NEW])
    path = f"/integrations/destinations/{made['id']}"

    read = await world.as_("acme_admin").get(path)
    changed = await world.as_("acme_admin").patch(path, json={"headers": {"X-Key": "again"}})

    assert (200, []) == (read.status_code, read.json()["header_names"])
    assert (200, ["X-Key"]) == (changed.status_code, changed.json()["header_names"])


async def test_deleting_destroys_the_secrets_and_the_headers(world: World) -> None:
    made = await world.make_destination(URL, headers={"X-Key": "k-5f1e"})
    base = f"/integrations/destinations/{made['id']}"
    await world.as_("acme_admin").post(f"{base}/rotate-secret")

    await world.as_("acme_admin").delete(base)

    assert 0 == await count(world.database, SigningSecret)
    assert 1 == await count(world.database, Destination, id=made["id"], sealed_headers=None)


async def test_a_very_long_reason_is_cut_to_what_the_column_takes(world: World) -> None:
    from app.audit.models import SYSTEM

    made = await world.make_destination(URL)
    async with world.database.transaction() as session:
        await service.disable(session, "acme", made["id"], reason="x" * 999, actor=SYSTEM)

    destination, _ = await stored(world)
    assert "x" * 200 == destination.disabled_reason
