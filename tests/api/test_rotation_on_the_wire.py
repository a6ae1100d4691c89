"""A rotation as receivers see it, with the library they use: both secrets, then the new one."""

from typing import Any

import pytest
from sqlalchemy import update
from standardwebhooks import Webhook, WebhookVerificationError

from app.database import utcnow
from app.destinations.models import SigningSecret
from tests.behaviours import Received
from tests.receiver import Receiver
from tests.world import World


async def rotate(world: World, destination: dict[str, Any]) -> str:
    path = f"/integrations/destinations/{destination['id']}/rotate-secret"
    answer = await world.as_("acme_admin").post(path, json={"overlap_seconds": 3600})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["signing_secret"])


async def next_request(world: World, receiver: Receiver) -> Received:
    await world.publish()
    return (await receiver.wait_for(len(receiver.requests) + 1))[-1]


def believed(secret: str, request: Received) -> bool:
    headers = {name.lower(): value for name, value in request.headers}
    try:
        Webhook(secret).verify(request.body, headers)
    except WebhookVerificationError:
        return False
    return True


async def test_old_and_new_secret_verify_inside_the_overlap_and_only_the_new_one_after_it(
    world: World,
) -> None:
    async with Receiver() as receiver, world.worker():
        made = await world.make_destination(receiver.url)
        old = made["signing_secret"]
        before = await next_request(world, receiver)
        new = await rotate(world, made)
        inside = await next_request(world, receiver)
        # The overlap ends by the clock alone: no job runs here.
        async with world.database.transaction() as session:
            ended = update(SigningSecret).where(SigningSecret.expires_at.is_not(None))
            await session.execute(ended.values(expires_at=utcnow()))
        after = await next_request(world, receiver)

    assert [(True, False), (True, True), (False, True)] == [
        (believed(old, request), believed(new, request)) for request in (before, inside, after)
    ]
    assert [1, 2, 1] == [
        len(str(request.header("webhook-signature")).split()) for request in (before, inside, after)
    ]


async def test_up_to_five_secrets_sign_together(world: World) -> None:
    async with Receiver() as receiver, world.worker():
        made = await world.make_destination(receiver.url)
        secrets = [made["signing_secret"], *[await rotate(world, made) for _ in range(4)]]
        request = await next_request(world, receiver)

    assert [True] * 5 == [believed(secret, request) for secret in secrets]
    with pytest.raises(AssertionError, match="overlap_seconds must be 0 while 5 secrets are live"):
        await rotate(world, made)
