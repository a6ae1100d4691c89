"""Retrying and cancelling many from the list: what was ticked, or all that the filters find."""

import re

import pytest

from tests.behaviours import answer
from tests.portal.visitor import Visitor, text_of
from tests.receiver import Receiver
from tests.world import World

TICK = re.compile(r'<input type="checkbox" name="id" value="(dlv_\w+)"')


async def dead_letters(world: World, *event_types: str) -> None:
    async with Receiver(answer(500)) as receiver:
        await world.make_destination(receiver.url)
        async with world.worker(retry_schedule=()):
            for event_type in event_types:
                await world.publish(event_type=event_type)
            await world.until(lambda: states(world, "failed", len(event_types)))


async def states(world: World, state: str, count: int) -> bool:
    return len(await world.deliveries(state=state)) == count


async def test_what_was_ticked_is_retried(admin: Visitor, world: World) -> None:
    await dead_letters(world, "alert.created", "alert.created")
    page = await admin.get("/deliveries?state=failed")
    ticks = TICK.findall(page.text)

    fields = {"id": ticks[0], "do": "retry-selected", "here": "/deliveries?state=failed"}
    answered = await admin.post("/deliveries/bulk?state=failed", fields)

    assert 2 == len(ticks)
    assert "/deliveries?state=failed" == answered.headers["location"]
    assert "Retrying 1 now." in text_of(await admin.get("/deliveries"))
    assert [ticks[0]] == [row["id"] for row in await world.deliveries(state="retrying")]


async def test_what_was_ticked_is_cancelled_and_written_down_once(
    admin: Visitor, world: World
) -> None:
    await world.make_destination("http://127.0.0.1:9/hook")
    for _ in range(3):
        await world.publish()
    ticks = TICK.findall((await admin.get("/deliveries")).text)

    form = {"id": ticks[:2], "do": "cancel-selected", "_csrf": admin.token}
    await admin.http.post("/deliveries/bulk", data=form)

    assert "Cancelled 2." in text_of(await admin.get("/deliveries"))
    assert set(ticks[:2]) == {row["id"] for row in await world.deliveries(state="cancelled")}
    (entry,) = (
        await world.as_("acme_auditor").get("/audit", params={"action": "deliveries.cancelled"})
    ).json()["items"]
    assert {"cancelled": 2, "skipped": 0} == entry["changes"]
    trail = text_of(await admin.get("/audit?action=deliveries.cancelled"))
    assert "Cancelled 2 deliveries" in trail


async def test_all_that_the_filters_find_is_retried_and_nothing_else(
    admin: Visitor, world: World
) -> None:
    await dead_letters(world, "alert.created", "alert.created", "incident.opened")
    page = await admin.get("/deliveries?state=failed&type=alert.created")
    assert 'action="/deliveries/bulk?state=failed&amp;type=alert.created"' in page.text

    await admin.post("/deliveries/bulk?state=failed&type=alert.created", {"do": "retry-all"})

    assert "Retrying 2 now." in text_of(await admin.get("/deliveries"))
    assert ["incident.opened"] == [r["event_type"] for r in await world.deliveries(state="failed")]


async def test_all_that_waits_and_matches_is_cancelled(admin: Visitor, world: World) -> None:
    await world.make_destination("http://127.0.0.1:9/hook")
    for event_type in ("alert.created", "alert.created", "incident.opened"):
        await world.publish(event_type=event_type)

    await admin.post("/deliveries/bulk?type=alert.created", {"do": "cancel-all"})

    assert ["incident.opened"] == [r["event_type"] for r in await world.deliveries(state="pending")]


async def test_without_a_filter_all_is_not_offered_and_refused(
    admin: Visitor, world: World
) -> None:
    await world.make_destination("http://127.0.0.1:9/hook")
    await world.publish()

    page = await admin.get("/deliveries")
    refused = await admin.post("/deliveries/bulk", {"do": "cancel-all"})

    assert "Cancel selected" in page.text
    assert "All matching" not in page.text
    assert 400 == refused.status_code
    assert "Filter the list first" in text_of(refused)
    assert await states(world, "pending", 1)


async def test_what_cannot_be_changed_is_told(admin: Visitor, world: World) -> None:
    await dead_letters(world, "alert.created")
    (dead,) = await world.deliveries(state="failed")

    await admin.post("/deliveries/bulk", {"do": "cancel-selected", "id": dead["id"]})

    page = text_of(await admin.get("/deliveries"))
    assert "Cancelled 0. 1 cannot be cancelled." in page
    assert await states(world, "failed", 1)


@pytest.mark.parametrize("do", ["", "delete-all", "retry", "retry-everything"])
async def test_a_button_that_there_is_not_is_refused(admin: Visitor, do: str) -> None:
    assert 400 == (await admin.post("/deliveries/bulk?state=failed", {"do": do})).status_code


async def test_without_a_tick_nothing_happens_and_it_is_said(admin: Visitor) -> None:
    fields = {"do": "retry-selected", "here": "https://evil.example/"}
    answered = await admin.post("/deliveries/bulk", fields)

    assert "/integrations" == answered.headers["location"]
    assert "Nothing was selected." in text_of(await admin.get("/deliveries"))


async def test_a_list_of_what_was_delivered_has_nothing_to_tick(
    admin: Visitor, world: World
) -> None:
    async with Receiver() as receiver, world.worker():
        await world.make_destination(receiver.url)
        await world.publish()
        await world.until(lambda: states(world, "delivered", 1))

    page = await admin.get("/deliveries")

    assert "alert." in page.text
    assert 'name="id"' not in page.text
