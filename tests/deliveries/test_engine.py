"""The engine on both databases: what is due is sent, signed, retried, recorded; nothing twice."""

import asyncio

import pytest
from standardwebhooks import Webhook

from app.deliveries.engine import Found, _found
from app.deliveries.models import Trigger
from app.deliveries.store import LANES_PER_CLAIM, ClaimRequest, Lease
from tests.behaviours import answer, fail_first
from tests.receiver import Receiver
from tests.world import World


async def test_a_published_event_is_delivered_signed_and_recorded(world: World) -> None:
    async with Receiver() as receiver:
        destination = await world.make_destination(receiver.url)
        async with world.worker():
            event = await world.publish(data={"severity": "high", "ü": "\u2028"})
            (delivery,) = await world.until(lambda: world.deliveries(state="delivered"))

        (request,) = receiver.requests

    headers = {name.lower(): value for name, value in request.headers}
    verified = Webhook(destination["signing_secret"]).verify(request.body, headers)
    assert event["id"] == verified["id"] == headers["x-oneprotect-id"] == headers["webhook-id"]
    assert headers["x-oneprotect-signature"] == headers["webhook-signature"]
    assert headers["x-oneprotect-timestamp"] == headers["webhook-timestamp"]
    assert ("alert.created", "1") == (
        headers["x-oneprotect-event"],
        headers["x-oneprotect-attempt"],
    )
    detail = await world.delivery(delivery["id"])
    (attempt,) = detail["attempts"]
    assert ("delivered", 200, 1) == (
        attempt["outcome"],
        attempt["response_status"],
        attempt["number"],
    )


async def test_a_receiver_that_is_down_three_times_gets_it_on_the_fourth_attempt(
    world: World,
) -> None:
    async with Receiver(fail_first(3)) as receiver:
        destination = await world.make_destination(receiver.url)
        async with world.worker():
            await world.publish()
            (delivery,) = await world.until(lambda: world.deliveries(state="delivered"))
        requests = list(receiver.requests)

    detail = await world.delivery(delivery["id"])
    assert [1, 2, 3, 4] == [attempt["number"] for attempt in detail["attempts"]]
    assert 4 == detail["attempt_count"] == len(requests)
    ids = {request.header("webhook-id") for request in requests}
    assert 1 == len(ids)
    last = {name.lower(): value for name, value in requests[-1].headers}
    Webhook(destination["signing_secret"]).verify(requests[-1].body, last)


async def test_when_the_schedule_is_exhausted_the_delivery_is_a_dead_letter(world: World) -> None:
    async with Receiver(answer(500)) as receiver:
        await world.make_destination(receiver.url)
        async with world.worker():
            await world.publish()
            (delivery,) = await world.until(lambda: world.deliveries(state="failed"))

    detail = await world.delivery(delivery["id"])
    assert 4 == len(detail["attempts"])
    assert "every scheduled attempt failed" == detail["reason"]
    assert detail["next_attempt_at"] is None


async def test_many_events_to_many_destinations_arrive_once_each(world: World) -> None:
    async with Receiver() as receiver:
        for number in range(7):
            await world.make_destination(f"{receiver.url}/{number}", name=f"d{number}")
        events = {"events": [{"type": "alert.created", "data": {"n": n}} for n in range(100)]}
        async with world.worker():
            answer = await world.as_("platform").post(
                "/events/batch",
                json={"events": [e | {"tenant": "acme"} for e in events["events"]]},
            )
            assert answer.status_code == 202, answer.text
            await world.until(lambda: _count(receiver, 700))
            await asyncio.sleep(0.3)
        got = [(request.path, request.header("webhook-id")) for request in receiver.requests]

    assert 700 == len(got) == len(set(got))


async def _count(receiver: Receiver, wanted: int) -> bool:
    return len(receiver.requests) >= wanted


@pytest.mark.parametrize(
    ("after", "lanes", "each", "found"),
    [
        ("", 3, 2, Found.ALL),
        ("", 3, 64, Found.CAPPED),
        ("", 3, 60, Found.ALL),
        ("", LANES_PER_CLAIM, 1, Found.MORE),
        ("dst_7", 3, 2, Found.MORE),  # the lanes before it were not looked at
        ("dst_7", 0, 0, Found.ALL),
    ],
)
def test_a_claim_says_whether_another_would_find_more(
    after: str, lanes: int, each: int, found: Found
) -> None:
    request = ClaimRequest(limit=800, per_lane=64, busy={}, token="t", lease_s=30, after=after)
    leases = [
        Lease("acme", f"{lane}.{n}", f"dst_{lane}", "evt", "a", 0, 0, Trigger.SCHEDULED, "t")
        for lane in range(lanes)
        for n in range(each)
    ]

    assert found is _found(request, leases)
