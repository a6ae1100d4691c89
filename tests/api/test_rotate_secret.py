"""Rotating a secret: the new one shown once, the old one signing beside it while it may."""

import base64
from datetime import datetime
from typing import Any

import pytest

from app.database import utcnow
from app.destinations.models import SigningSecret
from app.destinations.service import secrets_of
from app.sending.signing import Secret
from tests.world import World


@pytest.fixture
def world(shared: World) -> World:
    return shared


URL = "https://93.184.216.34/hook"
GIVEN = "whsec_" + base64.b64encode(bytes(range(24))).decode()


async def rotate(world: World, destination: dict[str, Any], **fields: Any) -> dict[str, Any]:
    path = f"/integrations/destinations/{destination['id']}/rotate-secret"
    answer = await world.as_("acme_admin").post(path, json=fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def kept(world: World, destination: dict[str, Any]) -> list[SigningSecret]:
    async with world.database.reading() as session:
        return await secrets_of(session, "acme", destination["id"])


def seconds_left(secret: SigningSecret) -> float:
    ends: datetime | None = secret.expires_at
    assert ends is not None
    return (ends - utcnow()).total_seconds()


async def test_the_new_secret_is_shown_once_and_its_fingerprint_from_then_on(world: World) -> None:
    made = await world.make_destination(URL)

    fresh = await rotate(world, made)

    path = f"/integrations/destinations/{made['id']}"
    read = await world.as_("acme_admin").get(path)
    assert fresh["signing_secret"] != made["signing_secret"]
    assert read.json()["secret_fingerprint"] == Secret.parse(fresh["signing_secret"]).fingerprint
    assert fresh["signing_secret"] not in read.text


async def test_the_old_secret_signs_for_a_day_unless_told_otherwise(world: World) -> None:
    made = await world.make_destination(URL)

    await rotate(world, made)

    new, old = await kept(world, made)
    assert new.expires_at is None
    assert 86_390 < seconds_left(old) <= 86_400


async def test_a_given_secret_and_overlap_are_used(world: World) -> None:
    made = await world.make_destination(URL)

    fresh = await rotate(world, made, signing_secret=GIVEN, overlap_seconds=604_800)

    _, old = await kept(world, made)
    assert GIVEN == fresh["signing_secret"]
    assert 604_790 < seconds_left(old) <= 604_800


async def test_with_no_overlap_the_old_secret_ends_at_once(world: World) -> None:
    made = await world.make_destination(URL)

    await rotate(world, made, overlap_seconds=0)

    _, old = await kept(world, made)
    assert seconds_left(old) <= 0


async def test_a_second_rotation_never_lengthens_the_life_of_an_older_secret(world: World) -> None:
    made = await world.make_destination(URL)

    await rotate(world, made, overlap_seconds=60)
    await rotate(world, made, overlap_seconds=600)

    _, second, first = await kept(world, made)
    assert seconds_left(first) <= 60
    assert 590 < seconds_left(second) <= 600


async def test_a_sixth_live_secret_is_refused_until_the_overlap_is_given_up(world: World) -> None:
    made = await world.make_destination(URL)
    for _ in range(4):
        await rotate(world, made)
    path = f"/integrations/destinations/{made['id']}/rotate-secret"

    refused = await world.as_("acme_admin").post(path)
    await rotate(world, made, overlap_seconds=0)

    assert refused.status_code == 400
    assert refused.json()["errors"] == [
        {
            "field": "overlap_seconds",
            "message": "overlap_seconds must be 0 while 5 secrets are live",
        }
    ]
    live = [s for s in await kept(world, made) if s.expires_at is None or seconds_left(s) > 0]
    assert 1 == len(live)


async def test_an_absent_body_means_the_defaults(world: World) -> None:
    made = await world.make_destination(URL)
    path = f"/integrations/destinations/{made['id']}/rotate-secret"

    answer = await world.as_("acme_admin").post(path)

    assert answer.status_code == 200
    assert answer.json()["signing_secret"].startswith("whsec_")


async def test_a_wrong_overlap_is_refused_beside_every_other_fault(world: World) -> None:
    made = await world.make_destination(URL)
    path = f"/integrations/destinations/{made['id']}/rotate-secret"

    for overlap in (-1, 604_801, 1.5, True, "60", None):
        body = {"overlap_seconds": overlap, "signing_secret": "x", "colour": 1}
        answer = await world.as_("acme_admin").post(path, json=body)

        assert answer.status_code == 400, overlap
        assert {"overlap_seconds", "signing_secret", "colour"} == {
            error["field"] for error in answer.json()["errors"]
        }

    assert 1 == len(await kept(world, made))
