"""Notices about destinations, and the end of those that only ever fail."""

from datetime import timedelta

from sqlalchemy import text

from app.database import utcnow
from app.database.base import to_millis
from app.deliveries import health, watch
from app.deliveries.history import Window
from app.deliveries.store import BREAKER_THRESHOLD
from tests.world import World


async def failing_for(world: World, destination_id: str, days: float) -> None:
    since: object = utcnow() - timedelta(days=days)
    if world.database.dialect == "sqlite":
        since = to_millis(since)  # type: ignore[arg-type]
    async with world.database.begin() as c:
        await c.execute(
            text("UPDATE lane SET failing_since = :s, consecutive_failures = 9"
                 " WHERE destination_id = :d"),
            {"s": since, "d": destination_id},
        )  # fmt: skip


async def recovered(world: World, destination_id: str) -> None:
    async with world.database.begin() as c:
        await c.execute(
            text("UPDATE lane SET failing_since = NULL, consecutive_failures = 0,"
                 " open_until = NULL WHERE destination_id = :d"),
            {"d": destination_id},
        )  # fmt: skip


async def look(world: World) -> list[str]:
    """Look once; return the types of the notices that were written."""
    before = {row["id"] for row in await events(world)}
    await watch.look(world.database, world.services.store)
    return [row["type"] for row in await events(world) if row["id"] not in before]


async def events(world: World) -> list[dict[str, str]]:
    answered = await world.as_("acme_admin").get("/events", params={"limit": 200})
    return list(answered.json()["items"])


async def test_a_healthy_destination_is_no_news(world: World) -> None:
    await world.make_destination("http://127.0.0.1:9/hook")

    assert [] == await look(world)


async def test_failing_is_told_after_one_day_and_after_three_and_recovery_once(
    world: World,
) -> None:
    one = (await world.make_destination("http://127.0.0.1:9/hook"))["id"]

    await failing_for(world, one, 0.5)
    assert [] == await look(world)
    await failing_for(world, one, 1.1)
    assert ["destination.failing"] == await look(world)
    assert [] == await look(world)
    await failing_for(world, one, 3.1)
    assert ["destination.failing"] == await look(world)
    await recovered(world, one)
    assert ["destination.recovered"] == await look(world)
    assert [] == await look(world)


async def test_five_days_of_nothing_but_failure_disable_it_in_the_systems_name(
    world: World,
) -> None:
    one = (await world.make_destination("http://127.0.0.1:9/hook"))["id"]
    await failing_for(world, one, 5.1)

    assert ["destination.disabled"] == await look(world)

    shown = (await world.as_("acme_admin").get(f"/integrations/destinations/{one}")).json()
    assert ("disabled", "nothing but failure for 5 days") == (
        shown["status"],
        shown["disabled_reason"],
    )
    (entry,) = (await world.as_("acme_auditor").get(
        "/audit", params={"action": "destination.disabled"}
    )).json()["items"]  # fmt: skip
    assert "system" == entry["actor"]


async def test_an_open_breaker_is_told_as_degraded(world: World) -> None:
    one = (await world.make_destination("http://127.0.0.1:9/hook"))["id"]
    until: object = utcnow() + timedelta(minutes=1)
    if world.database.dialect == "sqlite":
        until = to_millis(until)  # type: ignore[arg-type]
    async with world.database.begin() as c:
        await c.execute(
            text("UPDATE lane SET open_until = :u, consecutive_failures = :n"
                 " WHERE destination_id = :d"),
            {"u": until, "n": BREAKER_THRESHOLD, "d": one},
        )  # fmt: skip

    assert ["destination.degraded"] == await look(world)


async def test_notices_go_to_those_who_subscribed_by_name_and_never_to_the_failing_one(
    world: World,
) -> None:
    failing = await world.make_destination(
        "http://127.0.0.1:9/hook", name="failing", event_types=["destination.*"]
    )
    await world.make_destination("http://127.0.0.1:9/all", name="takes everything")
    watcher = await world.make_destination(
        "http://127.0.0.1:9/watch", name="watcher", event_types=["destination.failing"]
    )
    await failing_for(world, failing["id"], 2)

    assert ["destination.failing"] == await look(world)

    (row,) = await world.deliveries(event_type="destination.failing")
    assert watcher["id"] == row["destination_id"]


async def test_what_needs_a_person_is_told_and_what_a_person_did_is_not(world: World) -> None:
    made = {
        name: (await world.make_destination("http://127.0.0.1:9/hook", name=name))["id"]
        for name in ("failing", "well", "hopeless", "left")
    }
    theirs = await world.make_destination("http://127.0.0.1:9/hook", who="globex_admin")
    await failing_for(world, made["failing"], 2)
    await failing_for(world, made["well"], 0.5)
    await failing_for(world, made["hopeless"], 6)
    await failing_for(world, theirs["id"], 2)
    await look(world)
    await world.as_("acme_admin").post(f"/integrations/destinations/{made['left']}/disable")

    async with world.database.reading("acme") as session:
        picture = await health.picture_of(session, "acme", Window.DAY)
    found = watch.troubles(picture.lanes)

    assert [("failing", "failing"), ("hopeless", "disabled")] == [
        (one.name, one.word) for one in found
    ]
    assert "nothing but failure for 5 days" == found[1].reason
    assert found[0].ends is not None
    assert timedelta(days=2.9) < found[0].ends - utcnow() <= timedelta(days=3)
