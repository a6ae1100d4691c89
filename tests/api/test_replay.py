"""Starting and steering replays over the API: what is refused, who may, what is answered."""

from datetime import timedelta
from typing import Any

from app.database import utcnow
from tests.world import World

URL = "https://93.184.216.34/hook"


def ago(**span: float) -> str:
    return (utcnow() - timedelta(**span)).isoformat()


async def started(world: World, **fields: Any) -> dict[str, Any]:
    made = await world.make_destination(URL)
    path = f"/integrations/destinations/{made['id']}/replay"
    answer = await world.as_("acme_admin").post(path, json={"since": ago(days=1)} | fields)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def test_a_replay_is_answered_with_a_job_that_can_be_read(world: World) -> None:
    job = await started(world, event_types=["alert.*"], states=["failed", "cancelled"])

    for who in ("acme_admin", "acme_operator", "acme_auditor"):
        read = await world.as_(who).get(f"/integrations/jobs/{job['id']}")
        assert (200, job) == (read.status_code, read.json())
    assert ("running", 0.0, 0, None) == (
        job["state"], job["progress"], job["created"], job["ended_at"],
    )  # fmt: skip
    assert (["failed", "cancelled"], ["alert.*"], 100) == (
        job["states"], job["event_types"], job["rate_per_second"],
    )  # fmt: skip


async def test_every_wrong_field_is_named(world: World) -> None:
    made = await world.make_destination(URL)
    path = f"/integrations/destinations/{made['id']}/replay"
    body = {
        "since": "yesterday",
        "until": "2026-01-01T00:00:00",
        "states": ["pending"],
        "event_types": ["alert*"],
        "rate_per_second": 501,
        "from": 1,
    }

    answer = await world.as_("acme_admin").post(path, json=body)

    faults = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert (400, set(body)) == (answer.status_code, set(faults))
    assert "delivered, failed, cancelled" in faults["states"]
    assert "with its offset" in faults["until"]


async def test_since_is_required_and_lies_in_the_past_before_until(world: World) -> None:
    made = await world.make_destination(URL)
    path = f"/integrations/destinations/{made['id']}/replay"
    for body in (
        {},
        {"since": None},
        {"since": ago(hours=-1)},
        {"since": ago(hours=1), "until": ago(hours=2)},
        {"since": 1e300},
        {"since": ["2026-01-01T00:00:00Z"]},
    ):
        answer = await world.as_("acme_admin").post(path, json=body)

        assert 400 == answer.status_code, body
        assert ["since"] == [error["field"] for error in answer.json()["errors"]], body


async def test_any_range_that_a_date_can_name_is_taken(world: World) -> None:
    job = await started(world, since="0001-01-01T00:00:00Z", until="9999-12-31T23:59:59Z")

    assert job["until"] <= utcnow().isoformat()


async def test_an_unknown_destination_is_404_whatever_the_body(world: World) -> None:
    path = f"/integrations/destinations/dst_{'0' * 32}/replay"

    answers = [
        await world.as_("acme_admin").post(path, json=b) for b in ({}, {"since": ago(days=1)})
    ]

    assert [404, 404] == [answer.status_code for answer in answers]


async def test_one_replay_at_a_time_per_destination(world: World) -> None:
    job = await started(world)
    path = f"/integrations/destinations/{job['destination_id']}/replay"
    admin = world.as_("acme_admin")

    refused = await admin.post(path, json={"since": ago(days=1)})
    await admin.post(f"/integrations/jobs/{job['id']}/pause")
    paused = await admin.post(path, json={"since": ago(days=1)})
    await admin.post(f"/integrations/jobs/{job['id']}/cancel")
    after = await admin.post(path, json={"since": ago(days=1)})

    assert [409, 409, 202] == [one.status_code for one in (refused, paused, after)]


async def test_a_disabled_destination_is_not_replayed_to(world: World) -> None:
    job = await started(world)
    admin = world.as_("acme_admin")
    base = f"/integrations/destinations/{job['destination_id']}"
    await admin.post(f"/integrations/jobs/{job['id']}/pause")
    await admin.post(f"{base}/disable")

    resumed = await admin.post(f"/integrations/jobs/{job['id']}/resume")
    await admin.post(f"/integrations/jobs/{job['id']}/cancel")
    started_anew = await admin.post(f"{base}/replay", json={"since": ago(days=1)})

    assert [409, 409] == [resumed.status_code, started_anew.status_code]
    assert "enable it" in started_anew.json()["detail"]


async def test_a_paused_replay_of_a_deleted_destination_can_be_cancelled(world: World) -> None:
    job = await started(world)
    admin = world.as_("acme_admin")
    await admin.post(f"/integrations/jobs/{job['id']}/pause")
    await admin.delete(f"/integrations/destinations/{job['destination_id']}")

    answer = await admin.post(f"/integrations/jobs/{job['id']}/cancel")

    assert (200, "cancelled") == (answer.status_code, answer.json()["state"])


async def test_replays_are_listed_newest_first_and_by_destination_and_state(world: World) -> None:
    first, second = await started(world), await started(world)
    await world.as_("acme_admin").post(f"/integrations/jobs/{first['id']}/cancel")
    neighbour = world.as_("globex_admin")

    async def ids(**query: Any) -> list[str]:
        answer = await world.as_("acme_operator").get("/integrations/jobs", params=query)
        return [item["id"] for item in answer.json()["items"]]

    page = await world.as_("acme_operator").get("/integrations/jobs", params={"limit": 1})
    assert [second["id"], first["id"]] == await ids()
    assert [first["id"]] == await ids(cursor=page.json()["next_cursor"])
    assert [first["id"]] == await ids(destination_id=first["destination_id"])
    assert [second["id"]] == await ids(state="running")
    assert [] == (await neighbour.get("/integrations/jobs")).json()["items"]
    assert 404 == (await neighbour.get(f"/integrations/jobs/{first['id']}")).status_code
