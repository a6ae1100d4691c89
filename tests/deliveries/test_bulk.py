"""Retrying many at once, on both databases: a list or a filter, counted, and written down once."""

import asyncio
from typing import Any

from tests.behaviours import answer
from tests.receiver import Receiver
from tests.world import World

PATH = "/integrations/deliveries/retry"


async def retry(world: World, **body: Any) -> dict[str, Any]:
    answered = await world.as_("acme_admin").post(PATH, json=body)
    assert answered.status_code == 202, answered.text
    return dict(answered.json())


async def dead_letters(world: World, receiver: Receiver, **counts: int) -> list[dict[str, Any]]:
    """Publish so many events of each type to a receiver that fails; return the dead letters."""
    receiver.behaviour = answer(500)
    async with world.worker(retry_schedule=()):
        for event_type, count in counts.items():
            for _ in range(count):
                await world.publish(event_type=event_type.replace("_", "."))

        async def all_failed() -> list[dict[str, Any]]:
            rows = await world.deliveries(state="failed")
            return rows if len(rows) == sum(counts.values()) else []

        found: list[dict[str, Any]] = await world.until(all_failed)
    receiver.behaviour = answer(200)
    receiver.requests.clear()
    return found


async def test_a_list_of_dead_letters_is_delivered(world: World) -> None:
    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        dead = await dead_letters(world, receiver, alert_created=3)
        chosen = [row["id"] for row in dead[:2]]

        done = await retry(world, ids=[*chosen, chosen[0]])
        async with world.worker():
            await receiver.wait_for(2)
            await world.until(lambda: _count(world, "delivered", 2))

    assert {"retried": 2, "skipped": {}, "more": False} == done
    assert [dead[2]["id"]] == [row["id"] for row in await world.deliveries(state="failed")]
    attempts = (await world.delivery(chosen[0]))["attempts"]
    assert ["scheduled", "manual"] == [attempt["trigger"] for attempt in attempts]


async def _count(world: World, state: str, count: int) -> bool:
    return len(await world.deliveries(state=state)) == count


async def test_a_filter_finds_what_it_names_and_nothing_else(world: World) -> None:
    async with Receiver() as receiver:
        made = await world.make_destination(receiver.url)
        await dead_letters(world, receiver, alert_created=2, incident_opened=2)
        other = await world.make_destination("http://127.0.0.1:9/other", event_types=["never.sent"])
        (newest, *_) = await world.deliveries(state="failed")

        nothing = [
            await retry(world, **fields)
            for fields in (
                {"state": "cancelled"},
                {"destination_id": other["id"]},
                {"outcome": "timeout"},
                {"before": made["created_at"]},
                {"after": "2100-01-01T00:00:00Z"},
                {"event_type": "nothing.such"},
            )
        ]
        some = await retry(
            world, state="failed", event_type="alert.created", outcome="http_error",
            destination_id=made["id"], after=made["created_at"],
        )  # fmt: skip
        rest = await retry(world, state="failed")

    assert [0] * 6 == [one["retried"] for one in nothing]
    assert (2, 2) == (some["retried"], rest["retried"])
    assert {"retrying"} == {row["state"] for row in await world.deliveries()}
    assert newest["id"] in {row["id"] for row in await world.deliveries(state="retrying")}


async def test_what_cannot_be_retried_is_counted_by_its_reason(world: World) -> None:
    async with Receiver() as receiver:
        made = await world.make_destination(receiver.url)
        async with world.worker():
            await world.publish()
            await world.until(lambda: _count(world, "delivered", 1))
        await world.publish()
        await world.publish(who="globex_admin")
        gone = await world.make_destination("http://127.0.0.1:9/gone", event_types=["a.b"])
        await world.publish(event_type="a.b")
        path = f"/integrations/destinations/{gone['id']}"
        await world.as_("acme_admin").delete(path)
        await world.make_destination(receiver.url, who="globex_admin")
        await world.publish(who="globex_admin")
        foreign = await world.deliveries(who="globex_admin")
        ours = await world.deliveries()

        done = await retry(
            world, ids=[*(row["id"] for row in ours), foreign[0]["id"], "dlv_" + "0" * 32, "x"]
        )

    assert 1 == len(foreign)
    assert {"delivered": 1, "pending": 2, "destination_deleted": 1, "not_found": 3} == done[
        "skipped"
    ]
    assert 0 == done["retried"]
    assert made["id"] in {row["destination_id"] for row in ours}
    assert "pending" == (await world.deliveries(who="globex_admin"))[0]["state"]


async def test_it_is_written_down_once_and_only_when_something_changed(world: World) -> None:
    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        await dead_letters(world, receiver, alert_created=3)

        await retry(world, state="failed")
        await retry(world, state="failed")

    trail = await world.as_("acme_auditor").get("/audit", params={"action": "deliveries.retried"})
    (entry,) = trail.json()["items"]
    assert {"retried": 3, "skipped": 0, "state": "failed"} == entry["changes"]


async def test_two_calls_at_once_neither_deadlock_nor_double(world: World) -> None:
    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        dead = await dead_letters(world, receiver, alert_created=15)
        ids = [row["id"] for row in dead]

        answers = await asyncio.gather(
            retry(world, ids=ids), retry(world, ids=ids[::-1]), retry(world, state="failed")
        )
        async with world.worker():
            await receiver.wait_for(15)
            await asyncio.sleep(0.2)

    assert sum(one["retried"] for one in answers) >= 15
    assert 15 == len(receiver.requests)


async def test_every_wrong_field_of_a_selection_is_named(world: World) -> None:
    admin = world.as_("acme_admin")
    for body, fields in (
        ({}, {"ids"}),
        ({"ids": []}, {"ids"}),
        ({"ids": ["x"] * 1_001}, {"ids"}),
        ({"ids": [1]}, {"ids"}),
        ({"ids": None}, {"ids"}),
        ({"ids": ["x"], "state": "failed"}, {"state"}),
        ({"state": "delivered", "outcome": "bad", "colour": 1}, {"state", "outcome", "colour"}),
        ({"before": "2026-01-01", "after": 1, "event_type": ""}, {"before", "after", "event_type"}),
        ({"destination_id": "\0"}, {"destination_id"}),
    ):
        answered = await admin.post(PATH, json=body)

        assert 400 == answered.status_code, body
        assert fields == {error["field"] for error in answered.json()["errors"]}, body
