"""The palette offers what a person may open or do, and nothing else."""

import re

import pytest

from tests.portal.conftest import SignedIn
from tests.portal.visitor import text_of
from tests.world import World


@pytest.mark.parametrize(
    ("who", "pages"),
    [
        ("admin", ["Integrations", "Deliveries", "Events", "Audit", "Settings"]),
        ("operator", ["Integrations", "Deliveries", "Events", "Settings"]),
        ("auditor", ["Integrations", "Deliveries", "Events", "Audit", "Settings"]),
    ],
)
async def test_each_role_finds_its_pages_and_its_actions(
    world: World, signed_in: SignedIn, who: str, pages: list[str]
):
    made = await world.make_destination("http://127.0.0.1:9/hook", name="Pager relay")
    async with signed_in(who) as visitor:
        palette = await visitor.get("/palette")

    found = re.findall(r"<span>(\w+)</span></a><kbd>", palette.text)
    assert found == pages
    assert f'href="/integrations/{made["id"]}"' in palette.text
    for action in ("Create destination", "Send test event to Pager relay"):
        assert (action in text_of(palette)) is (who == "admin")


async def test_a_disabled_destination_can_be_opened_but_not_tested(
    world: World, signed_in: SignedIn
):
    made = await world.make_destination("http://127.0.0.1:9/hook", name="Pager relay")
    async with signed_in("admin") as visitor:
        await visitor.post(f"/integrations/{made['id']}/disable")
        palette = text_of(await visitor.get("/palette"))

    assert "Pager relay" in palette
    assert "Send test event to" not in palette


async def test_a_neighbours_destinations_are_not_in_it(world: World, signed_in: SignedIn):
    await world.make_destination("http://127.0.0.1:9/hook", name="Ours alone")
    async with signed_in("neighbour") as visitor:
        assert "Ours alone" not in (await visitor.get("/palette")).text
