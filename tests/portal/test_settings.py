"""Settings: who I am, how it looks, and the tenant's API tokens."""

import re

import pytest

from tests.portal.conftest import SignedIn
from tests.portal.visitor import Visitor, text_of
from tests.world import World

TOKEN = {"name": "SIEM import", "role": "operator", "days": "30"}


async def test_a_new_token_is_shown_once_and_works(admin: Visitor, world: World):
    answer = await admin.post("/settings/tokens", TOKEN)
    found = re.search(r'id="secret-text"[^>]*>(op_[^<]+)<', answer.text)

    assert answer.status_code == 201
    assert found
    assert found[1] not in (await admin.get("/settings")).text
    me = await world.client.get("/api/v1/me", headers={"Authorization": f"Bearer {found[1]}"})
    assert (me.json()["tenant"], me.json()["role"]) == ("acme", "operator")


async def test_a_revoked_token_is_refused_at_once(admin: Visitor, world: World):
    answer = await admin.post("/settings/tokens", TOKEN)
    text = re.search(r'id="secret-text"[^>]*>(op_[^<]+)<', answer.text)
    path = re.search(r'action="(/settings/tokens/tok_\w+/revoke)"', answer.text)
    assert text
    assert path

    await admin.post(path[1])

    page = await admin.get("/settings")
    assert "Token revoked." in text_of(page)
    assert "SIEM import" not in text_of(page).replace("placeholder", "")
    me = await world.client.get("/api/v1/me", headers={"Authorization": f"Bearer {text[1]}"})
    assert me.status_code == 401


@pytest.mark.parametrize(
    ("field", "value"), [("name", ""), ("name", "x" * 101), ("role", "platform"), ("days", "9")]
)
async def test_a_wrong_token_form_is_refused(admin: Visitor, field: str, value: str):
    answer = await admin.post("/settings/tokens", TOKEN | {field: value})

    assert answer.status_code == 400
    assert 'class="fault"' in answer.text


async def test_others_see_themselves_only(signed_in: SignedIn):
    async with signed_in("auditor") as visitor:
        page = text_of(await visitor.get("/settings"))

    assert "auditor@acme.example" in page
    assert "audit:read" in page
    assert "API tokens" not in page


@pytest.mark.parametrize("theme", ["light", "dark", "system"])
async def test_the_appearance_is_remembered(admin: Visitor, theme: str):
    await admin.post("/settings/appearance", {"theme": theme})

    assert f'data-theme="{theme}"' in (await admin.get("/integrations")).text


async def test_an_unknown_appearance_changes_nothing(admin: Visitor):
    await admin.post("/settings/appearance", {"theme": '"><script>'})

    assert 'data-theme="system"' in (await admin.get("/integrations")).text
