"""Creating a destination: the secret once, every wrong field at once, nothing half done."""

import base64
from typing import Any

import pytest

from app.destinations.models import Destination, Lane, SigningSecret
from app.sending.signing import Secret
from tests.api.rows import count, tables_that_hold
from tests.world import World


@pytest.fixture
def world(shared: World) -> World:
    return shared


URL = "https://93.184.216.34/hook"
GOOD = {"name": "Tenant SOC webhook", "endpoint_url": URL}
GIVEN = "whsec_" + base64.b64encode(bytes(range(32))).decode()


async def test_it_answers_201_with_the_destination_and_a_generated_secret(world: World) -> None:
    answer = await world.as_("acme_admin").post("/integrations/destinations", json=GOOD)

    made = answer.json()
    assert answer.status_code == 201
    assert made["id"].startswith("dst_")
    assert ("Tenant SOC webhook", URL, "active") == (
        made["name"], made["endpoint_url"], made["status"],
    )  # fmt: skip
    assert 32 == len(base64.b64decode(made["signing_secret"].removeprefix("whsec_"), validate=True))
    assert made["secret_fingerprint"] == Secret.parse(made["signing_secret"]).fingerprint
    assert made["health"] == {
        "consecutive_failures": 0, "failing_since": None, "paused_until": None,
    }  # fmt: skip


async def test_two_destinations_never_share_a_generated_secret(world: World) -> None:
    first = await world.make_destination(URL)
    second = await world.make_destination(URL)

    assert first["signing_secret"] != second["signing_secret"]


async def test_a_given_secret_is_the_one_that_signs(world: World) -> None:
    made = await world.make_destination(URL, signing_secret=GIVEN)

    assert made["signing_secret"] == GIVEN


async def test_all_optional_fields_are_kept(world: World) -> None:
    made = await world.make_destination(
        URL, description="For the night shift.\nSecond line.", event_types=["alert.*", "a.b"],
        headers={"X-Api-Key": "k-5f1e"}, rate_limit_per_second=7, ordered=True,
    )  # fmt: skip

    answer = await world.as_("acme_admin").get(f"/integrations/destinations/{made['id']}")
    read = answer.json()
    assert read["description"] == "For the night shift.\nSecond line."
    assert read["event_types"] == ["alert.*", "a.b"]
    assert read["header_names"] == ["X-Api-Key"]
    assert (7, True) == (read["rate_limit_per_second"], read["ordered"])


async def test_neither_a_secret_nor_a_header_value_is_stored_in_the_open(world: World) -> None:
    made = await world.make_destination(URL, signing_secret=GIVEN, headers={"X-Key": "k-5f1e77"})

    for needle in (GIVEN, GIVEN.removeprefix("whsec_"), "k-5f1e77", bytes(range(32)).decode()):
        assert set() == await tables_that_hold(world.database, needle)
    assert "signing_secret" in await tables_that_hold(world.database, made["secret_fingerprint"])


REFUSED: list[tuple[str, Any, str]] = [
    ("name", None, "name must be text of 1 to 100 characters"),
    ("name", "", "name must be text of 1 to 100 characters"),
    ("name", "   ", "name must be text of 1 to 100 characters"),
    ("name", "x" * 101, "name must be text of 1 to 100 characters"),
    ("name", ["x"], "name must be text of 1 to 100 characters"),
    ("name", "a\nb", "name must not contain control characters"),
    ("name", "a\x00b", "name must not contain control characters"),
    ("endpoint_url", None, "endpoint_url must be a text"),
    ("endpoint_url", 7, "endpoint_url must be a text"),
    ("endpoint_url", "", "endpoint_url must not be empty"),
    ("endpoint_url", "hooks.example.com", "endpoint_url must look like https://host/path"),
    ("endpoint_url", "https://u:p@93.184.216.34/", "endpoint_url must not carry a user name"),
    ("signing_secret", "whsec_short", "signing_secret must be whsec_ followed by the base64 of"),
    ("signing_secret", 5, "signing_secret must be whsec_ followed by the base64 of"),
    ("event_types", "alert.*", "event_types must be a list of at most 100 types"),
    ("event_types", ["alert..x"], "event_types must be a list of at most 100 types"),
    ("event_types", ["a"] * 101, "event_types must be a list of at most 100 types"),
    ("event_types", [{}], "event_types must be a list of at most 100 types"),
    ("description", "x" * 1001, "description must be text of at most 1000 characters"),
    ("description", "a\x00b", "description must not contain control characters"),
    ("headers", [], "headers must be an object of names and values"),
    ("rate_limit_per_second", 0, "rate_limit_per_second must be a whole number from 1 to 10000"),
    ("rate_limit_per_second", True, "rate_limit_per_second must be a whole number from 1 to"),
    ("rate_limit_per_second", 10**30, "rate_limit_per_second must be a whole number from 1 to"),
    ("ordered", "yes", "ordered must be true or false"),
]


async def test_a_wrong_field_is_named_with_its_rule_and_nothing_is_stored(world: World) -> None:
    before = await count(world.database, Destination)

    for field, value, message in REFUSED:
        body = GOOD | {field: value}
        answer = await world.as_("acme_admin").post("/integrations/destinations", json=body)

        problem = answer.json()
        assert (400, [field]) == (
            answer.status_code, [error["field"] for error in problem["errors"]],
        ), (field, value)  # fmt: skip
        assert problem["errors"][0]["message"].startswith(message), (field, value)
        assert problem["detail"] == problem["errors"][0]["message"]

    assert before == await count(world.database, Destination)


async def test_all_wrong_fields_are_told_at_once(world: World) -> None:
    body = {
        "endpoint_url": "ftp://example.com", "signing_secret": "x", "event_types": ["!"],
        "headers": {"Host": "a", "webhook-id": "b", "X-Ok": "ö"}, "ordered": 1, "colour": "red",
    }  # fmt: skip

    answer = await world.as_("acme_admin").post("/integrations/destinations", json=body)

    wrong = {error["field"] for error in answer.json()["errors"]}
    assert answer.status_code == 400
    assert wrong == {
        "endpoint_url", "name", "signing_secret", "event_types", "headers.Host",
        "headers.webhook-id", "headers.X-Ok", "ordered", "colour",
    }  # fmt: skip


async def test_a_refusal_never_repeats_the_secret_it_was_given(world: World) -> None:
    body = GOOD | {"signing_secret": "whsec_Tm90QVNlY3JldA==", "ordered": "x"}

    answer = await world.as_("acme_admin").post("/integrations/destinations", json=body)

    assert answer.status_code == 400
    assert "Tm90QVNlY3JldA" not in answer.text


async def test_an_unknown_field_is_named_beside_those_that_exist(world: World) -> None:
    body = GOOD | {"url": "https://example.com"}

    answer = await world.as_("acme_admin").post("/integrations/destinations", json=body)

    (error,) = answer.json()["errors"]
    said, _, names = error["message"].partition("; allowed are: ")
    assert ("url", "url is not a field") == (error["field"], said)
    assert names.split(", ") == sorted(names.split(", "))
    assert {*GOOD, "event_types", "headers", "signing_secret"} <= set(names.split(", "))


async def test_a_new_destination_has_one_secret_and_a_clean_lane(world: World) -> None:
    made = await world.make_destination(URL)

    assert 1 == await count(world.database, SigningSecret, destination_id=made["id"])
    assert 1 == await count(world.database, Lane, destination_id=made["id"], consecutive_failures=0)
