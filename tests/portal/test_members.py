"""Members and sessions in the portal: invite links, roles, removal, signing out here and there."""

import re

import pytest

from app.audit.models import SYSTEM
from app.identity import members
from app.identity.permissions import Role
from tests.portal.conftest import SignedIn
from tests.portal.visitor import Visitor, text_of
from tests.world import World

PASSWORD = "a long enough pass phrase"
NEW = {"email": "ada@acme.example", "full_name": "Ada Lovelace", "role": "operator"}
LINK = re.compile(r'id="invite-link"[^>]*>http://testserver(/invite/[^<]+)<')
NOBODY = "usr_" + "0" * 32


async def invite(admin: Visitor, **changed: str) -> str:
    answer = await admin.post("/settings/members", NEW | changed)
    assert answer.status_code == 201, text_of(answer)
    found = LINK.search(answer.text)
    assert found
    return found[1]


async def id_of(admin: Visitor, email: str) -> str:
    page = await admin.get("/settings")
    found = re.search(rf'<tr id="(usr_\w+)"><th scope="row">{re.escape(email)}<', page.text)
    assert found
    return found[1]


async def test_an_invite_is_shown_once_and_leads_in(admin: Visitor, world: World):
    link = await invite(admin)
    page = await admin.get("/settings")
    assert link not in page.text
    assert "invited" in text_of(page)

    async with Visitor(world.app) as visitor:
        form = await visitor.get(link)
        assert form.status_code == 200
        assert "ada@acme.example" in text_of(form)
        for typed, said in (
            ({"password": PASSWORD, "again": "other"}, "The two passwords differ."),
            ({"password": "short", "again": "short"}, "password must have 12 to 200 characters"),
            ({}, "password must have 12 to 200 characters"),
        ):
            refused = await visitor.post(link, typed)
            assert refused.status_code == 400
            assert said in text_of(refused)
            assert PASSWORD not in refused.text

        answer = await visitor.post(link, {"password": PASSWORD, "again": PASSWORD})
        assert (answer.status_code, answer.headers["location"]) == (303, "/integrations")
        assert "ada@acme.example" in text_of(await visitor.get("/settings"))

        for used in (await visitor.get(link), await visitor.post(link, {"password": PASSWORD})):
            assert used.status_code == 404
            assert "This link is no longer good" in text_of(used)
    async with Visitor(world.app) as visitor:
        assert (await visitor.sign_in("ada@acme.example", PASSWORD)).status_code == 303


async def test_an_invite_cannot_be_accepted_by_another_sites_form(admin: Visitor, world: World):
    link = await invite(admin)
    async with Visitor(world.app) as visitor:
        fields = {"password": PASSWORD, "again": PASSWORD}
        assert (await visitor.http.post(link, data=fields)).status_code == 403
        await visitor.get(link)
        foreign = await visitor.post(link, fields, headers={"Sec-Fetch-Site": "cross-site"})
        assert foreign.status_code == 403


async def test_who_is_signed_in_and_opens_an_invite_becomes_the_invited(
    admin: Visitor, signed_in: SignedIn
):
    link = await invite(admin)
    async with signed_in("auditor") as visitor:
        before = visitor.http.cookies["session"]
        await visitor.get(link)
        await visitor.post(link, {"password": PASSWORD, "again": PASSWORD})
        assert "ada@acme.example" in text_of(await visitor.get("/settings"))

        visitor.http.cookies.set("session", before, domain="testserver.local")
        assert (await visitor.get("/settings")).status_code == 303


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "no at sign"),
        ("email", ""),
        ("email", "admin@globex.example"),
        ("role", "platform"),
        ("full_name", "x" * 101),
    ],
)
async def test_a_wrong_invite_is_refused_beside_its_field(admin: Visitor, field: str, value: str):
    answer = await admin.post("/settings/members", NEW | {field: value})

    assert answer.status_code in {400, 409}
    assert 'class="fault"' in answer.text
    if field == "email":
        assert 'id="e-email"' in answer.text


