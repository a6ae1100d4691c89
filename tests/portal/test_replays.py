"""Replays and revoked secrets on the pages, by an admin without JavaScript."""

import re
from datetime import timedelta
from typing import Any

import pytest

from app.database import utcnow
from app.deliveries import replaying
from app.deliveries.store import store_for
from tests.portal.conftest import SignedIn
from tests.portal.visitor import Visitor, text_of
from tests.world import World

URL = "http://127.0.0.1:9/hook"


async def _job(world: World) -> dict[str, Any]:
    (job,) = (await world.as_("acme_admin").get("/integrations/jobs")).json()["items"]
    return dict(job)


async def _work(world: World) -> None:
    job = await _job(world)
    await replaying.work(
        world.database, store_for("sqlite"), "acme", job["id"], for_s=9, on_step=lambda _: None
    )  # fmt: skip


async def test_a_replay_is_started_followed_and_finished(admin: Visitor, world: World):
    made = await world.make_destination(URL)
    path = f"/integrations/{made['id']}"
    await admin.post(f"{path}/disable")
    await world.publish()
    await admin.post(f"{path}/enable")

    answered = await admin.post(f"{path}/replay", {"span": "3600", "what": "missed"})
    started = await admin.get(path)
    await _work(world)
    finished = await admin.get(path)

    assert (303, path) == (answered.status_code, answered.headers["location"])
    assert "Replay started." in text_of(started)
    assert '<progress value="0.0" max="100"' in started.text
    assert "running" in text_of(started)
    assert '<progress value="100.0" max="100"' in finished.text
    assert "100 %: 1 of 1 matching events sent again" in text_of(finished)
    assert "Started the replay to" in text_of(await admin.get("/audit"))


async def test_the_form_says_what_is_replayed(admin: Visitor, world: World):
    path = f"/integrations/{(await world.make_destination(URL))['id']}"
    since = utcnow() - timedelta(days=3)
    fields = {
        "from": since.strftime("%Y-%m-%dT%H:%M"),
        "until": (since + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S"),
        "what": "delivered",
        "event_types": "alert.*, incident.opened",
    }

    await admin.post(f"{path}/replay", fields)

    job = await _job(world)
    assert job["since"] == since.strftime("%Y-%m-%dT%H:%M:00Z")
    assert (["delivered"], ["alert.*", "incident.opened"]) == (job["states"], job["event_types"])
    assert job["until"] == f"{fields['until']}Z"


@pytest.mark.parametrize(
    "fields", [{"span": "1"}, {"what": "x"}, {"from": "never"}, {"from": "2999-01-01T00:00"}]
)
async def test_a_wrong_range_is_explained(admin: Visitor, world: World, fields: dict[str, str]):
    path = f"/integrations/{(await world.make_destination(URL))['id']}"

    page = await admin.post(f"{path}/replay", fields)
    swap = await admin.post(f"{path}/replay", fields, headers={"HX-Request": "true"})

    assert (400, 400, "none") == (page.status_code, swap.status_code, swap.headers["hx-reswap"])
    assert "None yet." in text_of(await admin.get(path))


async def test_a_replay_is_paused_resumed_and_cancelled(admin: Visitor, world: World):
    path = f"/integrations/{(await world.make_destination(URL))['id']}"
    await admin.post(f"{path}/replay", {})
    job = await _job(world)
    steps = {"pause": "Replay paused.", "resume": "Replay resumed.", "cancel": "Replay cancelled."}

    for verb, note in steps.items():
        assert f"/replays/{job['id']}/{verb}" in (await admin.get(path)).text
        answered = await admin.post(f"{path}/replays/{job['id']}/{verb}")
        assert path == answered.headers["location"]
        assert note in text_of(await admin.get(path))

    assert 404 == (await admin.post(f"{path}/replays/{job['id']}/explode")).status_code
    assert "cancelled" == (await _job(world))["state"]


@pytest.mark.parametrize("who", ["operator", "auditor"])
async def test_who_only_watches_sees_progress_and_no_form(
    world: World, signed_in: SignedIn, admin: Visitor, who: str
):
    path = f"/integrations/{(await world.make_destination(URL))['id']}"
    await admin.post(f"{path}/replay", {})
    await world.as_("acme_admin").post(f"/integrations/destinations/{path[14:]}/rotate-secret")

    async with signed_in(who) as visitor:
        page = await visitor.get(path)

    assert "<progress" in page.text
    for word in ("Replay…", "Pause", "Revoke", "Retry selected"):
        assert word not in page.text


async def test_a_secret_is_revoked_unless_it_is_the_last(admin: Visitor, world: World):
    made = await world.make_destination(URL)
    path = f"/integrations/{made['id']}"
    alone = await admin.get(path)
    await admin.post(f"{path}/rotate-secret", {"overlap_seconds": "3600"})
    both = await admin.get(path)
    ids = re.findall(r'/secrets/(sec_\w+)/revoke"', both.text)

    answered = await admin.post(f"{path}/secrets/{ids[-1]}/revoke")
    page = await admin.get(path)
    refused = await admin.post(f"{path}/secrets/{ids[0]}/revoke")

    assert "Revoke" not in alone.text
    assert 2 == len(set(ids))
    assert (303, 409) == (answered.status_code, refused.status_code)
    assert "Secret revoked." in text_of(page)
    assert 1 == page.text.count("sha256:")
