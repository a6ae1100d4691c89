"""Control in the portal: rules of a destination, a line that is held, an attempt as a command."""

import html
import re
from datetime import timedelta

from sqlalchemy import update

from app.database import utcnow
from app.destinations.models import Destination, Lane
from tests.behaviours import answer, fail_first
from tests.portal.conftest import SignedIn
from tests.portal.visitor import Visitor, text_of
from tests.receiver import Receiver
from tests.world import World

URL = "http://127.0.0.1:9/hook"


async def edit(world: World, admin: Visitor, destination_id: str, **fields: str) -> int:
    path = f"/integrations/{destination_id}/edit"
    await admin.get(path)
    given = {"name": "SOC", "endpoint_url": URL, "rules": "yes"} | fields
    return (await admin.post(path, given)).status_code


async def test_rate_order_and_signature_are_set_and_taken_back(
    world: World, admin: Visitor
) -> None:
    made = await world.make_destination(URL)
    path = f"/integrations/destinations/{made['id']}"
    names = ("rate_limit_per_second", "ordered", "asymmetric_signature")

    on = {"rate_limit_per_second": "10", "ordered": "yes", "asymmetric_signature": "yes"}
    assert 303 == await edit(world, admin, made["id"], **on)
    set_now = (await world.as_("acme_admin").get(path)).json()
    shown = (await admin.get(f"/integrations/{made['id']}/edit")).text
    assert 303 == await edit(world, admin, made["id"])
    unset = (await world.as_("acme_admin").get(path)).json()

    assert [10, True, True] == [set_now[name] for name in names]
    assert [None, False, False] == [unset[name] for name in names]
    assert 2 == shown.count('value="yes" checked')


async def test_own_headers_are_kept_by_name_changed_and_removed(
    world: World, admin: Visitor
) -> None:
    async with Receiver() as receiver:
        headers = {"X-Keep": "kept-kept", "X-Change": "old-old", "X-Gone": "gone-gone"}
        made = await world.make_destination(receiver.url, headers=headers)
        page = (await admin.get(f"/integrations/{made['id']}/edit")).text
        wanted = "X-Keep\r\nX-Change: new: new\r\nX-New: fresh"
        code = await edit(world, admin, made["id"], headers=wanted, endpoint_url=receiver.url)
        async with world.worker():
            await world.publish()
            (request,) = await receiver.wait_for(1)

    assert 303 == code
    assert ("kept-kept", "new: new", "fresh", None) == tuple(
        {n.lower(): v for n, v in request.headers}.get(name)
        for name in ("x-keep", "x-change", "x-new", "x-gone")
    )
    assert "X-Change\nX-Gone\nX-Keep" in page
    assert not re.search("kept-kept|old-old|gone-gone", page)


async def test_wrong_rules_are_named_and_no_value_comes_back(world: World, admin: Visitor) -> None:
    made = await world.make_destination(URL)
    path = f"/integrations/{made['id']}/edit"
    await admin.get(path)
    wrong = {
        "name": "SOC", "endpoint_url": URL, "rules": "yes", "rate_limit_per_second": "many",
        "headers": "X-Api-Key: hunter2\nX-Unknown\nHost: x",
    }  # fmt: skip
    refused = await admin.post(path, wrong)

    shown = text_of(refused)
    assert 400 == refused.status_code
    assert "rate_limit_per_second must be a whole number" in shown
    assert "headers must not contain Host" in shown
    assert "headers must give X-Unknown a value" in shown
    assert "hunter2" not in refused.text


async def test_a_form_without_the_rules_changes_none(world: World, admin: Visitor) -> None:
    made = await world.make_destination(URL, ordered=True, headers={"X-A": "aaaaaa"})
    path = f"/integrations/{made['id']}/edit"
    await admin.get(path)
    await admin.post(path, {"name": "SOC", "endpoint_url": URL})

    found = (await world.as_("acme_admin").get(f"/integrations/destinations/{made['id']}")).json()
    assert (True, ["X-A"]) == (found["ordered"], found["header_names"])


