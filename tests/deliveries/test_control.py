"""Test, retry, cancel; and what happens to deliveries whose destination goes away."""

from tests.behaviours import answer, fail_first, never
from tests.receiver import Authority, Receiver
from tests.world import World


async def test_a_test_event_goes_to_its_destination_alone(world: World) -> None:
    async with Receiver() as receiver:
        wanted = await world.make_destination(f"{receiver.url}/a")
        await world.make_destination(f"{receiver.url}/b", name="other")
        async with world.worker():
            sent = await world.as_("acme_admin").post(
                f"/integrations/destinations/{wanted['id']}/test"
            )
            assert 202 == sent.status_code, sent.text
            await world.until(lambda: world.deliveries(state="delivered"))

    detail = await world.delivery(sent.json()["delivery_id"])
    assert "test" == detail["attempts"][0]["trigger"]
    assert ["/hook/a"] == [request.path for request in receiver.requests]


async def test_a_dead_letter_retried_by_hand_is_delivered(world: World) -> None:
    async with Receiver(fail_first(4)) as receiver:
        await world.make_destination(receiver.url)
        async with world.worker() as engine:
            await world.publish()
            (dead,) = await world.until(lambda: world.deliveries(state="failed"))
            again = await world.as_("acme_admin").post(
                f"/integrations/deliveries/{dead['id']}/retry"
            )
            assert 202 == again.status_code, again.text
            engine.wake()
            await world.until(lambda: world.deliveries(state="delivered"))

    attempts = (await world.delivery(dead["id"]))["attempts"]
    assert [1, 2, 3, 4, 5] == [attempt["number"] for attempt in attempts]
    assert ["scheduled"] * 4 + ["manual"] == [attempt["trigger"] for attempt in attempts]


async def test_a_dead_letter_that_fails_again_by_hand_stays_one(world: World) -> None:
    async with Receiver(answer(500)) as receiver:
        await world.make_destination(receiver.url)
        async with world.worker() as engine:
            await world.publish()
            (dead,) = await world.until(lambda: world.deliveries(state="failed"))
            await world.as_("acme_admin").post(f"/integrations/deliveries/{dead['id']}/retry")
            engine.wake()
            await receiver.wait_for(5)
            await world.until(lambda: world.deliveries(state="failed"))

    assert 5 == (await world.delivery(dead["id"]))["attempt_count"]


async def test_a_delivered_delivery_is_final(world: World) -> None:
    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        async with world.worker():
            await world.publish()
            (row,) = await world.until(lambda: world.deliveries(state="delivered"))

    for act in ("retry", "cancel"):
        answered = await world.as_("acme_admin").post(f"/integrations/deliveries/{row['id']}/{act}")
        assert 409 == answered.status_code
        assert "delivered" in answered.json()["detail"]


async def test_a_cancelled_delivery_is_not_sent(world: World) -> None:
    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        await world.publish()
        (row,) = await world.deliveries(state="pending")
        answered = await world.as_("acme_admin").post(
            f"/integrations/deliveries/{row['id']}/cancel"
        )
        assert "cancelled" == answered.json()["state"]
        async with world.worker():
            await world.publish()
            await world.until(lambda: world.deliveries(state="delivered"))

    assert 1 == len(receiver.requests)


async def test_deleting_a_destination_cancels_what_waits_for_it_and_keeps_its_history(
    world: World,
) -> None:
    destination = await world.make_destination("http://127.0.0.1:9/hook")
    await world.publish()

    path = f"/integrations/destinations/{destination['id']}"
    assert 204 == (await world.as_("acme_admin").delete(path)).status_code

    assert 404 == (await world.as_("acme_admin").get(path)).status_code
    (row,) = await world.deliveries()
    assert ("cancelled", "Tenant SOC webhook") == (row["state"], row["destination_name"])


async def test_410_gone_fails_the_delivery_and_disables_the_destination(world: World) -> None:
    async with Receiver(answer(410)) as receiver:
        destination = await world.make_destination(receiver.url)
        async with world.worker():
            await world.publish()
            (row,) = await world.until(lambda: world.deliveries(state="failed"))

            async def disabled() -> bool:
                path = f"/integrations/destinations/{destination['id']}"
                found = await world.as_("acme_admin").get(path)
                return bool(found.json()["status"] == "disabled")

            await world.until(disabled)

    assert "gone" == row["last_outcome"]
    (entry,) = (await world.as_("acme_auditor").get(
        "/audit", params={"action": "destination.disabled"}
    )).json()["items"]  # fmt: skip
    assert ("system", {"reason": "410 Gone"}) == (entry["actor"], entry["changes"])


async def test_a_certificate_for_another_name_ends_as_failed_after_the_schedule(
    world: World,
) -> None:
    async with Receiver(tls=Authority().server("elsewhere.example")) as receiver:
        await world.make_destination(receiver.url)
        async with world.worker():
            await world.publish()
            (row,) = await world.until(lambda: world.deliveries(state="failed"))

    assert ("tls_error", 4, []) == (row["last_outcome"], row["attempt_count"], receiver.requests)


async def test_an_address_that_is_no_longer_allowed_fails_without_a_packet(world: World) -> None:
    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        async with world.worker(egress_allow=""):
            await world.publish()
            (row,) = await world.until(lambda: world.deliveries(state="failed"))

    assert ("destination_not_allowed", 0) == (row["last_outcome"], receiver.connections)


async def test_a_receiver_that_never_answers_ends_as_timeout_within_the_deadline(
    world: World,
) -> None:
    async with Receiver(never) as receiver:
        await world.make_destination(receiver.url)
        async with world.worker(delivery_timeout=0.3, retry_schedule=()):
            await world.publish()
            (row,) = await world.until(lambda: world.deliveries(state="failed"))

    assert "timeout" == row["last_outcome"]
    assert 300 <= row["last_duration_ms"] < 1300
