"""Ed25519 beside HMAC, for destinations that ask: signed, published, verified by the public key."""

from base64 import b64decode
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select
from standardwebhooks import Webhook

from app.crypto import Keyring
from app.destinations import resealing
from app.destinations.models import SigningKeyPair
from app.destinations.signing_keys import OpenKeys
from tests.behaviours import Received
from tests.receiver import Receiver
from tests.world import World

KEYS = "/.well-known/webhooks-keys.json"
URL = "https://93.184.216.34/hook"


async def published(world: World) -> list[dict[str, Any]]:
    answer = await world.client.get(KEYS)
    assert (200, "public, max-age=300") == (answer.status_code, answer.headers["cache-control"])
    return list(answer.json()["keys"])


def tokens(request: Received) -> dict[str, str]:
    """The signatures of a request by their version; each version once."""
    pairs = [token.split(",", 1) for token in str(request.header("webhook-signature")).split(" ")]
    assert len(pairs) == len({version for version, _ in pairs})
    return dict(pairs)


async def test_a_destination_that_asks_is_signed_for_with_the_published_key(world: World) -> None:
    async with Receiver() as receiver:
        asks = await world.make_destination(f"{receiver.url}/a", asymmetric_signature=True)
        await world.make_destination(f"{receiver.url}/b")
        async with world.worker():
            await world.publish()
            await receiver.wait_for(2)
        requests = {request.path: request for request in receiver.requests}
    (key,) = await published(world)

    signed = requests["/hook/a"]
    assert asks["asymmetric_signature"]
    assert ({"v1", "v1a"}, {"v1"}) == (set(tokens(signed)), set(tokens(requests["/hook/b"])))
    assert ("v1a", "ed25519", "whpk_") == (key["scheme"], key["algorithm"], key["public_key"][:5])
    public = Ed25519PublicKey.from_public_bytes(b64decode(key["public_key"].removeprefix("whpk_")))
    head = f"{signed.header('webhook-id')}.{signed.header('webhook-timestamp')}."
    public.verify(b64decode(tokens(signed)["v1a"]), head.encode() + signed.body)
    with pytest.raises(InvalidSignature):
        public.verify(b64decode(tokens(signed)["v1a"]), head.encode() + signed.body + b" ")
    headers = {name.lower(): value for name, value in signed.headers}
    Webhook(asks["signing_secret"]).verify(signed.body, headers)  # the libraries skip v1a
    assert headers["x-oneprotect-signature"] == headers["webhook-signature"]


async def test_it_can_be_asked_for_later_and_given_up_again(world: World) -> None:
    async with Receiver() as receiver:
        made = await world.make_destination(receiver.url)
        path = f"/integrations/destinations/{made['id']}"
        async with world.worker():
            for wanted in (True, False):
                await world.as_("acme_admin").patch(path, json={"asymmetric_signature": wanted})
                await world.publish()
                await receiver.wait_for(1 if wanted else 2)

        assert [["v1", "v1a"], ["v1"]] == [sorted(tokens(one)) for one in receiver.requests]

    trail = await world.as_("acme_auditor").get("/audit", params={"action": "destination.updated"})
    assert {"asymmetric_signature": {"from": False, "to": True}} == trail.json()["items"][1][
        "changes"
    ]


async def test_the_key_is_made_once_for_all_tenants_and_stored_sealed(world: World) -> None:
    before = await published(world)
    await world.make_destination(URL, asymmetric_signature=True)
    await world.make_destination(URL, who="globex_admin", asymmetric_signature=True)

    (row,) = await stored(world)
    (key,) = await OpenKeys(world.database, world.keyring).all()
    assert before == await published(world)
    assert (before[0]["id"], before[0]["public_key"]) == (row.id, row.public)
    assert key.public == row.public
    assert key.key[:32] not in row.sealed


async def stored(world: World) -> list[SigningKeyPair]:
    async with world.database.reading() as session:
        return list((await session.execute(select(SigningKeyPair))).scalars())


async def test_the_key_is_sealed_anew_with_the_secrets(world: World) -> None:
    await world.make_destination(URL, asymmetric_signature=True)
    newest = Keyring([bytes(32)])
    both = Keyring.from_texts(["A" * 43 + "=", *world.settings.secret_keys])
    async with world.database.transaction() as session:
        assert 2 == (await resealing.rekey(session, both)).sealed

    (key,) = await OpenKeys(world.database, newest).all()

    assert [key.public] == [row.public for row in await stored(world)]


async def test_without_the_key_what_asks_for_it_is_not_sent_and_others_are(world: World) -> None:
    async with Receiver() as asks, Receiver() as plain:
        await world.make_destination(asks.url, asymmetric_signature=True)
        await world.make_destination(plain.url)
        async with world.database.transaction() as session:
            (row,) = (await session.execute(select(SigningKeyPair))).scalars()
            row.sealed = Keyring([b"x" * 32]).seal(bytes(64), "signing-key:elsewhere")
        async with world.worker():
            await world.publish()
            await plain.wait_for(1)
            await world.publish()
            await plain.wait_for(2)

    assert [] == asks.requests
    assert {"v1"} == set(tokens(plain.requests[0]))


async def test_only_true_or_false_is_taken(world: World) -> None:
    made = await world.make_destination(URL)
    path = f"/integrations/destinations/{made['id']}"
    for wrong in ("yes", 1, None, ["v1a"]):
        answer = await world.as_("acme_admin").patch(path, json={"asymmetric_signature": wrong})
        assert (400, "asymmetric_signature must be true or false") == (
            answer.status_code, answer.json()["detail"],
        )  # fmt: skip
