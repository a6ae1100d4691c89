"""What may be claimed, by how many, how fairly, and who wins when a lease was lost."""

import asyncio
import sys
from collections import Counter
from uuid import uuid4

from sqlalchemy import select, text

from app.database import Database, utcnow
from app.deliveries.models import Delivery, State
from app.deliveries.store import (
    BREAKER_THRESHOLD,
    Claim,
    ClaimRequest,
    LaneNews,
    Lease,
    Settled,
    lane_news,
    store_for,
)
from tests.world import World

NOWHERE = "http://127.0.0.1:9/hook"


async def claim(
    world: World,
    *,
    limit: int = 100,
    per_lane: int = 100,
    busy: dict[str, int] | None = None,
    lease_s: float = 30.0,
    after: tuple[str, str] = ("", ""),
    max_bytes: int = sys.maxsize,
) -> Claim:
    request = ClaimRequest(
        limit=limit,
        per_lane=per_lane,
        busy=busy or {},
        token=uuid4().hex,
        lease_s=lease_s,
        after_tenant=after[0],
        after=after[1],
        max_bytes=max_bytes,
    )
    async with world.database.begin() as c:
        return await world.services.store.claim(c, request)


def settled(lease: Lease, state: State = State.DELIVERED, outcome: str = "delivered") -> Settled:
    return Settled(
        lease=lease,
        state=state,
        delay_s=60.0 if state is State.RETRYING else None,
        reason=None,
        counts_as_retry=state is State.RETRYING,
        started_s=1_800_000_000.0,
        duration_ms=12,
        outcome=outcome,
        response_status=200,
        response_body="ok",
        resolved_address="127.0.0.1",
        detail=None,
    )


async def record(world: World, *batch: Settled) -> set[str]:
    async with world.database.begin() as c:
        return await world.services.store.record(c, batch)


async def make_due(world: World, count: int, **fields: object) -> str:
    """Create a destination and owe it so many events; return its id."""
    destination = await world.make_destination(NOWHERE, **fields)
    patterns = [f"only.d{destination['id'][-6:]}"]
    body = {"event_types": patterns}
    await world.as_("acme_admin").patch(
        f"/integrations/destinations/{destination['id']}", json=body
    )
    events = [{"type": patterns[0], "data": {"n": n}} for n in range(count)]
    answer = await world.as_("acme_admin").post("/events/batch", json={"events": events})
    assert answer.status_code == 202, answer.text
    return str(destination["id"])


async def test_a_claim_leases_what_is_due_and_nothing_twice(world: World) -> None:
    await make_due(world, 30)

    first = await claim(world, limit=20)
    second = await claim(world, limit=20)
    third = await claim(world, limit=20)

    assert [20, 10, 0] == [len(c.leases) for c in (first, second, third)]
    ids = [lease.id for c in (first, second) for lease in c.leases]
    assert 30 == len(set(ids))
    assert 30 == len(await world.deliveries(state="delivering", limit=200))


async def test_a_claim_takes_a_few_of_each_destination_not_the_head_of_the_queue(
    world: World,
) -> None:
    crowded = await make_due(world, 500)
    quiet = [await make_due(world, 2, name=f"quiet {n}") for n in range(5)]

    taken = Counter(lease.destination_id for lease in (await claim(world, limit=60)).leases)

    assert all(taken[one] == 2 for one in quiet)
    assert 10 <= taken[crowded] <= 50


async def test_what_is_in_flight_counts_against_the_share_of_its_destination(world: World) -> None:
    crowded = await make_due(world, 50)
    other = await make_due(world, 50, name="other")

    taken = await claim(world, per_lane=16, busy={crowded: 10, other: 16})

    assert {crowded: 6} == Counter(lease.destination_id for lease in taken.leases)


async def test_a_claim_ends_with_the_body_that_fills_it_and_always_takes_one(world: World) -> None:
    await make_due(world, 10)
    (one,) = (await claim(world, limit=1)).bodies.values()

    assert 3 == len((await claim(world, max_bytes=2 * len(one) + 1)).leases)
    assert 1 == len((await claim(world, max_bytes=1)).leases)
    assert 5 == len((await claim(world)).leases)


async def test_the_walk_goes_on_behind_the_last_destination(world: World) -> None:
    lanes = sorted([await make_due(world, 1, name=f"d{n}") for n in range(3)])

    taken = await claim(world, after=("acme", lanes[0]))

    assert set(lanes[1:]) == {lease.destination_id for lease in taken.leases}


async def test_many_workers_at_once_never_lease_the_same_delivery(world: World) -> None:
    for n in range(4):
        await make_due(world, 100, name=f"d{n}")

    claims = await asyncio.gather(*(claim(world, limit=37) for _ in range(16)))

    ids = [lease.id for c in claims for lease in c.leases]
    assert len(ids) == len(set(ids))
    assert len(ids) >= 300


async def test_a_disabled_destination_is_not_claimed_and_its_strays_are_swept(
    world: World,
) -> None:
    lane = await make_due(world, 3)
    async with world.database.begin() as c:  # as if disabled between the fan-out and its commit
        await c.execute(text("UPDATE destination SET disabled_at = created_at"))

    assert [] == (await claim(world)).leases
    async with world.database.begin() as c:
        assert (0, 3) == await world.services.store.sweep(c, 60.0)

    cancelled = await world.deliveries(destination_id=lane, state="cancelled")
    assert 3 == len(cancelled)
    assert all("disabled or deleted" in row["reason"] for row in cancelled)


