"""Another tenant's objects do not exist: not on a list, and not by their address."""

from tests.portal.conftest import SignedIn
from tests.world import World

PATHS = (
    ("GET", "/integrations/{dst}"),
    ("GET", "/integrations/{dst}/edit"),
    ("GET", "/deliveries?delivery={dlv}"),
    ("GET", "/deliveries/{dlv}/trial"),
    ("GET", "/integrations/{dst}?state=failed&after=2026-11-23T08:00"),
    ("GET", "/events/{evt}"),
    ("POST", "/integrations/{dst}/test"),
    ("POST", "/integrations/{dst}/enable"),
    ("POST", "/integrations/{dst}/disable"),
    ("POST", "/integrations/{dst}/rotate-secret"),
    ("POST", "/integrations/{dst}/edit"),
    ("POST", "/integrations/{dst}/delete"),
    ("POST", "/deliveries/{dlv}/retry"),
    ("POST", "/deliveries/{dlv}/cancel"),
    ("POST", "/settings/tokens/{tok}/revoke"),
)
NEVER = {kind: f"{kind}_{'0' * 32}" for kind in ("dst", "dlv", "evt", "tok")}
FIELDS = {"overlap_seconds": "0", "name": "Mine", "endpoint_url": "http://127.0.0.1:9/x"}


async def _ids(world: World) -> dict[str, str]:
    destination = await world.make_destination("http://127.0.0.1:9/secret-of-acme")
    event = await world.publish()
    (delivery,) = await world.deliveries()
    tokens = await world.as_("acme_admin").get("/tokens")
    return {
        "dst": destination["id"],
        "evt": event["id"],
        "dlv": delivery["id"],
        "tok": tokens.json()["items"][0]["id"],
    }


async def test_a_neighbours_object_answers_like_one_that_never_existed(
    world: World, signed_in: SignedIn
):
    ids = await _ids(world)
    async with signed_in("neighbour") as visitor:
        for method, path in PATHS:
            answers = []
            for known in (ids, NEVER):
                address = path.format(**known)
                if method == "GET":
                    answers.append(await visitor.get(address))
                else:
                    answers.append(await visitor.post(address, FIELDS))
            assert [a.status_code for a in answers] == [404, 404], path
            assert answers[0].text == answers[1].text, path


async def test_a_neighbours_lists_are_empty(world: World, signed_in: SignedIn):
    ids = await _ids(world)
    async with signed_in("neighbour") as visitor:
        pages = [
            await visitor.get(path)
            for path in (
                "/integrations",
                "/deliveries",
                f"/deliveries?destination={ids['dst']}",
                "/events",
                "/audit",
                "/settings",
            )
        ]

    for page in pages:
        assert page.status_code == 200
        assert "secret-of-acme" not in page.text
        assert "admin@acme.example" not in page.text
        for known in ("dlv", "evt", "tok"):
            assert ids[known] not in page.text


async def test_what_cannot_be_an_id_is_not_looked_up(signed_in: SignedIn):
    async with signed_in("admin") as visitor:
        for path in ("/integrations/x", "/events/%00", "/integrations/dst_%F0%9F%92%A9"):
            assert (await visitor.get(path)).status_code == 404, path
