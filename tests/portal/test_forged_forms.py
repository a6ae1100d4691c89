"""A form counts only with the token of the very session that it came with, from our own page."""

import pytest

from tests.portal.conftest import SignedIn
from tests.portal.visitor import Visitor, text_of

FORM = {"name": "Forged", "endpoint_url": "http://127.0.0.1:9/hook"}


async def test_a_form_without_a_token_is_refused(admin: Visitor):
    answer = await admin.http.post("/integrations", data=FORM)

    assert answer.status_code == 403
    assert "This form is out of date." in text_of(answer)
    assert "Forged" not in (await admin.get("/integrations")).text


async def test_the_token_of_another_session_is_refused(admin: Visitor, signed_in: SignedIn):
    async with signed_in("neighbour") as other:
        admin.token = other.token

        assert (await admin.post("/integrations", FORM)).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_another_sites_page_is_refused_even_with_the_token(
    admin: Visitor, headers: dict[str, str]
):
    assert (await admin.post("/integrations", FORM, headers=headers)).status_code == 403


async def test_our_own_page_is_believed(admin: Visitor):
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"}

    assert (await admin.post("/integrations", FORM, headers=headers)).status_code == 201


async def test_nobody_can_be_signed_in_from_another_site(visitor: Visitor):
    fields = {"email": "admin@acme.example", "password": "oneprotect-local"}

    assert (await visitor.http.post("/login", data=fields)).status_code == 403
    assert "session" not in visitor.http.cookies


async def test_a_token_ends_with_its_session(admin: Visitor):
    old = admin.token
    await admin.post("/logout")
    await admin.sign_in()
    admin.token = old

    assert (await admin.post("/integrations", FORM)).status_code == 403
