"""What every answer carries, and the static files: whole, typed, kept by content."""

import hashlib
import re
from importlib.resources import files

import pytest

from app.portal import portal_router
from app.portal.assets import ASSETS, url
from app.portal.headers import ALWAYS
from tests.portal.visitor import Visitor
from tests.world import World

HTMX_SHA256 = "491955cd1810747d7d7b9ccb936400afb760e06d25d53e4572b64b6563b2784e"


def test_htmx_is_the_very_file_that_was_reviewed():
    installed = (files("js_lib_htmx") / "static/htmx/htmx.min.js").read_bytes()

    assert hashlib.sha256(installed).hexdigest() == HTMX_SHA256
    assert ASSETS["htmx.min.js"].body == installed


async def test_every_route_answers_with_the_security_headers(admin: Visitor, world: World):
    destination = await world.make_destination("http://127.0.0.1:9/hook")
    never = "0" * 32
    for path, methods in portal_router().route_handler_method_map.items():
        if path == "/live":
            continue  # a stream without an end: the browser tests read it
        address = re.sub(r"\{destination_id:str\}", destination["id"], path)
        address = re.sub(r"\{(\w+?)(_id)?:str\}", f"x_{never}", address)
        for method in methods:
            answer = await admin.http.request(method, address)
            for name, value in ALWAYS.items():
                assert answer.headers.get(name) == value, (method, address, name)
            assert answer.headers["cache-control"] == "no-store", (method, address)
            assert "strict-transport-security" not in answer.headers


async def test_the_content_security_policy_allows_nothing_inline(visitor: Visitor):
    policy = (await visitor.get("/login")).headers["content-security-policy"]

    assert "unsafe" not in policy
    for rule in ("default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert rule in policy.split("; ")


@pytest.mark.parametrize(
    "name", ["app.css", "views.css", "app.js", "keys.js", "htmx.min.js", "icon.svg"]
)
async def test_static_files_are_kept_for_a_year_under_their_content(visitor: Visitor, name: str):
    pinned = await visitor.get(url(name))
    bare = await visitor.get(f"/static/{name}")

    assert pinned.status_code == 200
    assert "immutable" in pinned.headers["cache-control"]
    assert bare.headers["cache-control"] == "no-cache"
    assert pinned.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["nothing.css", "..%2F..%2Fpyproject.toml", "%2Fetc%2Fpasswd"])
async def test_nothing_else_is_served_as_a_file(visitor: Visitor, name: str):
    assert (await visitor.get(f"/static/{name}")).status_code == 404


async def test_a_form_beyond_the_limit_is_refused(admin: Visitor):
    answer = await admin.post("/integrations", {"name": "x" * 100_000})

    assert answer.status_code == 413


async def test_what_no_route_knows_is_a_page_for_people_and_a_problem_for_programs(
    visitor: Visitor,
):
    page = await visitor.get("/nowhere/at/all")
    problem = await visitor.get("/api/v1/nowhere")

    assert (page.status_code, problem.status_code) == (404, 404)
    assert page.headers["content-type"].startswith("text/html")
    assert problem.headers["content-type"] == "application/problem+json"
