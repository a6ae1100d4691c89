"""Every way in which a URL can be written: created and changed, over the API and in the portal."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from sqlalchemy import text

from app.sending.url_safety import PRIVATE_MESSAGE
from tests.security.corpus import egress_for, entries, is_storable
from tests.security.walk import Portal
from tests.world import World

Write = Callable[[Any], Awaitable[httpx.Response]]


async def _mismatches(world: World, write: Write, chosen: list[dict[str, Any]]) -> list[str]:
    """Try each entry; return those that were not refused as they should be."""
    wrong = []
    for entry in chosen:
        world.services.egress = egress_for(entry)
        answer = await write(entry["url"])
        told = PRIVATE_MESSAGE in answer.text
        if answer.status_code != 400 or (entry.get("message") == "private" and not told):
            wrong.append(f"{entry['id']}: {answer.status_code} {answer.text[:200]}")
    return wrong


async def _rows(world: World) -> dict[str, int]:
    tables = ("destination", "signing_secret", "lane", "event", "delivery")
    async with world.database.reading() as session:
        counts = [
            (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()
            for table in (*tables, "audit_entry WHERE action LIKE 'destination%'")
        ]
    return dict(zip((*tables, "audit"), counts, strict=True))


async def test_no_hostile_url_is_created_over_the_api(world: World) -> None:
    before = await _rows(world)

    async def create(url: Any) -> httpx.Response:
        body = {"name": "x", "endpoint_url": url}
        return await world.as_("acme_admin").post("/integrations/destinations", json=body)

    chosen = entries("reject")
    if world.database.dialect == "postgresql":
        chosen = chosen[::5]  # the check asks no database; the rows do
    wrong = await _mismatches(world, create, chosen)

    assert [] == wrong
    assert before == await _rows(world)
    assert [] == (await world.as_("acme_admin").get("/integrations/destinations")).json()["items"]


async def test_a_private_url_has_the_exact_text_as_its_detail_whatever_else_is_wrong(
    world: World,
) -> None:
    for entry in entries("reject", private=True)[::7]:
        world.services.egress = egress_for(entry)
        body = {"endpoint_url": entry["url"], "name": "", "headers": 5, "nonsense": None}
        answer = await world.as_("acme_admin").post("/integrations/destinations", json=body)

        assert (400, PRIVATE_MESSAGE) == (answer.status_code, answer.json()["detail"])


async def test_no_honest_url_is_changed_into_a_hostile_one_over_the_api(world: World) -> None:
    destination = await world.make_destination("https://8.8.8.8/hook")
    before = await _rows(world)
    path = f"/integrations/destinations/{destination['id']}"

    async def change(url: Any) -> httpx.Response:
        return await world.as_("acme_admin").patch(path, json={"endpoint_url": url})

    wrong = await _mismatches(world, change, entries("reject")[::3])

    assert [] == wrong
    assert before == await _rows(world)
    kept = (await world.as_("acme_admin").get(path)).json()
    assert "https://8.8.8.8/hook" == kept["endpoint_url"]


async def test_every_honest_url_is_accepted_by_create_and_change(world: World) -> None:
    destination = await world.make_destination("https://8.8.8.8/hook")
    path = f"/integrations/destinations/{destination['id']}"
    for entry in entries("accept"):
        world.services.egress = egress_for(entry)
        made = await world.make_destination(entry["url"])
        changed = await world.as_("acme_admin").patch(path, json={"endpoint_url": entry["url"]})

        assert 200 == changed.status_code, (entry["id"], changed.text)
        assert made["endpoint_url"] == changed.json()["endpoint_url"]


async def test_no_hostile_url_passes_the_portals_forms(world: World) -> None:
    destination = await world.make_destination("https://8.8.8.8/hook")
    before = await _rows(world)
    page = f"/integrations/{destination['id']}"
    # A form sends text, and a browser cannot type what a form trims.
    chosen = [
        entry
        for entry in entries("reject")
        if is_storable(entry["url"]) and entry["url"].strip() == entry["url"]
    ][::4]
    portal = Portal("http://testserver", httpx.ASGITransport(world.app))  # type: ignore[arg-type]
    await portal.sign_in("admin@acme.example", "oneprotect-local")
    await portal.post("/settings/appearance", page=page, theme="dark")  # for its token

    async def create(url: Any) -> httpx.Response:
        return await portal.send("/integrations", name="x", endpoint_url=url)

    async def edit(url: Any) -> httpx.Response:
        return await portal.send(f"{page}/edit", name="x", endpoint_url=url)

    wrong = await _mismatches(world, create, chosen) + await _mismatches(world, edit, chosen)
    await portal.close()

    assert [] == wrong
    assert before == await _rows(world)
