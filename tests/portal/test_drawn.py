"""What a role cannot do is not drawn, and refused all the same: every page and route, by itself."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from litestar.handlers import HTTPRouteHandler

from app.identity.permissions import RIGHTS, Permission, Role
from app.portal import portal_router
from tests.portal.conftest import SignedIn
from tests.portal.visitor import Visitor
from tests.receiver import Receiver
from tests.world import World

ROLES = {"admin": Role.TENANT_ADMIN, "operator": Role.OPERATOR, "auditor": Role.AUDITOR}
#: Where an address stands in a page, and the method that it is asked with.
ADDRESSES = {"href": "GET", "hx-get": "GET", "hx-post": "POST", "formaction": "POST"}
#: Pages beyond this are the same pages with other filters.
PAGES_MAX = 80


class Drawn(HTMLParser):
    """Every address that a page offers, with its method."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        for name, method in ADDRESSES.items():
            self._add(method, given.get(name))
        if tag == "form":
            self._add((given.get("method") or "get").upper(), given.get("action"))

    def _add(self, method: str, address: str | None) -> None:
        if address and address.startswith("/") and not address.startswith("//"):
            self.found.add((method, address))


def routes() -> dict[tuple[str, str], HTTPRouteHandler]:
    """Return each route of the portal by its method and the pattern of its path."""
    return {
        (method, path): handler
        for path, methods in portal_router().route_handler_method_map.items()
        for method, handler in methods.items()
        if method != "OPTIONS" and isinstance(handler, HTTPRouteHandler)
    }


def right_of(method: str, address: str) -> Permission | None:
    """Return the right that an address asks for; None: public, or another face's."""
    path = urlsplit(address).path
    found = [
        (pattern.count("{"), handler.opt.get("permission"))
        for (of, pattern), handler in routes().items()
        if of == method
        and pattern != "/{path:path}"
        and re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", pattern), path)
    ]
    return min(found, key=lambda one: one[0])[1] if found else None


async def everything(world: World) -> dict[str, str]:
    """Make one of all that pages show: deliveries in every state, two secrets, a replay."""
    admin = world.as_("acme_admin")
    async with Receiver() as receiver:
        made = await world.make_destination(receiver.url, event_types=["alert.*"])
        dead = await world.make_destination("http://127.0.0.1:9/hook", event_types=["alert.*"])
        async with world.worker(retry_schedule=()):
            event = await world.publish()
            await world.until(lambda: world.deliveries(state="delivered"))
            await world.until(lambda: world.deliveries(state="failed"))
    base = f"/integrations/destinations/{made['id']}"
    await admin.post(f"{base}/rotate-secret")
    await admin.post(f"{base}/replay", json={"since": made["created_at"]})
    await world.publish(event_type="alert.waiting")
    await admin.post(f"/integrations/destinations/{dead['id']}/disable")
    return {"destination": made["id"], "disabled": dead["id"], "event": event["id"]}


async def walked(visitor: Visitor) -> dict[str, set[tuple[str, str]]]:
    """Follow every link once; return what each page offers."""
    seen: dict[str, set[tuple[str, str]]] = {}
    kinds: dict[str, int] = {}
    wanted = ["/integrations"]
    while wanted and len(seen) < PAGES_MAX:
        address = wanted.pop(0)
        # A few of each kind: pages of one kind differ in their rows, not in what they offer.
        path, _, query = address.partition("?")
        kind = re.sub(r"[0-9a-f]{32}", "…", path) + "?" + re.sub("=[^&]*", "", query)
        kinds[kind] = kinds.get(kind, 0) + 1
        if address in seen or kinds[kind] > 2 or "/export" in address:
            continue
        answer = await visitor.get(address)
        assert answer.status_code == 200, (address, answer.status_code)
        seen[address] = Drawn(answer.text).found
        wanted += sorted(
            link
            for method, link in seen[address]
            if method == "GET" and right_of(method, link) is not None and "verify=" not in link
        )
    return seen


@pytest.mark.parametrize("who", ROLES)
async def test_no_page_offers_what_its_reader_may_not_do(
    world: World, signed_in: SignedIn, who: str
) -> None:
    ids = await everything(world)
    async with signed_in(who) as visitor:
        pages = await walked(visitor)

    offered = {one for found in pages.values() for one in found}
    rights = {one: right_of(*one) for one in offered}
    refused = {
        one
        for one, right in rights.items()
        if right is not None and right not in RIGHTS[ROLES[who]]
    }
    assert refused == set()
    kinds = {urlsplit(address).path for address in pages}
    assert {"/integrations", "/deliveries", "/events", "/settings"} <= kinds
    assert f"/integrations/{ids['destination']}" in kinds
    assert any("delivery=" in address for address in pages)
    assert ("/audit" in kinds) is (Permission.AUDIT_READ in RIGHTS[ROLES[who]])
    changes = {urlsplit(address).path for method, address in offered if method == "POST"}
    if who == "admin":
        assert len(changes) >= 10
    else:
        own = {re.sub(r"[0-9a-f]{32}", "…", path) for path in changes}
        assert own == {"/logout", "/settings/appearance", "/settings/sessions/end-all",
                       "/settings/sessions/ses_…/end"}  # fmt: skip


def unsafe() -> Iterator[tuple[str, str, Permission]]:
    for (method, pattern), handler in routes().items():
        if method != "GET" and not handler.opt.get("public"):
            yield method, pattern, handler.opt["permission"]


@pytest.mark.parametrize("who", ROLES)
async def test_every_change_is_refused_to_whom_the_right_is_missing(
    world: World, signed_in: SignedIn, who: str
) -> None:
    before = await world.as_("acme_auditor").get("/audit")
    nothing = {"destination_id": "dst", "delivery_id": "dlv", "token_id": "tok", "job_id": "job",
               "secret_id": "sec"}  # fmt: skip
    answers: dict[str, int] = {}
    async with signed_in(who) as visitor:
        for _, pattern, right in unsafe():
            if right in RIGHTS[ROLES[who]]:
                continue
            path = re.sub(
                r"\{(\w+):\w+\}", lambda m: f"{nothing.get(m[1], 'x')}_{'0' * 32}", pattern
            )
            answers[pattern] = (await visitor.post(path)).status_code

    assert set(answers.values()) <= {403}, answers
    assert (len(answers) >= 10) is (who != "admin")
    after = (await world.as_("acme_auditor").get("/audit")).json()["items"]
    assert len(before.json()["items"]) + 1 == len(after)  # the sign-in, and nothing else


def test_every_unsafe_route_names_its_right() -> None:
    assert all(isinstance(right, Permission) for _, _, right in unsafe())
    assert len(list(unsafe())) >= 15
