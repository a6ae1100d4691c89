"""Every page and change, for every role and for nobody: what is not allowed is refused."""

import pytest

from app.identity.permissions import Permission
from app.portal import portal_router
from tests.portal.conftest import SignedIn
from tests.portal.visitor import navigation, text_of
from tests.world import World

ALL = ("admin", "operator", "auditor")
PAGES = {
    "/integrations": ALL,
    "/integrations/{dst}": ALL,
    "/integrations/{dst}/edit": ("admin",),
    "/deliveries": ALL,
    "/deliveries/{dlv}/trial": ALL,
    "/events": ALL,
    "/events/types": ALL,
    "/events/{evt}": ALL,
    "/audit": ("admin", "auditor"),
    "/settings": ALL,
    "/guide": ALL,
    "/palette": ALL,
}
CHANGES = (
    "/integrations",
    "/integrations/check-url",
    "/integrations/{dst}/test",
    "/integrations/{dst}/enable",
    "/integrations/{dst}/disable",
    "/integrations/{dst}/rotate-secret",
    "/integrations/{dst}/edit",
    "/integrations/{dst}/delete",
    "/deliveries/{dlv}/retry",
    "/deliveries/{dlv}/cancel",
    "/integrations/{dst}/replay",
    "/integrations/{dst}/replays/job_00000000000000000000000000000000/pause",
    "/integrations/{dst}/secrets/sec_00000000000000000000000000000000/revoke",
    "/deliveries/bulk",
    "/events/types",
    "/events/types/remove",
    "/guide/test",
    "/settings/tokens",
    "/settings/tokens/tok_00000000000000000000000000000000/revoke",
    "/settings/members",
    "/settings/members/usr_00000000000000000000000000000000/role",
    "/settings/members/usr_00000000000000000000000000000000/invite",
    "/settings/members/usr_00000000000000000000000000000000/sign-out",
    "/settings/members/usr_00000000000000000000000000000000/remove",
)


async def _ids(world: World) -> dict[str, str]:
    destination = await world.make_destination("http://127.0.0.1:9/hook")
    event = await world.publish()
    (delivery,) = await world.deliveries()
    return {"dst": destination["id"], "evt": event["id"], "dlv": delivery["id"]}


@pytest.mark.parametrize("who", ALL)
async def test_each_role_opens_its_pages_and_no_other(world: World, signed_in: SignedIn, who: str):
    ids = await _ids(world)
    async with signed_in(who) as visitor:
        found = {path: (await visitor.get(path.format(**ids))).status_code for path in PAGES}

    assert found == {path: 200 if who in roles else 403 for path, roles in PAGES.items()}


@pytest.mark.parametrize("who", ["operator", "auditor"])
async def test_who_only_watches_can_change_nothing(world: World, signed_in: SignedIn, who: str):
    ids = await _ids(world)
    before = await world.deliveries()
    async with signed_in(who) as visitor:
        found = {path: (await visitor.post(path.format(**ids))).status_code for path in CHANGES}

    assert found == dict.fromkeys(CHANGES, 403)
    assert await world.deliveries() == before


async def test_nobody_sees_or_changes_anything(world: World, visitor):
    ids = await _ids(world)
    for path in PAGES:
        answer = await visitor.get(path.format(**ids))
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/login"), path
    for path in CHANGES:
        answer = await visitor.post(path.format(**ids))
        assert (answer.status_code, answer.headers["location"]) == (303, "/login"), path


@pytest.mark.parametrize(
    ("who", "labels"),
    [
        ("admin", ["Integrations", "Deliveries", "Events", "Audit", "Settings"]),
        ("operator", ["Integrations", "Deliveries", "Events", "Settings"]),
        ("auditor", ["Integrations", "Deliveries", "Events", "Audit", "Settings"]),
    ],
)
async def test_the_navigation_shows_what_a_role_may_open(
    signed_in: SignedIn, who: str, labels: list[str]
):
    async with signed_in(who) as visitor:
        page = await visitor.get("/integrations")

    assert navigation(page) == labels
    assert "Acme Corp" in text_of(page)
    assert {"admin": "Tenant admin", "operator": "Operator", "auditor": "Auditor"}[who] in text_of(
        page
    )


@pytest.mark.parametrize("who", ALL)
async def test_only_a_tenant_admin_gets_the_create_card(signed_in: SignedIn, who: str):
    async with signed_in(who) as visitor:
        page = await visitor.get("/integrations")
        block = await visitor.get(
            "/integrations", headers={"HX-Request": "true", "HX-Target": "live"}
        )

    for answer in (page, block):
        assert ("Create destination" in answer.text) is (who == "admin")
        assert "Destinations" in answer.text


@pytest.mark.parametrize("who", ALL)
async def test_payloads_are_for_those_who_may_read_them(
    world: World, signed_in: SignedIn, who: str
):
    ids = await _ids(world)
    async with signed_in(who) as visitor:
        pages = [
            await visitor.get(f"/events/{ids['evt']}"),
            await visitor.get(f"/deliveries?delivery={ids['dlv']}"),
        ]

    for page in pages:
        assert ("severity" in page.text) is (who != "auditor")
        assert ("Your role may not read payloads." in page.text) is (who == "auditor")


def test_every_route_names_its_right_or_is_public_on_purpose():
    public = set()
    for handler in portal_router().route_handler_method_map.items():
        path, methods = handler
        for method, route in methods.items():
            if method == "OPTIONS":
                continue
            permission = route.opt.get("permission")
            if route.opt.get("public"):
                public.add((method, path))
            else:
                assert isinstance(permission, Permission), (method, path)

    assert public == {
        ("GET", "/"),
        ("GET", "/invite/{token:str}"),
        ("POST", "/invite/{token:str}"),
        ("GET", "/login"),
        ("GET", "/login/sso"),
        ("GET", "/login/sso/callback"),
        ("GET", "/static/{name:str}"),
        ("GET", "/{path:path}"),
        ("POST", "/login"),
    }
