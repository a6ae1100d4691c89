"""Delivery health as people and API users read it."""

from tests.behaviours import answer
from tests.receiver import Receiver
from tests.world import World


async def health(world: World, who: str = "acme_admin", window: str = "1h") -> dict[str, object]:
    answered = await world.as_(who).get("/integrations/health", params={"window": window})
    assert answered.status_code == 200, answered.text
    return dict(answered.json())


async def test_health_counts_states_rate_and_times(world: World) -> None:
    async with Receiver() as good, Receiver(answer(500)) as bad:
        working = await world.make_destination(good.url, name="working")
        failing = await world.make_destination(bad.url, name="failing")
        async with world.worker(retry_schedule=(60,)):
            for _ in range(3):
                await world.publish()
            await good.wait_for(3)
            await bad.wait_for(3)
            await world.until(lambda: _settled(world, 6))

        found = await health(world)

    rows = {row["destination_id"]: row for row in found["items"]}  # type: ignore[attr-defined]
    one, other = rows[working["id"]]["health"], rows[failing["id"]]["health"]
    assert (3, 0, 1.0) == (
        one["states"]["delivered"],
        one["states"]["retrying"],
        one["success_rate"],
    )
    assert (0, 3, 0.0) == (
        other["states"]["delivered"],
        other["states"]["retrying"],
        other["success_rate"],
    )
    assert one["p50_ms"] is not None
    assert one["p50_ms"] <= one["p95_ms"]
    assert one["next_retry_at"] is None
    assert other["next_retry_at"] == other["oldest_due_at"]
    assert 3 == other["consecutive_failures"]
    total = found["total"]
    assert (3, 3, 0.5) == (
        total["states"]["delivered"],  # type: ignore[index]
        total["states"]["retrying"],  # type: ignore[index]
        total["success_rate"],  # type: ignore[index]
    )
    assert 60 == len(one["bars"])
    assert 3 == sum(bar["delivered"] for bar in one["bars"])


async def test_every_window_shows_the_same_attempts(world: World) -> None:
    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        async with world.worker():
            await world.publish()
            await world.until(lambda: _settled(world, 1))

    for window, bars in (("1h", 60), ("24h", 96), ("7d", 84)):
        total = (await health(world, window=window))["total"]
        assert (1, bars) == (total["states"]["delivered"], len(total["bars"]))  # type: ignore[index]


async def test_health_of_a_tenant_says_nothing_of_another(world: World) -> None:
    await world.make_destination("http://127.0.0.1:9/hook")
    await world.publish()

    found = await health(world, "globex_admin")

    assert [] == found["items"]
    assert 0 == found["total"]["states"]["pending"]  # type: ignore[index]


async def _settled(world: World, wanted: int) -> bool:
    rows = await world.deliveries(limit=200)
    return sum(row["attempt_count"] for row in rows) >= wanted
