"""What every answer carries and what none shows: headers, uniform refusals, no insides."""

import re
import statistics
import time
from typing import Any

import httpx
import pytest

from app.services import Services
from tests.security.walk import Ids
from tests.world import TOKENS, World

IDS = Ids()
INSIDES = re.compile(r'Traceback|File "|\.py\b|sqlalchemy|psycopg|sqlite3|litestar', re.IGNORECASE)


async def _routes(world: World) -> list[tuple[str, str]]:
    """Return every method and path that the application serves, its own and the framework's."""
    return [
        (method, re.sub(r"\{([^}:]+)[^}]*\}", lambda found: IDS[found[1]], route.path))
        for route in world.app.routes
        for method in sorted(getattr(route, "methods", {"GET"}))
        if method != "OPTIONS"
    ]


def _loose(policy: str) -> set[str]:
    """Return the directives of a policy that let in code or styles of the page's own."""
    rules = [rule.split() for rule in policy.split(";") if "unsafe-" in rule]
    return {rule[0] for rule in rules if rule}


async def _ask(world: World, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {TOKENS['acme_admin']}"} | more.pop("headers", {})
    return await world.client.request(method, path, headers=headers, **more)


async def test_every_answer_carries_the_security_headers(world: World) -> None:
    routes = await _routes(world)
    assert len(routes) > 40
    strange = [("GET", "/no/such/page"), ("GET", "/api/v1/nothing"), ("DELETE", "/api/v1/me")]
    for method, path in [*routes, *strange]:
        answer = await _ask(world, method, path)
        headers = answer.headers

        assert answer.status_code < 500, (method, path, answer.text)
        assert "nosniff" == headers["X-Content-Type-Options"], (method, path)
        assert "DENY" == headers["X-Frame-Options"], (method, path)
        assert headers["Referrer-Policy"] in {"no-referrer", "same-origin"}, (method, path)
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], (method, path)
        # Swagger UI sets styles as it draws; nothing of ours does, and no script may.
        drawn = {"style-src"} if path.startswith("/api/docs") else set()
        assert drawn >= _loose(headers["Content-Security-Policy"]), (method, path)
        assert "server" not in headers, (method, path)
        assert "Strict-Transport-Security" not in headers, "local has no https"


