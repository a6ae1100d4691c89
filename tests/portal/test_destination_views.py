"""How one destination is looked at: window and filters stand in the address and are kept."""

import html
import re
from datetime import timedelta

import httpx
import pytest

from app.database import utcnow
from app.deliveries.store import BREAKER_THRESHOLD
from tests.behaviours import answer
from tests.portal.visitor import Visitor, text_of
from tests.receiver import Receiver
from tests.world import World

URL = "http://127.0.0.1:9/hook"


def listed(page: httpx.Response) -> list[str]:
    return re.findall(r'<tr id="(dlv_\w+)"', page.text)


def links(page: httpx.Response) -> list[str]:
    return [
        html.unescape(one) for one in re.findall(r' href="(/integrations/dst_[^"]*)"', page.text)
    ]


async def test_the_list_is_filtered_by_state_type_outcome_and_time(admin: Visitor, world: World):
    async with Receiver(answer(410)) as receiver:
        made = await world.make_destination(receiver.url)
        path = f"/integrations/{made['id']}"
        await world.publish(event_type="alert.created")
        async with world.worker():
            await world.until(lambda: _count(admin, f"{path}?outcome=gone", 1))
    past = (utcnow() - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    found = {
        query: len(listed(await admin.get(f"{path}?{query}")))
        for query in (
            "state=failed",
            "state=retrying",
            "outcome=gone",
            "outcome=timeout",
            "type=alert.created",
            "type=alert.closed",
            f"after={past}",
            f"before={past}",
            f"state=failed&outcome=gone&type=alert.created&after={past}",
        )
    }

    assert list(found.values()) == [1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert "No delivery matches" in text_of(await admin.get(f"{path}?before={past}"))
    assert "That is good news." in text_of(await admin.get(f"{path}?state=retrying"))


async def _count(visitor: Visitor, path: str, count: int) -> bool:
    return len(listed(await visitor.get(path))) == count


async def test_every_link_keeps_what_it_does_not_change(admin: Visitor, world: World):
    made = await world.make_destination(URL)
    await world.publish()
    path = f"/integrations/{made['id']}"

    page = await admin.get(f"{path}?window=7d&type=alert.created")

    opened = [one for one in links(page) if "delivery=" in one]
    assert opened
    assert all("window=7d" in one and "type=alert.created" in one for one in opened)
    assert f"{path}?window=1h&type=alert.created" in links(page)
    assert f"{path}?type=alert.created" in links(page)  # a day is what one sees unasked
    assert f"{path}?window=7d&state=failed&type=alert.created" in links(page)


async def test_a_bar_leads_to_the_deliveries_of_its_time(admin: Visitor, world: World):
    async with Receiver() as receiver:
        made = await world.make_destination(receiver.url)
        path = f"/integrations/{made['id']}"
        await world.publish()
        async with world.worker():
            await world.until(lambda: _count(admin, f"{path}?state=delivered", 1))
    page = await admin.get(f"{path}?window=1h")

    (bar,) = re.findall(r'data-go="([^"]*)"', page.text)
    address = html.unescape(bar)
    assert re.search(r"after=\d{4}-\d\d-\d\dT\d\d%3A\d\d&before=", address)
    # The attempt may fall into the minute after the event's.
    assert len(listed(await admin.get(address))) <= 1
    assert "1 delivered" not in text_of(page)
    assert 'data-counts="1,0,0"' in page.text


@pytest.mark.parametrize(
    "query", ["after=yesterday", "before=2026-13-01T00:00", "after=2026-11-23"]
)
async def test_a_time_that_is_none_is_refused_in_one_sentence(
    admin: Visitor, world: World, query: str
):
    made = await world.make_destination(URL)

    page = await admin.get(f"/integrations/{made['id']}?{query}")

    assert page.status_code == 400
    assert "must be a minute such as 2026-11-23T14:05." in text_of(page)


async def test_limits_and_order_are_set_in_the_form_and_kept_when_it_does_not_name_them(
    admin: Visitor, world: World
):
    made = await world.make_destination(URL)
    path = f"/integrations/{made['id']}"
    fields = {"name": "Ordered", "endpoint_url": URL, "event_types": "", "description": ""}
    settings = {"rules": "yes", "rate_limit_per_second": "50", "ordered": "yes",
                "asymmetric_signature": "yes"}  # fmt: skip

    await admin.post(f"{path}/edit", fields | settings)
    await admin.post(f"{path}/edit", fields)  # a form that does not know them
    page = text_of(await admin.get(path))
    form = (await admin.get(f"{path}/edit")).text

    assert "50 per second" in page
    assert "v1 and v1a (Ed25519)" in page
    assert 'value="50"' in form
    await admin.post(f"{path}/edit", fields | {"rules": "yes"})
    assert "50 per second" not in text_of(await admin.get(path))


@pytest.mark.parametrize("typed", ["fast", "0", "1.5", "9" * 5_000])
async def test_a_wrong_limit_stands_under_its_field(admin: Visitor, world: World, typed: str):
    made = await world.make_destination(URL)
    fields = {"name": "x", "endpoint_url": URL, "rules": "yes", "rate_limit_per_second": typed}

    page = await admin.post(f"/integrations/{made['id']}/edit", fields)

    assert page.status_code == 400
    assert 'id="e-rate_limit_per_second">rate_limit_per_second must be a whole number' in page.text


async def test_a_degraded_destination_is_named_on_the_first_page(admin: Visitor, world: World):
    async with Receiver(answer(500)) as receiver:
        await world.make_destination(receiver.url, name="Pager relay")
        for _ in range(BREAKER_THRESHOLD + 4):
            await world.publish()
        async with world.worker(retry_schedule=(60, 60, 60)):
            await world.until(lambda: _says(admin, "Pager relay is degraded"))


async def _says(visitor: Visitor, words: str) -> bool:
    return words in text_of(await visitor.get("/integrations"))