async def test_a_role_changes_and_a_member_goes_with_effect_at_once(
    admin: Visitor, signed_in: SignedIn
):
    async with signed_in("auditor") as auditor:
        path = f"/settings/members/{await id_of(admin, 'auditor@acme.example')}"

        assert (await admin.post(f"{path}/role", {"role": "operator"})).status_code == 303
        assert "auditor@acme.example is now operator." in text_of(await admin.get("/settings"))
        assert (await auditor.get("/audit")).status_code == 403
        assert (await auditor.get("/settings")).status_code == 200

        assert (await admin.post(f"{path}/sign-out")).status_code == 303
        assert (await auditor.get("/settings")).status_code == 303
        assert (await auditor.sign_in("auditor")).status_code == 303

        assert (await admin.post(f"{path}/remove")).status_code == 303
        assert (await auditor.get("/settings")).status_code == 303
        assert (await auditor.sign_in("auditor")).status_code == 401
    assert (await admin.post(f"{path}/remove")).status_code == 404
    audit = text_of(await admin.get("/audit"))
    for sentence in (
        "Changed the role of auditor@acme.example",
        "Ended every session of",
        "Removed the member",
    ):
        assert sentence in audit


async def test_the_last_admin_is_told_why_they_must_stay(admin: Visitor):
    path = f"/settings/members/{await id_of(admin, 'admin@acme.example')}"

    for answer in (
        await admin.post(f"{path}/remove"),
        await admin.post(f"{path}/role", {"role": "operator"}),
    ):
        assert answer.status_code == 409
        assert "The last tenant admin" in text_of(answer)


async def test_a_new_link_lets_a_member_choose_a_new_password(admin: Visitor, world: World):
    path = f"/settings/members/{await id_of(admin, 'operator@acme.example')}"
    answer = await admin.post(f"{path}/invite")
    found = LINK.search(answer.text)
    assert found

    async with Visitor(world.app) as visitor:
        await visitor.get(found[1])
        await visitor.post(found[1], {"password": PASSWORD, "again": PASSWORD})
    async with Visitor(world.app) as visitor:
        assert (await visitor.sign_in("operator")).status_code == 401
        assert (await visitor.sign_in("operator", PASSWORD)).status_code == 303


@pytest.mark.parametrize("act", ["role", "invite", "sign-out", "remove"])
async def test_neighbours_members_do_not_exist(admin: Visitor, signed_in: SignedIn, act: str):
    async with signed_in("neighbour") as neighbour:
        theirs = await id_of(neighbour, "admin@globex.example")

    for member in (theirs, NOBODY, "usr_x"):
        answer = await admin.post(f"/settings/members/{member}/{act}", {"role": "operator"})
        assert answer.status_code == 404


async def test_others_see_their_own_sessions_and_no_members(signed_in: SignedIn):
    async with signed_in("operator") as visitor:
        page = await visitor.get("/settings")

    assert "Your sessions" in page.text
    assert "admin@acme.example" not in page.text
    assert "Invite member" not in page.text


async def test_one_ends_a_session_of_ones_own_and_nobody_elses(signed_in: SignedIn):
    async with signed_in("operator") as here, signed_in("operator") as there:
        ids = re.findall(r'<tr id="(ses_\w+)">', (await here.get("/settings")).text)
        assert len(ids) == 2
        async with signed_in("admin") as other:
            answer = await other.post(f"/settings/sessions/{ids[0]}/end")
            assert answer.status_code == 404

        await there.post(f"/settings/sessions/{ids[1]}/end")  # the older one: `here`

        assert (await here.get("/settings")).status_code == 303
        page = text_of(await there.get("/settings"))
        assert "Session ended." in page
        assert "this one" in page


async def test_signing_out_everywhere_ends_this_session_too(signed_in: SignedIn):
    async with signed_in("operator") as here, signed_in("operator") as there:
        answer = await here.post("/settings/sessions/end-all")
        assert answer.headers["location"] == "/login"

        for visitor in (here, there):
            assert (await visitor.get("/settings")).status_code == 303


async def test_hostile_names_and_agents_are_only_text(admin: Visitor, world: World):
    async with world.database.transaction() as session:
        _, text = await members.invite(
            session, tenant_id="acme", email="<b>x</b>@acme.example", name="<i>&</i>",
            role=Role.OPERATOR, actor=SYSTEM,
        )  # fmt: skip
    async with Visitor(world.app) as visitor:
        form = await visitor.get(f"/invite/{text}")
    page = await admin.get("/settings", headers={"User-Agent": "<script>1</script>"})
    for answer in (form, page):
        assert "<b>x</b>" not in answer.text
        assert "<i>&" not in answer.text
        assert "&lt;b&gt;x&lt;/b&gt;@acme.example" in answer.text
