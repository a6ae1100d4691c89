"""Endpoints at private or reserved addresses: one exact answer, and nothing is kept."""

from collections.abc import AsyncIterator

import pytest

from app.audit.models import AuditEntry
from app.destinations.models import Destination, Lane, SigningSecret
from tests.api.rows import count
from tests.world import World, open_world

EXACT = "endpoint_url must not target a private or reserved address"
PRIVATE = (
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1:9000/hook",
    "http://10.0.0.5/hook",
    "https://localhost/hook",
    "https://[::1]/hook",
    "https://[::ffff:10.0.0.5]/hook",
    "https://0x7f.1/hook",
    "https://2130706433/hook",
)


@pytest.fixture
async def strict(database_url: str) -> AsyncIterator[World]:
    """Yield a world without the tests' own permission to reach loopback."""
    async with open_world(database_url, ONEPROTECT_EGRESS_ALLOW="") as world:
        yield world


async def test_creating_one_is_refused_in_the_exact_words_and_nothing_is_saved(
    strict: World,
) -> None:
    entries = await count(strict.database, AuditEntry)

    for url in PRIVATE:
        body = {"name": "Metadata", "endpoint_url": url}
        answer = await strict.as_("acme_admin").post("/integrations/destinations", json=body)

        assert answer.status_code == 400, url
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json() == {
            "type": "urn:oneprotect:problem:invalid-request",
            "title": "Invalid request",
            "status": 400,
            "detail": EXACT,
            "errors": [{"field": "endpoint_url", "message": EXACT}],
        }

    for table in (Destination, SigningSecret, Lane):
        assert 0 == await count(strict.database, table)
    assert entries == await count(strict.database, AuditEntry)


async def test_the_exact_words_lead_whatever_else_is_wrong(strict: World) -> None:
    body = {"colour": 1, "ordered": 2, "endpoint_url": PRIVATE[0], "signing_secret": 3}

    answer = await strict.as_("acme_admin").post("/integrations/destinations", json=body)

    assert (400, EXACT) == (answer.status_code, answer.json()["detail"])
    assert 5 == len(answer.json()["errors"])


async def test_changing_to_one_is_refused_likewise(strict: World) -> None:
    made = await strict.make_destination("https://93.184.216.34/hook")
    path = f"/integrations/destinations/{made['id']}"

    for url in PRIVATE:
        body = {"endpoint_url": url, "name": "New"}
        answer = await strict.as_("acme_admin").patch(path, json=body)
        assert (400, EXACT) == (answer.status_code, answer.json()["detail"]), url

    read = (await strict.as_("acme_admin").get(path)).json()
    assert ("https://93.184.216.34/hook", made["name"]) == (read["endpoint_url"], read["name"])


async def test_an_allowed_place_may_be_private_but_metadata_never(database_url: str) -> None:
    allow = "127.0.0.1:9000,10.0.0.0/8,169.0.0.0/8"
    async with open_world(database_url, ONEPROTECT_EGRESS_ALLOW=allow) as world:
        admin = world.as_("acme_admin")
        statuses = []
        for url in (*PRIVATE[:3], "http://127.0.0.1:9001/hook"):
            body = {"name": "Receiver", "endpoint_url": url}
            answer = await admin.post("/integrations/destinations", json=body)
            statuses.append(answer.status_code)

    assert statuses == [400, 201, 201, 400]


async def test_plain_http_is_refused_where_https_is_required(database_url: str) -> None:
    async with open_world(database_url, ONEPROTECT_REQUIRE_HTTPS="true") as world:
        body = {"name": "Plain", "endpoint_url": "http://93.184.216.34/hook"}
        answer = await world.as_("acme_admin").post("/integrations/destinations", json=body)

    assert answer.status_code == 400
    assert answer.json()["detail"] == "endpoint_url must start with https://"