async def test_what_a_token_reads_is_kept_in_no_cache_and_runs_nothing(world: World) -> None:
    for method, path in await _routes(world):
        if path.startswith("/api/v1"):
            headers = (await _ask(world, method, path)).headers

            assert "no-store" == headers["Cache-Control"], (method, path)
            assert headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_outside_local_browsers_are_told_to_stay_on_https(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    import msgspec

    from app.settings import Env

    world.app.state.settings = msgspec.structs.replace(world.settings, env=Env.PRODUCTION)

    for path in ("/api/v1/me", "/health/live", "/no/such/page", "/api/docs"):
        assert "max-age=" in (await _ask(world, "GET", path)).headers["Strict-Transport-Security"]


async def test_an_unknown_and_a_foreign_id_get_byte_identical_answers(world: World) -> None:
    theirs = await world.make_destination("https://8.8.8.8/hook", who="globex_admin")
    event = await world.publish(who="globex_admin")
    (delivery,) = await world.deliveries(who="globex_admin")
    foreign = Ids(destination_id=theirs["id"], event_id=event["id"], delivery_id=delivery["id"])
    document = (await world.client.get("/api/docs/openapi.json")).json()
    compared = 0
    for path, item in document["paths"].items():
        names = re.findall(r"\{(\w+)\}", path)
        if not path.startswith("/api/v1") or not names or names[0] not in foreign:
            continue
        for method in item:
            wanted = {"since": "2026-01-01T00:00:00Z"} if path.endswith("/replay") else {}
            body = {"json": wanted} if method in {"post", "patch"} else {}
            known = await _ask(world, method, path.format_map(foreign), **body)
            unknown = await _ask(world, method, path.format_map(IDS), **body)

            assert known.status_code == 404, (method, path, known.text)
            assert (unknown.status_code, unknown.content) == (known.status_code, known.content)
            assert _told(unknown) == _told(known)
            compared += 1
    assert compared >= 10


def _told(answer: httpx.Response) -> list[tuple[str, str]]:
    own = ("ratelimit", "x-request-id")
    return [(k, v) for k, v in answer.headers.multi_items() if not k.startswith(own)]


async def test_a_foreign_id_takes_as_long_as_an_unknown_one(world: World) -> None:
    theirs = await world.make_destination("https://8.8.8.8/hook", who="globex_admin")
    times: dict[str, list[float]] = {theirs["id"]: [], IDS["destination_id"]: []}
    for _ in range(120):
        for one, taken in times.items():
            started = time.perf_counter()
            await world.as_("acme_admin").get(f"/integrations/destinations/{one}")
            taken.append(time.perf_counter() - started)

    foreign, unknown = (statistics.median(taken) for taken in times.values())
    assert 0.5 < foreign / unknown < 2


async def test_a_bug_of_ours_shows_nothing_of_the_inside(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("op_inside_secret in /srv/app/module.py")

    monkeypatch.setattr("app.identity.service.list_tokens", broken)
    monkeypatch.setattr(Services, "change", broken)
    answers = [
        await _ask(world, "GET", "/api/v1/tokens"),
        await _ask(
            world, "POST", f"/api/v1/integrations/destinations/{IDS['destination_id']}/test"
        ),
    ]

    for answer in answers:
        assert 500 == answer.status_code
        assert "application/problem+json" == answer.headers["Content-Type"]
        assert "op_inside_secret" not in answer.text
        assert not INSIDES.search(answer.text)


NASTY_BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "application/json"),
    "not json": (b"<xml/>", "application/xml"),
    "form": (b"name=x&endpoint_url=y", "application/x-www-form-urlencoded"),
    "multipart": (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x"),
    "multipart without a boundary": (b"x", "multipart/form-data"),
    "no type": (b"{", ""),
    "half a surrogate": (b'{"name": "\\ud800"}', "application/json"),
    "utf-16": ('{"name": "x"}'.encode("utf-16"), "application/json"),
    "nul": (b'{"name": "\\u0000"}', "application/json"),
    "deep": (b"[" * 100_000, "application/json"),
    "deep object": (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "application/json"),
    "large number": (b'{"name": 1e999, "overlap_seconds": 1e999}', "application/json"),
    "number": (b"5", "application/json"),
    "null": (b"null", "application/json"),
}


async def test_no_body_is_too_strange_for_a_plain_answer(world: World) -> None:
    made = await world.make_destination("https://8.8.8.8/hook")
    ids = Ids(destination_id=made["id"])
    document = (await world.client.get("/api/docs/openapi.json")).json()
    for path, item in document["paths"].items():
        for method in sorted(set(item) & {"post", "patch", "put"}):
            for what, (content, media_type) in NASTY_BODIES.items():
                headers = {"Content-Type": media_type} if media_type else {}
                answer = await _ask(
                    world, method, path.format_map(ids), content=content, headers=headers
                )

                assert answer.status_code < 500, (method, path, what, answer.text)
                assert not INSIDES.search(answer.text), (method, path, what, answer.text)


async def test_a_body_over_the_limit_is_refused_before_it_is_read_whole(world: World) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        for _ in range(2_000):
            sent += 65_536
            yield b" " * 65_536

    answer = await _ask(world, "POST", "/api/v1/integrations/destinations", content=endless())

    assert 413 == answer.status_code
    assert "application/problem+json" == answer.headers["Content-Type"]
    assert sent < 2 * 1024 * 1024


HOSTILE_QUERIES = (
    "cursor=%00", "limit=-1", "limit=1e9", "limit=%D9%A1", "state=%27%20OR%201=1--", "before=x",
    "after=9999-12-31T23:59:59Z", "before=0001-01-01T00:00:00Z", "event_type=%00",
    "destination_id=%ff", "actor=%00", "target=%ed%a0%80", "action[]=x", "type=%00", "format=exe",
    "idempotency_key=%00", "before=2026-01-01T00:00:00%2B99:99", "event_id=%00", "outcome=%00",
)  # fmt: skip


async def test_no_query_is_too_strange_for_a_plain_answer(world: World) -> None:
    document = (await world.client.get("/api/docs/openapi.json")).json()
    paths = [path for path, item in document["paths"].items() if "get" in item]
    for path in paths:
        for query in HOSTILE_QUERIES:
            answer = await _ask(world, "GET", f"{path.format_map(IDS)}?{query}")

            assert answer.status_code < 500, (path, query, answer.text)
            assert not INSIDES.search(answer.text), (path, query, answer.text)


HOSTILE_IDS = ("%00", "..%2f..%2fetc%2fpasswd", "%ff%fe", "a" * 5_000, "%0a")


async def test_no_id_is_too_strange_for_a_404(world: World) -> None:
    document = (await world.client.get("/api/docs/openapi.json")).json()
    for path, item in document["paths"].items():
        for hostile in HOSTILE_IDS if "{" in path and "get" in item else ():
            answer = await _ask(world, "GET", re.sub(r"\{\w+\}", hostile, path))

            assert 404 == answer.status_code, (path, answer.text)


STRANGE_CREDENTIALS = (
    "Bearer " + "x" * 60_000, "Basic eDp5", "Bearer", "bearer  ", "Bearer a b", "Bearer \xff\xfe",
    "",
)  # fmt: skip


async def test_no_credentials_are_too_strange_for_a_401(world: World) -> None:
    for header in STRANGE_CREDENTIALS:
        raw = [(b"Authorization", header.encode("latin-1"))]
        answer = await world.client.get("/api/v1/me", headers=raw)

        assert 401 == answer.status_code, header[:20]
        assert "Bearer" == answer.headers["WWW-Authenticate"]


async def test_huge_and_strange_headers_are_cut_where_they_are_kept(world: World) -> None:
    agent = "x" * 20_000 + "\xff"
    answer = await _ask(
        world, "POST", "/api/v1/integrations/destinations",
        json={"name": "x", "endpoint_url": "https://8.8.8.8"},
        headers={"User-Agent": agent.encode("latin-1")},  # type: ignore[dict-item]
    )  # fmt: skip
    (entry,) = (await _ask(world, "GET", "/api/v1/audit?limit=1")).json()["items"]

    assert (201, 300) == (answer.status_code, len(entry["user_agent"]))
