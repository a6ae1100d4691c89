"""One caller cannot take the API from the others, and is told how to come back."""

import pytest

from app.api.limits import KEPT, Limiter, Limits, Rate
from app.errors import TooManyRequests
from tests.world import TOKENS, World

SMALL = Rate(burst=3, per_s=0.5)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_then_the_caller_waits_for_what_comes_back() -> None:
    clock = Clock()
    limiter = Limiter(SMALL, now=clock)

    taken = [limiter.take("a") for _ in range(4)]

    assert [2, 1, 0, 0] == [standing.remaining for standing in taken]
    assert [0, 0, 0, 2] == [standing.wait_s for standing in taken]
    assert [2, 4, 6] == [standing.reset_s for standing in taken[:3]]
    clock.now += 2
    assert [0, 2] == [limiter.take("a").wait_s for _ in range(2)]


def test_a_refused_request_costs_nothing() -> None:
    clock = Clock()
    limiter = Limiter(SMALL, now=clock)
    for _ in range(100):
        limiter.take("a")

    clock.now += 6

    assert 2 == limiter.take("a").remaining


def test_callers_do_not_share_a_rate() -> None:
    limiter = Limiter(SMALL)
    for _ in range(4):
        limiter.take("a")

    assert 0 == limiter.take("b").wait_s


def test_the_sustained_rate_is_exact() -> None:
    clock = Clock()
    limiter = Limiter(Rate(burst=10, per_s=100), now=clock)

    passed = 0
    for _ in range(10_000):  # ten seconds at ten times the rate
        clock.now += 0.001
        passed += limiter.take("a").wait_s == 0

    assert 1_000 <= passed <= 1_011


def test_the_memory_of_callers_is_bounded() -> None:
    limiter = Limiter(SMALL, kept=100)
    for number in range(1_000):
        limiter.take(str(number))

    assert 100 == len(limiter) < KEPT


def test_a_refusal_raises_with_the_seconds_to_wait() -> None:
    limiter = Limiter(SMALL)
    for _ in range(3):
        limiter.take("a").check()

    with pytest.raises(TooManyRequests) as caught:
        limiter.take("a").check()

    assert 2 == caught.value.retry_after_s


async def test_every_answer_tells_a_token_where_it_stands(world: World) -> None:
    first = await world.as_("acme_admin").get("/me")
    second = await world.as_("acme_admin").get("/integrations/deliveries/unknown")

    limit = str(world.app.state.limits.ordinary.rate.burst)
    assert [limit, limit] == [one.headers["RateLimit-Limit"] for one in (first, second)]
    assert int(limit) - 1 == int(first.headers["RateLimit-Remaining"])
    assert "1" == second.headers["RateLimit-Reset"]


async def test_a_token_over_its_rate_gets_429_and_its_neighbour_does_not(world: World) -> None:
    world.app.state.limits = Limits(ordinary=SMALL)
    answers = [await world.as_("acme_admin").get("/me") for _ in range(4)]
    neighbour = await world.as_("acme_operator").get("/me")

    assert [200, 200, 200, 429, 200] == [one.status_code for one in (*answers, neighbour)]
    refused = answers[-1]
    assert "application/problem+json" == refused.headers["Content-Type"]
    assert ("2", "0") == (refused.headers["Retry-After"], refused.headers["RateLimit-Remaining"])
    assert {"type", "title", "status", "detail"} == set(refused.json())


async def test_publishing_has_a_rate_of_its_own(world: World) -> None:
    world.app.state.limits = Limits(ordinary=SMALL)
    for _ in range(6):
        await world.publish()

    assert 200 == (await world.as_("acme_admin").get("/me")).status_code


async def test_a_stopped_client_of_a_tenant_is_still_held_to_its_role(world: World) -> None:
    """403 costs a request too: what may not be done is no way around the limit."""
    world.app.state.limits = Limits(ordinary=SMALL)
    answers = [await world.as_("acme_operator").get("/tokens") for _ in range(4)]

    assert [403, 403, 403, 429] == [one.status_code for one in answers]


async def test_wrong_tokens_are_slowed_down_and_right_ones_from_there_are_not(
    world: World,
) -> None:
    world.app.state.limits = Limits(wrong_tokens=SMALL)

    async def guess(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        answer = await world.client.get("/api/v1/me", headers=headers)
        assert answer.status_code == 200 or answer.headers.get("WWW-Authenticate", "Bearer")
        return answer.status_code

    guesses = [await guess(f"op_guess_{number}") for number in range(5)]
    right = await guess(TOKENS["acme_admin"])
    none = (await world.client.get("/api/v1/me")).status_code

    assert [401, 401, 401, 429, 429] == guesses
    assert (200, 401) == (right, none)


async def test_every_documented_route_documents_its_429(world: World) -> None:
    document = (await world.client.get("/api/docs/openapi.json")).json()
    undocumented = [
        f"{method} {path}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if path.startswith("/api/v1") and "429" not in operation["responses"]
    ]

    assert [] == undocumented