async def test_an_expired_lease_goes_back_and_the_late_record_is_fenced(world: World) -> None:
    await make_due(world, 1)
    (hung,) = (await claim(world, lease_s=0.0)).leases
    await asyncio.sleep(0.01)

    async with world.database.begin() as c:
        assert (1, 0) == await world.services.store.sweep(c, 60.0)
    (takeover,) = (await claim(world)).leases
    assert {takeover.id} == await record(world, settled(takeover))
    late = await record(world, settled(hung, State.FAILED, "timeout"))

    assert set() == late
    detail = await world.delivery(hung.id)
    assert ("delivered", 1) == (detail["state"], detail["attempt_count"])
    assert ["delivered"] == [attempt["outcome"] for attempt in detail["attempts"]]


async def test_a_live_lease_is_left_alone_by_the_sweep(world: World) -> None:
    await make_due(world, 1)
    await claim(world, lease_s=30.0)

    async with world.database.begin() as c:
        assert (0, 0) == await world.services.store.sweep(c, 60.0)


async def test_a_lease_from_before_the_clock_was_put_back_is_no_longer_than_any_other(
    world: World,
) -> None:
    await make_due(world, 2)
    (dead,) = (await claim(world, limit=1, lease_s=3_600.0)).leases  # an hour ahead, then set right
    (alive,) = (await claim(world, limit=1, lease_s=30.0)).leases
    store = store_for(world.database.dialect)

    async with world.database.begin() as c:
        assert (0, 0) == await store.sweep(c, 30.0)
        rows = await c.execute(select(Delivery.id, Delivery.lease_until))
        ends = {row.id: (row.lease_until - utcnow()).total_seconds() for row in rows}

    assert 25 < ends[dead.id] <= 31
    assert 25 < ends[alive.id] <= 31


async def test_what_is_released_is_due_at_once_and_counts_no_attempt(world: World) -> None:
    await make_due(world, 2)
    leases = (await claim(world)).leases

    async with world.database.begin() as c:
        await world.services.store.release(c, leases)
    again = (await claim(world)).leases

    assert {lease.id for lease in leases} == {lease.id for lease in again}
    assert all(lease.attempt_count == 0 for lease in again)


async def test_a_retry_is_not_claimed_before_its_time(world: World) -> None:
    await make_due(world, 1)
    (lease,) = (await claim(world)).leases

    await record(world, settled(lease, State.RETRYING, "timeout"))

    assert [] == (await claim(world)).leases
    (row,) = await world.deliveries(state="retrying")
    assert row["next_attempt_at"] > row["created_at"]


async def test_the_breaker_opens_after_failures_in_a_row_and_closes_with_a_success(
    world: World,
) -> None:
    lane = await make_due(world, BREAKER_THRESHOLD + 5)
    leases = (await claim(world)).leases

    async def status() -> str:
        answer = await world.as_("acme_admin").get(f"/integrations/destinations/{lane}")
        return str(answer.json()["status"])

    failed = [settled(lease, State.FAILED, "timeout") for lease in leases[:BREAKER_THRESHOLD]]
    await record(world, *failed[:-1])
    assert "active" == await status()
    await record(world, failed[-1])
    assert "degraded" == await status()
    await world.publish(event_type=f"only.d{lane[-6:]}")
    assert [] == (await claim(world)).leases
    await record(world, settled(leases[-1]))
    assert "active" == await status()
    assert 1 == len((await claim(world)).leases)


async def test_after_its_pause_a_failing_destination_gets_one_probe(world: World) -> None:
    lane = await make_due(world, 5)
    async with world.database.begin() as c:
        statement = text("UPDATE lane SET consecutive_failures = :n WHERE destination_id = :id")
        await c.execute(statement, {"n": BREAKER_THRESHOLD, "id": lane})

    assert 1 == len((await claim(world)).leases)


def test_a_batch_says_of_a_destination_what_came_after_its_last_success() -> None:
    lease = Lease("acme", "dlv", "dst", "evt", "a.b", 0, 0, "scheduled", "t")  # type: ignore[arg-type]
    failed, worked = settled(lease, State.RETRYING, "timeout"), settled(lease)

    assert [LaneNews("acme", "dst", True, 2)] == lane_news([failed, worked, failed, failed])
    assert [LaneNews("acme", "dst", False, 1)] == lane_news([failed])


async def test_a_claim_never_reads_the_whole_table(world: World) -> None:
    await make_due(world, 50)
    plan = await claim_plan(world.database)

    assert "Seq Scan on delivery" not in plan
    assert "SCAN delivery" not in plan.replace("SCAN delivery USING", "")
    assert "ix_delivery_due" in plan


async def claim_plan(database: Database) -> str:
    from app.deliveries import store_postgres, store_sqlite

    async with database.begin() as c:
        if database.dialect == "sqlite":
            values = {"after": "", "per_lane": 5, "busy": "{}", "now": 1, "limit": 5,
                      "max_bytes": 9, "until": 2, "token": "t"}  # fmt: skip
            rows = await c.exec_driver_sql(f"EXPLAIN QUERY PLAN {store_sqlite.CLAIM}", values)
            return "\n".join(str(row[3]) for row in rows)
        await c.exec_driver_sql("SET LOCAL enable_seqscan = off")
        values = {"after_tenant": "", "after": "", "per_lane": 5, "busy_ids": [], "busy_n": [],
                  "limit": 5, "max_bytes": 9, "lease_s": 5.0, "token": "t"}  # fmt: skip
        rows = await c.exec_driver_sql(f"EXPLAIN {store_postgres.CLAIM}", values)
        return "\n".join(row[0] for row in rows)
