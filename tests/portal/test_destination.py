"""One destination: changed, switched, rotated, tested and deleted by an admin, step by step."""

import re

from tests.portal.visitor import Visitor, text_of
from tests.receiver import Receiver
from tests.world import World

URL = "http://127.0.0.1:9/hook"


async def _destination(world: World, url: str = URL, **fields: object) -> str:
    return f"/integrations/{(await world.make_destination(url, **fields))['id']}"


async def test_a_change_is_saved_told_once_and_written_down(admin: Visitor, world: World):
    path = await _destination(world)
    fields = {"name": "Night shift", "endpoint_url": URL, "event_types": "", "description": "x"}

    answer = await admin.post(f"{path}/edit", fields)

    assert (answer.status_code, answer.headers["location"]) == (303, path)
    page = await admin.get(path)
    assert "Destination saved." in text_of(page)
    assert "Night shift" in text_of(page)
    assert "Destination saved." not in (await admin.get(path)).text
    audit = text_of(await admin.get("/audit"))
    assert "name from Tenant SOC webhook to Night shift" in audit


async def test_a_wrong_change_keeps_what_was_typed(admin: Visitor, world: World):
    path = await _destination(world)
    fields = {"name": "Night shift", "endpoint_url": "http://10.0.0.5/hook"}

    answer = await admin.post(f"{path}/edit", fields)

    assert answer.status_code == 400
    assert "endpoint_url must not target a private or reserved address" in answer.text
    assert 'value="Night shift"' in answer.text
    assert "Night shift" not in (await admin.get(path)).text


async def test_the_trace_context_is_a_box_to_tick_and_untick(admin: Visitor, world: World):
    made = await world.make_destination(URL)
    path = f"/integrations/{made['id']}"
    fields = {"name": made["name"], "endpoint_url": URL, "rules": "yes"}
    seen = []
    for sent in (["yes"], []):  # an unticked box sends nothing
        page = await admin.get(f"{path}/edit")
        await admin.post(f"{path}/edit", fields | {"trace_context": sent})
        shown = (
            await world.as_("acme_admin").get(f"/integrations/destinations/{made['id']}")
        ).json()
        seen.append(('value="yes" checked' in page.text, shown["trace_context"]))

    assert [(False, True), (True, False)] == seen


async def test_disabling_and_enabling(admin: Visitor, world: World):
    path = await _destination(world)

    await admin.post(f"{path}/disable")
    off = text_of(await admin.get(path))
    await admin.post(f"{path}/enable")
    on = text_of(await admin.get(path))

    assert "Destination disabled." in off
    assert "disabled by admin@acme.example" in off
    assert "Destination enabled." in on


async def test_a_rotated_secret_is_shown_once(admin: Visitor, world: World):
    path = await _destination(world)

    answer = await admin.post(f"{path}/rotate-secret", {"overlap_seconds": "3600"})

    assert answer.status_code == 200
    found = re.search(r"whsec_[A-Za-z0-9+/=]+", answer.text)
    assert found
    page = await admin.get(path)
    assert found[0] not in page.text
    assert page.text.count("sha256:") == 2  # the old one still signs


async def test_a_wrong_secret_is_refused_beside_its_field(admin: Visitor, world: World):
    path = await _destination(world)
    fields = {"overlap_seconds": "0", "signing_secret": "nope"}
    headers = {"HX-Request": "true", "HX-Target": "credentials"}

    answer = await admin.post(f"{path}/rotate-secret", fields, headers=headers)

    assert answer.status_code == 400
    assert answer.text.lstrip().startswith('<section class="card" id="credentials"')
    assert "signing_secret must be" in answer.text


async def test_deleting_asks_for_the_name(admin: Visitor, world: World):
    path = await _destination(world)

    refused = await admin.post(f"{path}/delete", {"confirm": "tenant soc webhook"})
    assert refused.status_code == 400
    assert "Type the name exactly as above." in refused.text

    answer = await admin.post(f"{path}/delete", {"confirm": "Tenant SOC webhook"})
    assert answer.headers["location"] == "/integrations"
    assert (await admin.get(path)).status_code == 404


async def test_a_test_event_opens_its_story(admin: Visitor, world: World):
    async with Receiver() as receiver:
        path = await _destination(world, f"{receiver.url}/hook")
        answer = await admin.post(f"{path}/test")
        story = answer.headers["location"]
        assert story.startswith(f"{path}?delivery=dlv_")
        async with world.worker():
            await world.until(lambda: _says(admin, story, "Delivered with attempt 1"))
        page = text_of(await admin.get(story))

    assert "127.0.0.1" in page  # the resolved address, for admins
    assert "This is a test event." in page


async def _says(visitor: Visitor, path: str, sentence: str) -> bool:
    return sentence in text_of(await visitor.get(path))


async def test_a_test_of_a_disabled_destination_is_explained(admin: Visitor, world: World):
    path = await _destination(world)
    await admin.post(f"{path}/disable")

    page = await admin.post(f"{path}/test")
    swap = await admin.post(f"{path}/test", headers={"HX-Request": "true", "HX-Target": "live"})

    assert page.status_code == swap.status_code == 409
    assert "The destination is disabled; enable it to send a test event." in text_of(page)
    assert "enable it" in swap.headers["hx-trigger"]
    assert swap.headers["hx-reswap"] == "none"


async def test_a_waiting_delivery_is_cancelled_and_retried_from_its_story(
    admin: Visitor, world: World
):
    path = await _destination(world)
    await world.publish()
    (delivery,) = await world.deliveries()
    here = f"{path}?delivery={delivery['id']}"

    answer = await admin.post(f"/deliveries/{delivery['id']}/cancel", {"here": here})
    assert answer.headers["location"] == here
    assert "cancelled by admin@acme.example" in text_of(await admin.get(here))

    await admin.post(f"/deliveries/{delivery['id']}/retry", {"here": "https://evil.example/"})
    assert "Attempt 1 of 4" in text_of(await admin.get(here))


async def test_a_story_of_another_destination_is_not_told_here(admin: Visitor, world: World):
    await _destination(world)
    await world.publish()
    (delivery,) = await world.deliveries()
    other = await _destination(world, name="Other")

    assert (await admin.get(f"{other}?delivery={delivery['id']}")).status_code == 404


async def test_an_open_page_whose_destination_was_deleted_loads_itself_anew(
    admin: Visitor, world: World
):
    path = await _destination(world)
    await admin.post(f"{path}/delete", {"confirm": "Tenant SOC webhook"})
    headers = {"HX-Request": "true", "HX-Target": "live", "X-Background": "1"}

    assert (await admin.get(path, headers=headers)).headers["hx-refresh"] == "true"
