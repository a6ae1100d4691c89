"""Revoking a signing secret: gone from the next signature on, and never the last one."""

from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.sending.signing import Secret
from tests.receiver import Receiver
from tests.world import World

URL = "https://93.184.216.34/hook"


async def live(world: World, destination: dict[str, Any], who: str = "acme_admin") -> list[Any]:
    answer = await world.as_(who).get(f"/integrations/destinations/{destination['id']}/secrets")
    assert (200, None) == (answer.status_code, answer.json()["next_cursor"])
    return list(answer.json()["items"])


async def rotate(world: World, destination: dict[str, Any], overlap_s: int = 3600) -> str:
    path = f"/integrations/destinations/{destination['id']}/rotate-secret"
    answer = await world.as_("acme_admin").post(path, json={"overlap_seconds": overlap_s})
    return str(answer.json()["signing_secret"])


async def revoke(world: World, destination: dict[str, Any], secret_id: str) -> int:
    path = f"/integrations/destinations/{destination['id']}/secrets/{secret_id}"
    return (await world.as_("acme_admin").delete(path)).status_code


async def test_live_secrets_are_listed_without_their_text(world: World) -> None:
    made = await world.make_destination(URL)
    new = await rotate(world, made)

    for who in ("acme_admin", "acme_operator", "acme_auditor"):
        current, old = await live(world, made, who)
        assert {"id", "fingerprint", "created_at", "created_by", "expires_at"} == set(current)
        assert (Secret.parse(new).fingerprint, None) == (
            current["fingerprint"], current["expires_at"],
        )  # fmt: skip
        assert Secret.parse(made["signing_secret"]).fingerprint == old["fingerprint"]
        assert old["expires_at"] > old["created_at"]


async def test_a_revoked_secret_signs_nothing_any_more(world: World) -> None:
    async with Receiver() as receiver:
        made = await world.make_destination(receiver.url)
        new = await rotate(world, made)
        _, old = await live(world, made)
        async with world.worker():
            await world.publish()
            await receiver.wait_for(1)
            assert 204 == await revoke(world, made, old["id"])
            await world.publish()
            before, after = await receiver.wait_for(2)

    for request in (before, after):
        headers = {name.lower(): value for name, value in request.headers}
        Webhook(new).verify(request.body, headers)
    assert [2, 1] == [len(str(r.header("webhook-signature")).split()) for r in (before, after)]
    with pytest.raises(WebhookVerificationError):
        Webhook(made["signing_secret"]).verify(after.body, headers)


async def test_the_last_live_secret_stays(world: World) -> None:
    made = await world.make_destination(URL)
    await rotate(world, made, overlap_s=0)  # the old one is kept for a while, but not live
    (only,) = await live(world, made)

    assert 409 == await revoke(world, made, only["id"])
    assert [only] == await live(world, made)


async def test_when_the_current_one_is_revoked_the_newest_left_takes_its_place(
    world: World,
) -> None:
    made = await world.make_destination(URL)
    await rotate(world, made)
    await rotate(world, made)
    current, middle, oldest = await live(world, made)

    assert 204 == await revoke(world, made, current["id"])

    assert [middle | {"expires_at": None}, oldest] == await live(world, made)
    path = f"/integrations/destinations/{made['id']}"
    shown = (await world.as_("acme_admin").get(path)).json()
    assert middle["fingerprint"] == shown["secret_fingerprint"]
    trail = await world.as_("acme_auditor").get(
        "/audit", params={"action": "destination.secret_revoked"}
    )
    (entry,) = trail.json()["items"]
    assert {"secret": current["fingerprint"], "current": middle["fingerprint"]} == entry["changes"]


async def test_an_unknown_an_expired_or_a_foreign_secret_is_404(world: World) -> None:
    made = await world.make_destination(URL)
    foreign = await world.make_destination(URL, who="globex_admin")
    await rotate(world, made)
    (theirs,) = await live(world, foreign, "globex_admin")
    _, old = await live(world, made)
    await rotate(world, made, overlap_s=0)

    found = [
        await revoke(world, destination, secret_id)
        for destination, secret_id in (
            (made, "sec_" + "0" * 32),
            (made, old["id"]),
            (made, theirs["id"]),
            (foreign, theirs["id"]),
        )
    ]

    assert [404] * 4 == found
    assert [theirs] == await live(world, foreign, "globex_admin")
