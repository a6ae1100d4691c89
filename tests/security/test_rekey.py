"""Changing the key that seals stored secrets: nothing is lost, and nothing is sent unsigned."""

import asyncio
import base64
import secrets
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from app.crypto import Keyring
from tests.receiver import Receiver
from tests.security.stored import execute
from tests.tools.programs import call
from tests.world import World, open_world

OLD = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="  # the key of every world


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


async def _rekey(folder: Path, url: str, *keys: str) -> Any:
    settings = {"DATABASE_URL": url, "SECRET_KEYS": ",".join(keys)}
    return await asyncio.to_thread(call, folder, "rekey", **settings)


async def _forget_key(world: World, destination_id: str) -> None:
    """Make the stored secret look sealed by a key that nobody has any more."""
    sealed = Keyring([secrets.token_bytes(32)]).seal(b"x" * 32, "secret:acme:elsewhere")
    await asyncio.to_thread(
        execute, world.url, "UPDATE signing_secret SET sealed = ? WHERE destination_id = ?",
        sealed, destination_id,
    )  # fmt: skip


async def test_after_a_rekey_the_old_key_is_not_needed_any_more(
    database_url: str, tmp_path: Path
) -> None:
    new = _new_key()
    async with Receiver() as receiver:
        async with open_world(database_url) as world:
            made = await world.make_destination(
                receiver.url, headers={"X-Site": "plant-7"}, asymmetric_signature=True
            )
            path = f"/integrations/destinations/{made['id']}/rotate-secret"
            rotated = (await world.as_("acme_admin").post(path)).json()

        done = await _rekey(tmp_path, database_url, new, OLD)
        again = await _rekey(tmp_path, database_url, new)

        async with open_world(database_url, ONEPROTECT_SECRET_KEYS=new) as world, world.worker():
            shown = (await world.as_("acme_admin").get("/integrations/destinations")).json()
            await world.publish()
            (request,) = await receiver.wait_for(1)

    assert (0, "4 re-encrypted; the first of ONEPROTECT_SECRET_KEYS now suffices.") == (
        done.returncode,
        done.stdout.strip(),
    )
    assert "0 re-encrypted" in again.stdout
    assert ["X-Site"] == shown["items"][0]["header_names"]
    assert "plant-7" == request.header("X-Site")
    assert " v1a," in str(request.header("webhook-signature"))
    for secret in (made["signing_secret"], rotated["signing_secret"]):
        headers = {name.lower(): value for name, value in request.headers}
        Webhook(secret).verify(request.body, headers)


async def test_without_its_key_nothing_is_sent_unsigned_and_others_are_served(
    world: World,
) -> None:
    async with Receiver() as lost, Receiver() as kept:
        broken = await world.make_destination(lost.url)
        await world.make_destination(kept.url)
        await _forget_key(world, broken["id"])
        async with world.worker() as engine:
            await world.publish()
            await kept.wait_for(1)
            await world.publish()
            await kept.wait_for(2)
            await asyncio.sleep(0.2)
            in_flight = engine.in_flight
        connections = lost.connections

    assert (0, 0) == (connections, in_flight)


async def test_without_its_key_a_destination_can_still_be_read_changed_and_rotated(
    world: World,
) -> None:
    made = await world.make_destination("https://8.8.8.8/hook", headers={"X-Site": "plant-7"})
    await _forget_key(world, made["id"])
    sealed = Keyring([secrets.token_bytes(32)]).seal(b"{}", "headers:acme:elsewhere")
    await asyncio.to_thread(
        execute, world.url, "UPDATE destination SET sealed_headers = ? WHERE id = ?",
        sealed, made["id"],
    )  # fmt: skip
    admin, path = world.as_("acme_admin"), f"/integrations/destinations/{made['id']}"

    listed = await admin.get("/integrations/destinations")
    renamed = await admin.patch(path, json={"name": "Renamed"})
    rotated = await admin.post(f"{path}/rotate-secret", json={"overlap_seconds": 0})

    assert [200, 200, 200] == [one.status_code for one in (listed, renamed, rotated)]
    assert [] == renamed.json()["header_names"]


async def test_a_rekey_names_what_it_cannot_open_and_seals_the_rest(
    database_url: str, tmp_path: Path
) -> None:
    new = _new_key()
    async with open_world(database_url) as world:
        broken = await world.make_destination("https://8.8.8.8/1")
        await world.make_destination("https://8.8.8.8/2")
        await _forget_key(world, broken["id"])

    done = await _rekey(tmp_path, database_url, new, OLD)

    assert 1 == done.returncode
    assert done.stderr.startswith("oneprotect: 1 re-encrypted; no key opens what belongs to:")
    assert broken["id"] in done.stderr


async def test_a_sealed_secret_copied_to_another_destination_does_not_open_there(
    world: World,
) -> None:
    async with Receiver() as mine, Receiver() as thief:
        victim = await world.make_destination(mine.url)
        other = await world.make_destination(thief.url, who="globex_admin")
        await asyncio.to_thread(
            execute, world.url,
            "UPDATE signing_secret SET sealed = (SELECT sealed FROM signing_secret"
            " WHERE destination_id = ?) WHERE destination_id = ?",
            victim["id"], other["id"],
        )  # fmt: skip
        async with world.worker():
            await world.publish(who="globex_admin")
            await world.publish(who="acme_admin")
            await mine.wait_for(1)
            await asyncio.sleep(0.2)
        connections = thief.connections

    assert 0 == connections
