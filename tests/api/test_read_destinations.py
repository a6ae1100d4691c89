"""Reading destinations: everything but a secret, a page at a time."""

from app.sending.signing import Secret
from tests.world import World

URL = "https://93.184.216.34/hook"


async def test_no_answer_but_the_first_holds_the_secret(world: World) -> None:
    made = await world.make_destination(URL, headers={"X-Api-Key": "k-5f1e"})
    secret = made["signing_secret"].removeprefix("whsec_")
    base = f"/integrations/destinations/{made['id']}"
    admin = world.as_("acme_admin")

    answers = [
        await admin.get("/integrations/destinations"),
        await admin.get(base),
        await admin.patch(base, json={"name": "Renamed"}),
        await admin.post(f"{base}/disable"),
        await admin.post(f"{base}/enable"),
        await admin.get("/integrations/health"),
        await admin.get("/audit"),
        await admin.get("/audit/export"),
    ]

    for answer in answers:
        assert answer.status_code == 200
        assert secret not in answer.text
        assert "signing_secret" not in answer.text.replace("secret_fingerprint", "")
        assert "k-5f1e" not in answer.text


async def test_what_is_read_is_what_was_created_without_the_secret(world: World) -> None:
    made = await world.make_destination(URL, event_types=["alert.*"])

    read = (await world.as_("acme_operator").get(f"/integrations/destinations/{made['id']}")).json()

    assert made.pop("signing_secret")
    assert read == made


async def test_the_fingerprint_tells_which_secret_is_in_use(world: World) -> None:
    made = await world.make_destination(URL)
    fingerprint = Secret.parse(made["signing_secret"]).fingerprint

    (listed,) = (await world.as_("acme_auditor").get("/integrations/destinations")).json()["items"]

    assert fingerprint == listed["secret_fingerprint"]


async def test_the_list_shows_the_newest_first_and_only_the_tenants_own(world: World) -> None:
    ours = [await world.make_destination(URL, name=f"d{n}") for n in range(3)]
    await world.make_destination(URL, who="globex_admin", name="theirs")

    listed = (await world.as_("acme_operator").get("/integrations/destinations")).json()

    assert [one["id"] for one in reversed(ours)] == [one["id"] for one in listed["items"]]
    assert listed["next_cursor"] is None


async def test_a_deleted_destination_is_gone_from_list_and_reading(world: World) -> None:
    made = await world.make_destination(URL)
    admin = world.as_("acme_admin")
    path = f"/integrations/destinations/{made['id']}"

    deleted = await admin.delete(path)

    assert (204, b"") == (deleted.status_code, deleted.content)
    assert (await admin.get("/integrations/destinations")).json()["items"] == []
    for again in (
        await admin.get(path),
        await admin.delete(path),
        await admin.patch(path, json={}),
    ):
        assert again.status_code == 404


async def test_times_are_rfc3339_in_utc(world: World) -> None:
    made = await world.make_destination(URL)

    assert made["created_at"].endswith("Z")
    assert made["created_at"] == made["updated_at"]
