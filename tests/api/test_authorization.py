"""The Authorization header: whatever stands in it, no token means 401 and never a failure."""

import pytest

from app.api import Limits
from app.api.limits import Rate
from tests.world import World


@pytest.fixture
def world(shared: World) -> World:
    return shared


TOKEN = "op_local_acme_admin"
WRONG: dict[str, bytes] = {
    "empty": b"",
    "scheme alone": b"Bearer",
    "scheme and space": b"Bearer ",
    "no scheme": TOKEN.encode(),
    "wrong scheme": b"Basic b3A6b3A=",
    "token as a scheme of its own": b"Token " + TOKEN.encode(),
    "unknown": b"Bearer op_unknown",
    "cut": b"Bearer " + TOKEN.encode()[:-1],
    "longer": b"Bearer " + TOKEN.encode() + b"x",
    "other case": b"Bearer " + TOKEN.upper().encode(),
    "two tokens": b"Bearer " + TOKEN.encode() + b" " + TOKEN.encode(),
    "a list": b"Bearer " + TOKEN.encode() + b", Bearer x",
    "quoted": b'Bearer "' + TOKEN.encode() + b'"',
    "very long": b"Bearer " + b"x" * 60_000,
    "latin-1": b"Bearer \xfc\xe9",
    "utf-8": "Bearer ключ".encode(),
    "no text at all": b"\xff\xfe\xfd",
    "a tab": b"Bearer\t" + TOKEN.encode(),
    "sql": b"Bearer ' OR 1=1 --",
}  # fmt: skip


async def test_a_header_that_holds_no_token_of_ours_is_401(world: World) -> None:
    for what, value in WRONG.items():
        answer = await world.client.get("/api/v1/me", headers={"Authorization": value})

        assert 401 == answer.status_code, what
        assert "Bearer" == answer.headers["www-authenticate"], what
        assert "application/problem+json" == answer.headers["content-type"], what
        assert "urn:oneprotect:problem:unauthenticated" == answer.json()["type"], what


async def test_no_header_at_all_is_401_and_says_what_to_give(world: World) -> None:
    answer = await world.client.get("/api/v1/me")

    assert (401, "Give a token: Authorization: Bearer TOKEN.") == (
        answer.status_code, answer.json()["detail"],
    )  # fmt: skip


async def test_the_scheme_is_read_in_any_case(world: World) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = await world.client.get(
            "/api/v1/me", headers={"Authorization": f"{scheme} {TOKEN}"}
        )
        assert 200 == answer.status_code


async def test_a_token_in_the_query_or_in_a_cookie_is_none(world: World) -> None:
    query = await world.client.get(f"/api/v1/me?access_token={TOKEN}&token={TOKEN}")
    cookie = await world.client.get("/api/v1/me", headers={"Cookie": f"token={TOKEN}"})

    assert (401, 401) == (query.status_code, cookie.status_code)


async def test_guessing_is_slowed_down_and_a_good_token_still_passes(world: World) -> None:
    world.app.state.limits, ordinary = (
        Limits(wrong_tokens=Rate(burst=3, per_s=0.1)),
        world.app.state.limits,
    )
    wrong = {"Authorization": "Bearer op_guess"}

    guesses = [await world.client.get("/api/v1/me", headers=wrong) for _ in range(5)]
    good = await world.as_("acme_admin").get("/me")

    world.app.state.limits = ordinary
    assert [401, 401, 401, 429, 429] == [answer.status_code for answer in guesses]
    assert 1 <= int(guesses[-1].headers["retry-after"]) <= 20
    assert 200 == good.status_code
