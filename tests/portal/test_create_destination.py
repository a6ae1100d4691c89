"""The card: created in place, refused with every fault at once, the secret shown this once."""

import re

import pytest

from tests.portal.visitor import Visitor, text_of
from tests.world import World

PRIVATE = "endpoint_url must not target a private or reserved address"
GOOD = {"name": "Tenant SOC webhook", "endpoint_url": "http://127.0.0.1:9/hook"}
HTMX = {"HX-Request": "true", "HX-Target": "create"}
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")


def _fault_of(page: str, field: str) -> str | None:
    found = re.search(rf'<p class="fault" id="e-{field}">([^<]*)</p>', page)
    return found and found[1]


async def test_without_javascript_the_whole_page_answers(admin: Visitor):
    answer = await admin.post("/integrations", GOOD)

    assert answer.status_code == 201
    assert "Destination created." in text_of(answer)
    assert SECRET.search(answer.text)
    assert answer.headers["cache-control"] == "no-store"
    assert text_of(answer).count("http://127.0.0.1:9/hook") == 1  # in the list, of the same page


async def test_htmx_gets_the_card_alone_and_the_list_is_told(admin: Visitor):
    answer = await admin.post("/integrations", GOOD, headers=HTMX)

    assert answer.status_code == 201
    assert answer.text.lstrip().startswith('<section class="card create" id="create"')
    assert "Destination created." in answer.text
    assert answer.headers["hx-trigger"] == "live"
    assert "http://127.0.0.1:9/hook" in (await admin.get("/integrations")).text


async def test_the_secret_is_shown_once_and_on_no_page_again(admin: Visitor, world: World):
    answer = await admin.post("/integrations", GOOD)
    found = SECRET.search(answer.text)
    assert found
    (row,) = (await world.as_("acme_admin").get("/integrations/destinations")).json()["items"]

    for path in (
        "/integrations",
        f"/integrations/{row['id']}",
        f"/integrations/{row['id']}/edit",
        "/audit",
        "/settings",
    ):
        assert found[0] not in (await admin.get(path)).text, path


async def test_every_fault_stands_under_its_field_and_what_was_typed_stays(admin: Visitor):
    typed = {
        "name": "",
        "endpoint_url": "http://169.254.169.254/latest/meta-data/",
        "event_types": "alert.* not-a-type!",
        "signing_secret": "nope",
    }

    answer = await admin.post("/integrations", typed, headers=HTMX)

    assert answer.status_code == 400
    assert _fault_of(answer.text, "endpoint_url") == PRIVATE
    assert (_fault_of(answer.text, "name") or "").startswith("name must be text")
    assert (_fault_of(answer.text, "event_types") or "").startswith("event_types must be a list")
    assert (_fault_of(answer.text, "signing_secret") or "").startswith("signing_secret must be")
    assert answer.text.count('aria-invalid="true"') == 4
    for value in ("http://169.254.169.254/latest/meta-data/", "alert.* not-a-type!"):
        assert f'value="{value}"' in answer.text


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest/meta-data/", "http://10.0.0.5/hook", "https://[fd00::1]/"],
)
async def test_a_private_address_is_refused_in_place_and_the_list_stays(admin: Visitor, url: str):
    await admin.post("/integrations", GOOD)
    before = await admin.get("/integrations")

    answer = await admin.post("/integrations", GOOD | {"endpoint_url": url}, headers=HTMX)

    assert (answer.status_code, _fault_of(answer.text, "endpoint_url")) == (400, PRIVATE)
    after = await admin.get("/integrations")
    assert re.findall(r'<tr id="(\w+)"', after.text) == re.findall(r'<tr id="(\w+)"', before.text)


async def test_an_own_secret_and_event_types_are_taken(admin: Visitor, world: World):
    own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    typed = GOOD | {"event_types": "alert.*, incident.opened", "signing_secret": own}

    answer = await admin.post("/integrations", typed)

    assert own in answer.text
    (row,) = (await world.as_("acme_admin").get("/integrations/destinations")).json()["items"]
    assert row["event_types"] == ["alert.*", "incident.opened"]


async def test_the_labels_are_the_contracts(admin: Visitor):
    page = (await admin.get("/integrations")).text

    for text in ("Create destination", ">Name</label>", ">Endpoint URL (https)</label>"):
        assert text in page
    assert re.search(r"<button[^>]*>Create</button>", page)


async def test_the_list_can_be_searched(admin: Visitor):
    await admin.post("/integrations", GOOD)
    await admin.post("/integrations", GOOD | {"name": "Pager relay"})

    page = text_of(await admin.get("/integrations?q=pager"))

    assert "Pager relay" in page
    assert "Tenant SOC webhook" not in page


@pytest.mark.parametrize("window", ["1h", "24h", "7d"])
async def test_each_window_has_its_page(admin: Visitor, window: str):
    assert (await admin.get(f"/integrations?window={window}")).status_code == 200


async def test_an_unknown_window_is_refused_in_one_sentence(admin: Visitor):
    answer = await admin.get("/integrations?window=1y")

    assert answer.status_code == 400
    assert "window must be one of: 1h, 24h, 7d." in text_of(answer)
