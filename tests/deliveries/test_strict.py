"""Destinations with rules of their own: a rate that holds across workers, and strict order."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

from app.deliveries.pacing import HORIZON, book, booked_until
from tests.behaviours import answer, fail_first, in_turn
from tests.receiver import Receiver
from tests.world import World

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_sends_are_booked_one_gap_after_the_other_up_to_the_horizon() -> None:
    booking = book(None, NOW, rate=10, wanted=500)

    assert (20, 0.0, 0.1) == (booking.count, booking.first_s, booking.gap_s)
    assert NOW + HORIZON == booked_until(NOW, booking, booking.count)


def test_what_is_booked_already_is_not_booked_again() -> None:
    booking = book(NOW + timedelta(seconds=1.5), NOW, rate=10, wanted=500)

    assert (5, 1.5) == (booking.count, booking.first_s)
    assert 0 == book(NOW + HORIZON, NOW, rate=10, wanted=500).count


async def test_ten_per_second_stay_ten_with_three_workers(world: World) -> None:
    async with Receiver() as receiver:
        await world.make_destination(receiver.url, rate_limit_per_second=10)
        events = [{"type": "alert.created", "data": {"n": n}} for n in range(60)]
        async with contextlib.AsyncExitStack() as workers:
            for _ in range(3):
                await workers.enter_async_context(world.worker())
            await world.as_("acme_admin").post("/events/batch", json={"events": events})
            await receiver.wait_for(45, timeout_s=10)
        times = sorted(request.at for request in receiver.requests)

    for start in (0.0, 1.0, 2.0, 3.0):
        within = [t for t in times if start <= t - times[0] < start + 1.0]
        assert 9 <= len(within) <= 11, [round(t - times[0], 2) for t in times]


async def test_an_unlimited_destination_does_not_wait_for_a_limited_one(world: World) -> None:
    async with Receiver() as slow, Receiver() as quick:
        await world.make_destination(slow.url, name="slow", rate_limit_per_second=1)
        await world.make_destination(quick.url, name="quick")
        events = [{"type": "alert.created", "data": {"n": n}} for n in range(50)]
        await world.as_("acme_admin").post("/events/batch", json={"events": events})
        async with world.worker():
            await quick.wait_for(50, timeout_s=3)
            assert len(slow.requests) <= 4


async def test_an_ordered_destination_gets_events_one_after_the_other(world: World) -> None:
    async with Receiver(in_turn(answer(200), answer(500), answer(200))) as receiver:
        await world.make_destination(receiver.url, ordered=True)
        async with world.worker() as engine, world.worker():
            for number in range(6):
                await world.publish(data={"n": number})
            engine.wake()

            async def all_there() -> bool:
                return len(await world.deliveries(state="delivered")) == 6

            await world.until(all_there, within_s=15)

    numbers = [request.json["data"]["n"] for request in receiver.requests]
    assert [0, 1, 1, 2, 3, 4, 5] == numbers[:7] or numbers == sorted(numbers)
    assert numbers == sorted(numbers)


async def test_a_dead_letter_holds_the_line_until_it_is_skipped(world: World) -> None:
    async with Receiver(fail_first(4)) as receiver:
        await world.make_destination(receiver.url, ordered=True)
        async with world.worker() as engine:
            for number in range(3):
                await world.publish(data={"n": number})
            (dead,) = await world.until(lambda: world.deliveries(state="failed"), within_s=15)
            await asyncio.sleep(1.2)
            assert 2 == len(await world.deliveries(state="pending"))

            skipped = await world.as_("acme_admin").post(
                f"/integrations/deliveries/{dead['id']}/cancel"
            )
            assert 200 == skipped.status_code, skipped.text
            engine.wake()

            async def rest() -> bool:
                return len(await world.deliveries(state="delivered")) == 2

            await world.until(rest, within_s=15)


async def test_turning_order_on_puts_what_waits_in_line(world: World) -> None:
    async with Receiver() as receiver:
        destination = await world.make_destination(receiver.url)
        for number in range(3):
            await world.publish(data={"n": number})
        path = f"/integrations/destinations/{destination['id']}"
        assert (
            200 == (await world.as_("acme_admin").patch(path, json={"ordered": True})).status_code
        )
        async with world.worker():
            await receiver.wait_for(3, timeout_s=10)

    assert [0, 1, 2] == [request.json["data"]["n"] for request in receiver.requests]


async def test_an_overloaded_receiver_is_left_alone_as_a_whole(world: World) -> None:
    behaviour = in_turn(answer(429, headers=[("Retry-After", "2")]), answer(200))
    async with Receiver(behaviour) as receiver:
        await world.make_destination(receiver.url)
        async with world.worker() as engine:
            await world.publish()
            await receiver.wait_for(1)
            await world.until(lambda: world.deliveries(state="retrying"))
            await world.publish()
            engine.wake()
            await asyncio.sleep(1.0)
            assert 1 == len(receiver.requests)
            await receiver.wait_for(3, timeout_s=6)

    gap = receiver.requests[1].at - receiver.requests[0].at
    assert gap >= 1.9


async def test_a_receiver_can_ask_for_no_more_attempts_of_one_event(world: World) -> None:
    refuse = answer(500, headers=[("webhook-delivery", "abort-message")])
    async with Receiver(refuse) as receiver:
        await world.make_destination(receiver.url)
        async with world.worker():
            await world.publish()
            (dead,) = await world.until(lambda: world.deliveries(state="failed"))

    assert (1, "the receiver asked for no more attempts") == (dead["attempt_count"], dead["reason"])


async def test_a_receiver_can_ask_to_be_disabled(world: World) -> None:
    async with Receiver(answer(200, headers=[("webhook-delivery", "disable")])) as receiver:
        destination = await world.make_destination(receiver.url)
        async with world.worker():
            await world.publish()

            async def disabled() -> bool:
                path = f"/integrations/destinations/{destination['id']}"
                found = (await world.as_("acme_admin").get(path)).json()
                return bool(found["disabled_reason"] == "the receiver asked to be disabled")

            await world.until(disabled)
    (entry,) = (await world.as_("acme_auditor").get(
        "/audit", params={"action": "destination.disabled"}
    )).json()["items"]  # fmt: skip
    assert ("system", {"reason": "the receiver asked to be disabled"}) == (
        entry["actor"], entry["changes"],
    )  # fmt: skip
