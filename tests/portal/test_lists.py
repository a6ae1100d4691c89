"""Deliveries, events and the audit trail: filters, pages, and words for what happened."""

import re

import pytest

from app.portal.deliveries import PAGE_SIZE
from tests.behaviours import answer
from tests.conftest import ENGINES
from tests.portal.visitor import Visitor, text_of
from tests.receiver import Receiver, closed_port
from tests.world import World


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Lists and filters end in SQL: they are asked of both engines."""
    return str(request.param)


def _rows(page: str) -> list[str]:
    return re.findall(r'<tr id="((?:dlv|evt)_\w+)"', page)


async def test_deliveries_are_filtered_by_the_address(admin: Visitor, world: World):
    await world.make_destination(f"http://127.0.0.1:{closed_port()}/", event_types=["alert.*"])
    await world.publish()
    await world.publish(event_type="incident.opened")
    async with world.worker(retry_schedule=()):
        await world.until(lambda: world.deliveries(state="failed"))

    assert len(_rows((await admin.get("/deliveries?state=failed")).text)) == 1
    assert len(_rows((await admin.get("/deliveries?outcome=connect_error")).text)) == 1
    assert len(_rows((await admin.get("/deliveries?type=alert.created")).text)) == 1
    assert _rows((await admin.get("/deliveries?state=delivered")).text) == []
    assert _rows((await admin.get("/deliveries?type=incident.opened")).text) == []
    assert len(_rows((await admin.get("/deliveries?state=&outcome=")).text)) == 1


async def test_older_deliveries_follow_page_by_page(admin: Visitor, world: World):
    await world.make_destination("http://127.0.0.1:9/hook")
    events = [{"type": "alert.created", "data": {}} for _ in range(PAGE_SIZE + 3)]
    await world.as_("acme_admin").post("/events/batch", json={"events": events})

    first = (await admin.get("/deliveries?type=alert.created")).text
    older = re.search(r'href="([^"]+)"[^>]*>Older</a>', first)
    assert older
    second = (await admin.get(older[1].replace("&amp;", "&"))).text

    assert (len(_rows(first)), len(_rows(second))) == (PAGE_SIZE, 3)
    assert not set(_rows(first)) & set(_rows(second))
    assert "Older</a>" not in second
    assert len(_rows((await admin.get("/events")).text)) == PAGE_SIZE


async def test_a_retrying_delivery_says_when_it_is_tried_next(admin: Visitor, world: World):
    async with Receiver() as receiver:
        receiver.behaviour = answer(503, b"<h1>busy</h1>")
        await world.make_destination(f"{receiver.url}/hook")
        await world.publish()
        async with world.worker(retry_schedule=(300, 600)):
            (delivery,) = await world.until(lambda: world.deliveries(state="retrying"))

    page = text_of(await admin.get(f"/deliveries?delivery={delivery['id']}"))

    assert re.search(r"Attempt 2 of \d+ in \d+ (s|min)", page)
    assert "http error" in page
    assert "<h1>busy</h1>" in page  # as text


@pytest.mark.parametrize(
    "path",
    [
        "/deliveries?state=nonsense",
        "/deliveries?outcome=nonsense",
        "/audit?action=nonsense",
        "/audit?after=yesterday",
    ],
)
async def test_a_filter_that_cannot_be_is_refused_in_one_sentence(admin: Visitor, path: str):
    refused = await admin.get(path)

    assert refused.status_code == 400
    assert "must be" in text_of(refused)


@pytest.mark.parametrize(
    "path",
    [
        "/deliveries?type=%00",
        "/audit?actor=%00&target=%F0",
        "/audit?below=x",
        "/events?type=%ED%A0%80",
    ],
)
async def test_what_no_filter_can_mean_is_left_aside(admin: Visitor, path: str):
    assert (await admin.get(path)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/deliveries?below=x", "/deliveries?delivery=x", "/events?below=1"]
)
async def test_an_id_that_cannot_be_is_not_found(admin: Visitor, path: str):
    assert (await admin.get(path)).status_code == 404


async def test_the_trail_is_filtered_and_proven(admin: Visitor, world: World):
    await world.make_destination("http://127.0.0.1:9/hook")

    created = text_of(await admin.get("/audit?action=destination.created"))
    none = text_of(await admin.get("/audit?target=nothing"))
    proof = text_of(await admin.get("/audit?verify=1"))

    assert "Created the destination Tenant SOC webhook to http://127.0.0.1:9/hook" in created
    assert "Tenant created" not in created.replace("tenant.created", "")
    assert "No entry matches" in none
    assert "The chain is whole:" in proof


async def test_only_the_named_block_answers_htmx(admin: Visitor):
    for path in ("/integrations", "/deliveries", "/events", "/audit"):
        headers = {"HX-Request": "true", "HX-Target": "live"}
        block = await admin.get(path, headers=headers)
        whole = await admin.get(path, headers={"HX-Request": "true", "HX-Target": "elsewhere"})

        assert block.text.lstrip().startswith('<div id="live"'), path
        assert "<html" not in block.text
        assert block.headers["vary"].startswith("HX-Request, HX-Target")
        assert "<html" in whole.text
