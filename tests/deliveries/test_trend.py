"""The window before the present one, and how long what waits will take."""

from datetime import timedelta

import pytest

from app.database import utcnow
from app.deliveries import history, trend
from app.deliveries.health import Bar, Window
from app.deliveries.models import Rollup
from app.deliveries.rollup import slot_of
from tests.world import World

URL = "http://127.0.0.1:9/hook"


async def counted(world: World, hours_ago: float, count: int, **more: str) -> None:
    moment = (utcnow() - timedelta(hours=hours_ago)).timestamp()
    fields = {"tenant_id": "acme", "result": "delivered"} | more
    async with world.database.transaction(fields["tenant_id"]) as session:
        slot = slot_of(moment, 900)
        session.add(Rollup(**fields, slot_s=900, slot=slot, bucket=20, count=count))


async def test_only_the_window_before_is_counted(world: World) -> None:
    dst_1, dst_2 = [(await world.make_destination(URL))["id"] for _ in range(2)]
    await counted(world, 1, 1_000, destination_id=dst_1)  # in the present window
    await counted(world, 30, 7, destination_id=dst_1)
    await counted(world, 40, 5, destination_id=dst_2)
    await counted(world, 36, 100, destination_id=dst_1, result="failed")
    await counted(world, 36, 100, tenant_id="globex", destination_id="dst_3")
    await counted(world, 50, 1_000, destination_id=dst_1)  # older than both

    async with world.database.reading("acme") as session:
        day = await history.delivered_before(session, "acme", Window.DAY)
        hour = await history.delivered_before(session, "acme", Window.HOUR)

    assert {dst_1: 7, dst_2: 5} == day
    assert {} == hour


@pytest.mark.parametrize(
    ("waiting", "done", "expected"),
    [(0, 600, None), (100, 2, None), (60, 60, 90.0), (600, 60, 900.0)],
)
def test_what_waits_is_weighed_by_the_latest_pace(
    waiting: int, done: int, expected: float | None
) -> None:
    now = utcnow()
    bars = [
        Bar(now - timedelta(seconds=90), done - done // 3, 0, 0),
        Bar(now - timedelta(seconds=30), 0, 99, done // 3),
    ]

    found = trend.clears_in_s(waiting, bars, 60)

    assert found == (None if expected is None else pytest.approx(expected, rel=0.02))
