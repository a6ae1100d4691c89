"""Requests that are no requests: each answered as a problem that says what would be right."""

from typing import Any

import httpx
import pytest

from app.api.schemas import MAX_BODY_BYTES
from tests.world import World


@pytest.fixture
def world(shared: World) -> World:
    return shared


URL = "https://93.184.216.34/hook"


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert (status, "application/problem+json") == (
        answer.status_code, answer.headers["content-type"],
    ), answer.text  # fmt: skip
    body = dict(answer.json())
    assert {"type", "title", "status", "detail"} <= set(body)
    assert status == body["status"]
    assert body["type"].startswith("urn:oneprotect:problem:")
    return body


async def test_a_body_that_is_no_json_object_is_refused_on_every_route_that_reads_one(
    world: World,
) -> None:
    made = await world.make_destination(URL)
    base = f"/integrations/destinations/{made['id']}"
    routes = [
        ("POST", "/integrations/destinations"),
        ("PATCH", base),
        ("POST", f"{base}/rotate-secret"),
        ("POST", "/events"),
        ("POST", "/events/batch"),
        ("POST", "/tokens"),
    ]
    for method, path in routes:
        for raw in (b"{", b"null", b"3", b'"x"', b"[]", b"\xff\xfe", b"[" * 5000, b"{'a': 1}"):
            answer = await world.as_("acme_admin").request(method, path, content=raw)
            assert "JSON" in str(problem(answer, 400)) or "events must be" in answer.text, raw


async def test_a_wrong_query_value_is_named_by_its_public_name_with_what_is_allowed(
    world: World,
) -> None:
    states = "pending, delivering, delivered, retrying, failed, cancelled"
    moment = "an RFC 3339 time with its offset, such as 2026-11-23T14:00:00Z"
    limit = "a whole number from 1 to 200"
    cases = [
        ("/integrations/deliveries?state=x", "state", f"one of: {states}"),
        ("/integrations/deliveries?limit=0", "limit", limit),
        ("/integrations/deliveries?limit=201", "limit", limit),
        ("/integrations/deliveries?limit=ten", "limit", limit),
        ("/integrations/deliveries?before=yesterday", "before", moment),
        ("/integrations/deliveries?after=2026-11-23T14:00:00", "after", moment),
        ("/integrations/deliveries?before=1700000000", "before", moment),
        ("/integrations/deliveries?destination_id=a%00", "destination_id", "text of at most 64"),
        ("/integrations/health?window=2h", "window", "one of: 1h, 24h, 7d"),
        ("/events?type=" + "x" * 129, "type", "text of at most 128 characters"),
        ("/events?idempotency_key=%00", "idempotency_key", "text of at most 255 characters"),
        ("/audit?action=nothing.done", "action", "one of: "),
        ("/audit/export?format=xml", "format", "one of: csv, ndjson"),
    ]
    for path, field, allowed in cases:
        answer = await world.as_("acme_admin").get(path)

        found = problem(answer, 400)
        assert [field] == [error["field"] for error in found["errors"]], path
        assert found["detail"].startswith(f"{field} must be {allowed}"), found["detail"]


async def test_all_wrong_query_values_are_named_at_once(world: World) -> None:
    answer = await world.as_("acme_admin").get(
        "/integrations/deliveries?state=x&limit=x&before=x&after=x&cursor=x"
    )

    wrong = [error["field"] for error in problem(answer, 400)["errors"]]
    assert {"state", "limit", "before", "after", "cursor"} == set(wrong)


async def test_the_ends_of_time_are_times(world: World) -> None:
    for value in ("0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59.999999-12:00"):
        for path in ("/integrations/deliveries", "/events", "/audit"):
            for name in ("before", "after"):
                answer = await world.as_("acme_admin").get(f"{path}?{name}={value}")
                assert 200 == answer.status_code, (path, name, value)


async def test_no_such_route_and_no_such_method_are_problems_too(world: World) -> None:
    admin = world.as_("acme_admin")
    for path in ("/nope", "/integrations", "/tokens/a/b", "/events/a/b/c"):
        assert "There is no such route." == problem(await admin.get(path), 404)["detail"]
    for method, path, allowed in (
        ("DELETE", "/events", {"GET", "POST", "OPTIONS"}),
        ("PUT", "/tokens", {"GET", "POST", "OPTIONS"}),
        ("PATCH", "/me", {"GET", "OPTIONS"}),
        ("TRACE", "/events/batch", {"POST", "OPTIONS"}),
    ):
        answer = await admin.request(method, path)
        assert f"The route has no {method}" in problem(answer, 405)["detail"]
        assert allowed == set(answer.headers["allow"].split(", "))


async def test_a_body_over_the_limit_is_refused_with_the_limit(world: World) -> None:
    admin = world.as_("acme_admin")
    made = await world.make_destination(URL)
    base = f"/integrations/destinations/{made['id']}"
    for method, path, limit in (
        ("POST", "/integrations/destinations", MAX_BODY_BYTES),
        ("PATCH", base, MAX_BODY_BYTES),
        ("POST", f"{base}/rotate-secret", MAX_BODY_BYTES),
        ("POST", "/tokens", MAX_BODY_BYTES),
        ("POST", "/events", 1_048_576 + 16_384),
        ("POST", "/events/batch", 32 * 1_048_576),
    ):
        answer = await admin.request(method, path, content=b" " * (limit + 1))
        detail = problem(answer, 413)["detail"]
        assert f"The body is over the limit of {limit} bytes." == detail


async def test_a_long_unknown_name_is_cut_in_the_answer(world: World) -> None:
    for path in ("/integrations/destinations", "/tokens", "/events"):
        answer = await world.as_("acme_admin").post(path, json={"x" * 100_000: 1})

        problem(answer, 400)
        assert len(answer.content) < 2_000


async def test_ids_of_any_shape_are_simply_not_found(world: World) -> None:
    admin = world.as_("acme_admin")
    bodies = set()
    for odd in ("x", "%00", "%ED%A0%80", "dst_", "'; DROP TABLE event; --", "x" * 5000, "%2e%2e"):
        for path in (
            f"/integrations/destinations/{odd}",
            f"/integrations/deliveries/{odd}",
            f"/events/{odd}",
        ):
            answer = await admin.get(path)
            problem(answer, 404)
            bodies.add(answer.content)

    assert 1 == len(bodies)
