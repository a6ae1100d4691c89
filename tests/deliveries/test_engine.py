"""The engine on both databases: what is due is sent, signed, retried, recorded; nothing twice."""

import asyncio
import base64
import contextlib
from collections import Counter

import pytest
from standardwebhooks import Webhook

from app.deliveries import engine
from app.deliveries.claiming import Found, found
from app.deliveries.models import Trigger
from app.deliveries.store import LANES_PER_CLAIM, Claim, ClaimRequest, Lease
from tests.behaviours import answer, fail_first, slow
from tests.receiver import Receiver
from tests.world import World

EVENTS = 20


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


@pytest.mark.parametrize(("workers", "most"), [(1, EVENTS), (2, 3 * EVENTS + 10)])
async def test_what_cannot_be_recorded_is_not_sent_again_and_again(
    world: World, monkeypatch: pytest.MonkeyPatch, workers: int, most: int
) -> None:
    """Claims and sweeps still work, as on a disk with room for the least of writes."""
    monkeypatch.setattr(engine, "LEASE_MARGIN_S", 0.2)
    monkeypatch.setattr(engine, "START_MARGIN_S", 0.0)
    monkeypatch.setattr(engine, "SWEEP_EVERY_S", 0.2)
    patience = {"delivery_timeout": 0.3}  # a lease of half a second
    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        async with contextlib.AsyncExitStack() as running:
            await rename(world, "attempt", "attempt_away")
            for _ in range(EVENTS):
                await world.publish()
            for _ in range(workers):
                await running.enter_async_context(world.worker(**patience))
            await asyncio.sleep(3.0)  # six leases
            await rename(world, "attempt_away", "attempt")
            await world.until(lambda: _all_delivered(world, EVENTS))
        arrived = Counter(request.header("webhook-id") for request in receiver.requests)

    # Another worker cannot know better than to take over; then it is stuck too, and only probes
    # until the first of the two is back and takes over in turn.
    assert EVENTS == len(arrived)
    assert EVENTS <= arrived.total() <= most


async def test_what_waits_too_long_behind_a_slow_receiver_goes_back_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LEASE_MARGIN_S", engine.START_MARGIN_S + 0.3)
    given_back: list[int] = []
    give_back = engine.Engine._give_back

    async def counted(one: engine.Engine, leases: list[Lease]) -> None:
        given_back.append(len(leases))
        await give_back(one, leases)

    monkeypatch.setattr(engine.Engine, "_give_back", counted)
    async with Receiver(slow(0.5)) as receiver:
        await world.make_destination(receiver.url)
        for _ in range(7):
            await world.publish()
        async with world.worker(max_in_flight_per_destination=2, delivery_timeout=5.0):
            await world.until(lambda: _all_delivered(world, 7))
        arrived = Counter(request.header("webhook-id") for request in receiver.requests)

    assert max(given_back) > 1  # in one statement, not one by one
    assert (7, 7) == (len(arrived), arrived.total())


async def test_a_secret_under_a_lost_key_fails_in_the_open_and_is_delivered_when_it_is_back(
    world: World,
) -> None:
    lost = world.settings.secret_keys
    other = (base64.b64encode(b"x" * 32).decode(),)
    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        await world.publish()
        async with world.worker(secret_keys=other, retry_schedule=(0, 60)):
            (delivery,) = await world.until(lambda: world.deliveries(state="retrying"))
            await world.until(lambda: _tried(world, delivery["id"], 2))
        waiting = await world.delivery(delivery["id"])
        sent_unsigned = len(receiver.requests)
        async with world.worker(secret_keys=lost):
            await world.as_("acme_admin").post(f"/integrations/deliveries/{delivery['id']}/retry")
            await world.until(lambda: world.deliveries(state="delivered"))

    assert 0 == sent_unsigned
    assert "its secret or headers cannot be opened" in waiting["reason"]
    assert waiting["next_attempt_at"] is not None
    assert ["destination_not_allowed"] * 2 == [one["outcome"] for one in waiting["attempts"]]
    assert 1 == len(receiver.requests)


async def test_a_secret_under_a_key_that_stays_lost_ends_as_a_dead_letter_that_says_so(
    world: World,
) -> None:
    other = (base64.b64encode(b"x" * 32).decode(),)
    await world.make_destination("http://127.0.0.1:9/hook")
    await world.publish()
    async with world.worker(secret_keys=other):
        (dead,) = await world.until(lambda: world.deliveries(state="failed"))

    assert 4 == dead["attempt_count"]
    assert "its secret or headers cannot be opened" in (await world.delivery(dead["id"]))["reason"]


async def rename(world: World, table: str, name: str) -> None:
    async with world.database.begin() as c:
        await c.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {name}")


async def _all_delivered(world: World, count: int) -> bool:
    return count == len(await world.deliveries(state="delivered"))


async def _tried(world: World, delivery_id: str, times: int) -> bool:
    return times == len((await world.delivery(delivery_id))["attempts"])


async def _count(receiver: Receiver, wanted: int) -> bool:
    return len(receiver.requests) >= wanted


@pytest.mark.parametrize(
    ("after", "lanes", "each", "says"),
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
    after: str, lanes: int, each: int, says: Found
) -> None:
    request = ClaimRequest(limit=800, per_lane=64, busy={}, token="t", lease_s=30, after=after)
    leases = [
        Lease("acme", f"{lane}.{n}", f"dst_{lane}", "evt", "a", 0, 0, Trigger.SCHEDULED, "t")
        for lane in range(lanes)
        for n in range(each)
    ]

    claim = Claim(leases=leases, bodies={"evt": b"{}"}, rules_due=False, now_s=0.0)
    assert says is found(request, claim)


def test_a_claim_that_was_cut_by_its_size_leaves_more() -> None:
    request = ClaimRequest(limit=800, per_lane=64, busy={}, token="t", lease_s=30, max_bytes=4)
    leases = [Lease("acme", n, "dst", "evt", "a", 0, 0, Trigger.SCHEDULED, "t") for n in "ab"]

    for body, says in ((b"{}", Found.MORE), (b"1", Found.ALL)):
        claim = Claim(leases=leases, bodies={"evt": body}, rules_due=False, now_s=0.0)
        assert says is found(request, claim)
