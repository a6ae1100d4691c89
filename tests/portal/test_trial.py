"""A test event is watched where it was sent, without leaving the page."""

import re

from tests.behaviours import answer
from tests.portal.conftest import SignedIn
from tests.portal.visitor import Visitor, text_of
from tests.receiver import Receiver
from tests.world import World

TRIAL = {"HX-Request": "true", "HX-Target": "trial"}
AGAIN = re.compile(r'hx-get="(/deliveries/dlv_[0-9a-f]{32}/trial)"')


async def test_sending_answers_in_place_and_says_how_it_ends(admin: Visitor, world: World):
    async with Receiver() as receiver:
        made = await world.make_destination(receiver.url)
        sent = await admin.post(f"/integrations/{made['id']}/test", headers=TRIAL)
        again = AGAIN.search(sent.text)
        assert again, sent.text
        async with world.worker():
            await receiver.wait_for(1)
            await world.until(lambda: _says(admin, again[1], "Delivered with attempt 1"))
        over = await admin.get(again[1])

    assert sent.text.lstrip().startswith('<div id="trial"')
    assert "The first attempt is due" in text_of(sent)
    assert "HTTP 200" in text_of(over)
    assert not AGAIN.search(over.text)  # it is over: nothing more to ask


async def test_a_refusal_is_told_with_the_next_attempt(admin: Visitor, world: World):
    async with Receiver(answer(503)) as receiver:
        made = await world.make_destination(receiver.url)
        sent = await admin.post(f"/integrations/{made['id']}/test", headers=TRIAL)
        again = AGAIN.search(sent.text)
        assert again
        async with world.worker(retry_schedule=(60,)):
            await world.until(lambda: _says(admin, again[1], "Attempt 2 of"))
        page = await admin.get(again[1])

    assert "HTTP 503" in text_of(page)
    assert "http error" in text_of(page)
    assert AGAIN.search(page.text)


async def _says(visitor: Visitor, path: str, words: str) -> bool:
    return words in text_of(await visitor.get(path))


async def test_without_htmx_it_goes_on_to_the_story(admin: Visitor, world: World):
    made = await world.make_destination("http://127.0.0.1:9/hook")

    sent = await admin.post(f"/integrations/{made['id']}/test")

    assert sent.status_code == 303
    assert re.search(r"\?delivery=dlv_[0-9a-f]{32}$", sent.headers["location"])


async def test_a_part_of_a_page_leaves_the_note_to_the_page(admin: Visitor, world: World):
    made = await world.make_destination("http://127.0.0.1:9/hook")
    await admin.post(f"/integrations/{made['id']}/disable")

    part = await admin.get("/palette")
    page = await admin.get(f"/integrations/{made['id']}")

    assert "Destination disabled." not in part.text
    assert "Destination disabled." in page.text


async def test_what_cannot_be_an_id_has_no_trial(signed_in: SignedIn):
    async with signed_in("admin") as visitor:
        assert (await visitor.get("/deliveries/x/trial")).status_code == 404
