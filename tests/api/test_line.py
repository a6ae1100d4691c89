"""The line of an ordered destination: what holds it is told, whoever may see deliveries."""

from typing import Any

from tests.behaviours import fail_first
from tests.receiver import Receiver
from tests.world import World


async def line(world: World, destination: dict[str, Any], who: str = "acme_admin") -> Any:
    answer = await world.as_(who).get(f"/integrations/destinations/{destination['id']}/line")
    assert 200 == answer.status_code, answer.text
    return answer.json()


async def test_a_failing_head_is_named_with_what_waits_and_since_when(world: World) -> None:
    async with Receiver(fail_first(4)) as receiver:
        made = await world.make_destination(receiver.url, ordered=True)
        async with world.worker():
            for number in range(4):
                await world.publish(data={"n": number})
            (dead,) = await world.until(lambda: world.deliveries(state="failed"))
            held = await line(world, made, "acme_auditor")

    detail = await world.delivery(dead["id"])
    assert (True, 3, dead["id"], "failed") == (
        held["ordered"], held["waiting"], held["holder"]["id"], held["holder"]["state"],
    )  # fmt: skip
    assert detail["attempts"][0]["started_at"] == held["held_since"]


async def test_a_head_that_is_retried_holds_it_too(world: World) -> None:
    async with Receiver(fail_first(9)) as receiver:
        made = await world.make_destination(receiver.url, ordered=True)
        async with world.worker(retry_schedule=(60,)):
            await world.publish()
            await world.publish()
            (head,) = await world.until(lambda: world.deliveries(state="retrying"))
            held = await line(world, made)

    assert (head["id"], "retrying", 1) == (
        held["holder"]["id"], held["holder"]["state"], held["waiting"],
    )  # fmt: skip


async def test_what_was_never_tried_holds_nothing(world: World) -> None:
    made = await world.make_destination("https://93.184.216.34/hook", ordered=True)
    assert (True, 0, None) == _told(await line(world, made))
    await world.publish()
    await world.publish()

    assert (True, 1, None) == _told(await line(world, made))


async def test_without_order_there_is_no_line(world: World) -> None:
    made = await world.make_destination("https://93.184.216.34/hook")
    await world.publish()

    assert (False, 0, None) == _told(await line(world, made))


def _told(found: dict[str, Any]) -> tuple[bool, int, Any]:
    return found["ordered"], found["waiting"], found["holder"]
