"""The endpoint is judged while it is typed: by the rules of creating, at a pace of typing."""

import html
import re

import httpx
import pytest

from app.portal.url_check import TYPING
from tests.portal.conftest import SignedIn
from tests.portal.visitor import Visitor

PATH = "/integrations/check-url"
HTMX = {"HX-Request": "true", "HX-Target": "field-endpoint_url"}
GOOD = "http://127.0.0.1:9/hook"


def fault_of(answer: httpx.Response) -> str | None:
    found = re.search(r'id="e-endpoint_url">([^<]*)</p>', answer.text)
    return html.unescape(found[1]) if found else None


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.5/hook",
        "ftp://hooks.example.com/",
        "https://user:pw@hooks.example.com/",
        "https://hooks.example.com:99999/",
        "hooks",
    ],
)
async def test_it_says_what_creating_would_say(admin: Visitor, url: str):
    typed = await admin.post(PATH, {"endpoint_url": url}, headers=HTMX)
    created = await admin.post("/integrations", {"name": "x", "endpoint_url": url})

    assert typed.status_code == 200
    assert fault_of(typed)
    assert fault_of(typed) == fault_of(created)
    assert 'aria-invalid="true"' in typed.text


async def test_an_address_that_may_be_used_is_said_to_be_fine(admin: Visitor):
    answer = await admin.post(PATH, {"endpoint_url": GOOD}, headers=HTMX)

    assert answer.text.lstrip().startswith('<div class="field" id="field-endpoint_url">')
    assert "This address may be used." in answer.text
    assert f'value="{GOOD}"' in answer.text
    assert fault_of(answer) is None


@pytest.mark.parametrize("typed", ["", "   "])
async def test_an_empty_field_is_not_wrong_yet(admin: Visitor, typed: str):
    answer = await admin.post(PATH, {"endpoint_url": typed}, headers=HTMX)

    assert fault_of(answer) is None
    assert "may be used" not in answer.text


async def test_what_is_typed_comes_back_as_text(admin: Visitor):
    answer = await admin.post(PATH, {"endpoint_url": '"><script>alert(1)</script>'}, headers=HTMX)

    assert "<script" not in answer.text


async def test_nothing_else_of_the_form_is_sent_along_or_echoed(admin: Visitor):
    page = (await admin.get("/integrations")).text
    field = re.search(r'<input id="f-endpoint_url"[^>]*>', page)

    assert field
    assert 'hx-params="_csrf,endpoint_url"' in field[0]
    answer = await admin.post(PATH, {"endpoint_url": GOOD, "signing_secret": "whsec_mine"})
    assert "whsec_mine" not in answer.text


async def test_a_forged_check_is_refused(admin: Visitor):
    assert (await admin.http.post(PATH, data={"endpoint_url": GOOD})).status_code == 403


async def test_who_types_faster_than_people_do_is_told_to_wait(admin: Visitor, signed_in: SignedIn):
    codes = [
        (await admin.post(PATH, {"endpoint_url": "x"})).status_code
        for _ in range(TYPING.burst + 15)
    ]
    refused = await admin.post(PATH, {"endpoint_url": "x"}, headers=HTMX)

    assert codes[: TYPING.burst] == [200] * TYPING.burst
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    async with signed_in("neighbour") as other:
        assert (await other.post(PATH, {"endpoint_url": "x"})).status_code == 200
