"""Disabling a destination: nothing more is owed to it, and everyone can see why."""

from tests.world import World

URL = "https://93.184.216.34/hook"


async def test_what_waits_for_a_disabled_destination_becomes_cancelled_visibly(
    world: World,
) -> None:
    made = await world.make_destination(URL)
    other = await world.make_destination(URL, name="other")
    await world.publish()
    admin = world.as_("acme_admin")

    disabled = (await admin.post(f"/integrations/destinations/{made['id']}/disable")).json()

    assert ("disabled", "disabled by Demo tenant admin") == (
        disabled["status"], disabled["disabled_reason"],
    )  # fmt: skip
    (cancelled,) = await world.deliveries(destination_id=made["id"])
    assert ("cancelled", "the destination was disabled", None) == (
        cancelled["state"], cancelled["reason"], cancelled["next_attempt_at"],
    )  # fmt: skip
    (untouched,) = await world.deliveries(destination_id=other["id"])
    assert "pending" == untouched["state"]


async def test_a_disabled_destination_is_owed_nothing_new_until_it_is_enabled(
    world: World,
) -> None:
    made = await world.make_destination(URL)
    admin = world.as_("acme_admin")
    base = f"/integrations/destinations/{made['id']}"

    await admin.post(f"{base}/disable")
    while_disabled = await world.publish()
    enabled = (await admin.post(f"{base}/enable")).json()
    after = await world.publish()

    assert (0, 1) == (while_disabled["deliveries"], after["deliveries"])
    assert ("active", None) == (enabled["status"], enabled["disabled_reason"])


async def test_saying_it_twice_changes_nothing(world: World) -> None:
    made = await world.make_destination(URL)
    admin = world.as_("acme_admin")
    base = f"/integrations/destinations/{made['id']}"

    for verb in ("disable", "enable"):
        first, second = await admin.post(f"{base}/{verb}"), await admin.post(f"{base}/{verb}")
        assert (200, 200) == (first.status_code, second.status_code)
        assert first.json() == second.json()

    actions = [e["action"] for e in (await admin.get("/audit")).json()["items"]]
    assert 1 == actions.count("destination.disabled") == actions.count("destination.enabled")


async def test_deleting_cancels_what_waits_and_keeps_the_history(world: World) -> None:
    made = await world.make_destination(URL, name="Short-lived")
    await world.publish()

    await world.as_("acme_admin").delete(f"/integrations/destinations/{made['id']}")

    (left,) = await world.deliveries()
    assert ("cancelled", "the destination was deleted", "Short-lived") == (
        left["state"], left["reason"], left["destination_name"],
    )  # fmt: skip
    assert 0 == (await world.publish())["deliveries"]
