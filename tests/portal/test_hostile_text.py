"""Whatever a receiver, a publisher or a tenant writes is shown as text, never run."""

import re

from tests.behaviours import answer
from tests.portal.visitor import Visitor
from tests.receiver import Receiver
from tests.world import World

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}'


def _is_harmless(page: str) -> bool:
    return "<script>alert" not in page and "<img src=x" not in page and "{{ 7*7 }}" in page


async def test_hostile_text_stays_text_on_every_page(admin: Visitor, world: World):
    async with Receiver() as receiver:
        receiver.behaviour = answer(500, EVIL.encode(), [("server", EVIL)])
        destination = await world.make_destination(
            f"{receiver.url}/hook", name=EVIL, description=EVIL
        )
        event = await world.publish(data={"text": EVIL}, id=EVIL)
        async with world.worker(retry_schedule=()):
            (delivery,) = await world.until(lambda: world.deliveries(state="failed"))

    path = f"/integrations/{destination['id']}"
    for page in (
        "/integrations",
        path,
        f"{path}?delivery={delivery['id']}",
        f"{path}/edit",
        f"/deliveries?delivery={delivery['id']}",
        f"/events/{event['id']}",
        "/audit",
    ):
        found = await admin.get(page)
        assert found.status_code == 200, page
        assert _is_harmless(found.text), page


async def test_what_is_searched_for_is_shown_as_text(admin: Visitor):
    found = await admin.get("/integrations", params={"q": EVIL})
    audit = await admin.get("/audit", params={"actor": EVIL})

    assert _is_harmless(found.text)
    assert _is_harmless(audit.text)


async def test_what_was_typed_wrongly_is_shown_as_text(admin: Visitor, visitor: Visitor):
    refused = await admin.post("/integrations", {"name": EVIL, "endpoint_url": EVIL})
    door = await visitor.sign_in(EVIL, "x")

    assert refused.status_code == 400
    assert _is_harmless(refused.text)
    assert _is_harmless(door.text)


async def test_pages_hold_no_inline_script_style_or_handler(admin: Visitor, world: World):
    destination = await world.make_destination("http://127.0.0.1:9/hook")
    await world.publish()
    (delivery,) = await world.deliveries()
    for path in (
        "/login",
        "/integrations",
        f"/integrations/{destination['id']}?delivery={delivery['id']}",
        f"/integrations/{destination['id']}/edit",
        "/deliveries",
        "/events",
        "/audit",
        "/settings",
        "/nowhere",
    ):
        page = (await admin.get(path)).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|hx-on", page), path
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page)), path