async def test_a_held_line_shows_what_holds_it_and_skip_lets_it_go_on(
    world: World, admin: Visitor, signed_in: SignedIn
) -> None:
    async with Receiver(fail_first(4)) as receiver:
        made = await world.make_destination(receiver.url, ordered=True)
        path = f"/integrations/{made['id']}"
        async with world.worker() as engine:
            for number in range(3):
                await world.publish(data={"n": number})
            (dead,) = await world.until(lambda: world.deliveries(state="failed"))
            page = await admin.get(path)
            async with signed_in("operator") as operator:
                watched = await operator.get(path)
            skipped = await admin.post(f"/deliveries/{dead['id']}/cancel", {"here": path})
            engine.wake()

            async def rest() -> bool:
                return len(await world.deliveries(state="delivered")) == 2

            await world.until(rest)
        after = await admin.get(path)

    assert "The line is held" in text_of(page)
    assert "2 wait behind it" in text_of(page)
    assert f'action="/deliveries/{dead["id"]}/cancel"' in page.text
    assert f'action="/deliveries/{dead["id"]}/retry"' in page.text
    assert "The line is held" in text_of(watched)
    assert ">Skip<" not in watched.text
    assert (303, path) == (skipped.status_code, skipped.headers["location"])
    assert "The line is held" not in text_of(after)


async def test_retry_now_moves_the_line(world: World, admin: Visitor) -> None:
    async with Receiver(fail_first(4)) as receiver:
        made = await world.make_destination(receiver.url, ordered=True)
        async with world.worker() as engine:
            await world.publish()
            await world.publish()
            (dead,) = await world.until(lambda: world.deliveries(state="failed"))
            await admin.get(f"/integrations/{made['id']}")
            await admin.post(f"/deliveries/{dead['id']}/retry")
            engine.wake()

            async def both() -> bool:
                return len(await world.deliveries(state="delivered")) == 2

            await world.until(both)


async def test_an_attempt_shows_its_request_its_timing_and_its_command(
    world: World, admin: Visitor, signed_in: SignedIn
) -> None:
    async with Receiver(answer(200)) as receiver:
        await world.make_destination(receiver.url, headers={"X-Api-Key": "hunter2-hunter2"})
        async with world.worker():
            event = await world.publish(data={"word": "it's"})
            (delivery,) = await world.until(lambda: world.deliveries(state="delivered"))

    path = f"/deliveries?delivery={delivery['id']}"
    page = await admin.get(path)
    shown = text_of(page)
    assert "X-Api-Key [hidden]" in shown
    assert "webhook-signature v1,[hidden]" in shown
    assert f"webhook-id {event['id']}" in shown
    assert "First byte after" in shown
    command = await world.as_("acme_admin").get(f"/integrations/deliveries/{delivery['id']}/curl")
    assert command.text in html.unescape(page.text)
    assert "hunter2" not in page.text
    async with signed_in("auditor") as auditor:
        for_auditor = html.unescape((await auditor.get(path)).text)
    assert "--data-binary @payload.json" in for_auditor
    assert "it's" not in for_auditor


async def test_what_needs_a_person_stands_above_everything(world: World, admin: Visitor) -> None:
    failing, broken, ended, left = [
        (await world.make_destination(URL, name=name))["id"]
        for name in ("Failing", "Broken", "Ended", "Left")
    ]
    now = utcnow()
    async with world.database.transaction() as session:
        for one, values in (
            (failing, {"failing_since": now - timedelta(days=2)}),
            (broken, {"open_until": now + timedelta(minutes=1), "consecutive_failures": 24}),
        ):
            await session.execute(update(Lane).where(Lane.destination_id == one).values(**values))
        await session.execute(
            update(Destination)
            .where(Destination.id == ended)
            .values(disabled_at=now, disabled_reason="the receiver answered 410 Gone")
        )
    await world.as_("acme_admin").post(f"/integrations/destinations/{left}/disable")

    shown = text_of(await admin.get("/integrations"))
    assert "3 destinations need you" in shown
    assert "Ended is disabled: the receiver answered 410 Gone. What it misses is kept" in shown
    assert "Broken is degraded: 24 attempts in a row failed" in shown
    assert "Failing brings nothing but failure since" in shown
    assert "Left is disabled" not in shown


async def test_a_replay_takes_a_rate_and_refuses_a_wrong_one(world: World, admin: Visitor) -> None:
    made = await world.make_destination(URL)
    path = f"/integrations/{made['id']}"
    await admin.get(path)

    wrong = await admin.post(f"{path}/replay", {"span": "3600", "what": "missed", "rate": "fast"})
    right = await admin.post(f"{path}/replay", {"span": "3600", "what": "missed", "rate": "7"})

    assert (400, 303) == (wrong.status_code, right.status_code)
    assert "rate_per_second must be a whole number" in text_of(wrong)
    (job,) = (await world.as_("acme_admin").get("/integrations/jobs")).json()["items"]
    assert 7 == job["rate_per_second"]
