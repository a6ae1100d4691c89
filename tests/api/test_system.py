"""What a load balancer and a monitor ask: no token, no tenant's data, the truth."""

from datetime import timedelta

from sqlalchemy import text, update

from app import __version__
from app.database import Database, utcnow
from app.database.migrate import newest_revision
from app.deliveries import heartbeat
from app.deliveries.models import Heartbeat
from tests.world import World


async def test_live_says_that_the_process_answers(world: World) -> None:
    answer = await world.client.get("/health/live")

    assert (200, {"status": "ok", "version": __version__}) == (answer.status_code, answer.json())


async def beaten(world: World, *, ago_s: float = 0.0) -> None:
    async with world.database.transaction() as session:
        await heartbeat.beat(session, "w1", started_at=utcnow(), load=0)
        seen = utcnow() - timedelta(seconds=ago_s)
        await session.execute(update(Heartbeat).values(seen_at=seen))


async def test_ready_names_each_thing_that_it_needs(world: World) -> None:
    await beaten(world)

    answer = await world.client.get("/health/ready")

    told = answer.json()
    assert (200, True) == (answer.status_code, told.pop("worker_seen_s") < 10)
    assert told == {
        "status": "ok", "database": True, "schema": True, "worker": True,
        "schema_revision": newest_revision(), "schema_wanted": newest_revision(), "detail": {},
    }  # fmt: skip


async def test_without_a_living_worker_it_is_degraded_but_serves(world: World) -> None:
    never = await world.client.get("/health/ready")
    await beaten(world, ago_s=heartbeat.SILENT_AFTER_S + 5)
    stale = await world.client.get("/health/ready")

    assert (200, "degraded", False) == (
        never.status_code, never.json()["status"], never.json()["worker"],
    )  # fmt: skip
    assert {"worker": "nothing is delivered: none was ever seen"} == never.json()["detail"]
    assert (200, "degraded") == (stale.status_code, stale.json()["status"])
    assert "last seen 2" in stale.json()["detail"]["worker"]


async def set_revision(world: World, revision: str) -> None:
    async with world.database.transaction() as session:
        await session.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))


async def test_an_older_schema_is_not_ready(world: World) -> None:
    await set_revision(world, "0001")

    answer = await world.client.get("/health/ready")

    assert 503 == answer.status_code
    told = answer.json()
    assert ("unavailable", True, False, "0001") == (
        told["status"], told["database"], told["schema"], told["schema_revision"],
    )  # fmt: skip
    assert "run oneprotect migrate" in told["detail"]["schema"]


async def test_a_newer_schema_is_ready_so_that_an_upgrade_stops_nobody(world: World) -> None:
    await beaten(world)
    await set_revision(world, "9999")

    answer = await world.client.get("/health/ready")

    assert (200, "ok", "9999") == (
        answer.status_code, answer.json()["status"], answer.json()["schema_revision"],
    )  # fmt: skip


AWAY = {"sqlite": "sqlite:////nowhere/at/all.db", "postgresql": "postgresql://u@127.0.0.1:1/d"}


async def test_without_a_database_it_is_alive_but_not_ready_and_the_api_says_503(
    world: World, engine_name: str
) -> None:
    there, world.services.database = world.database, Database(AWAY[engine_name])

    alive = await world.client.get("/health/live")
    ready = await world.client.get("/health/ready")
    asked = await world.as_("acme_admin").get("/me")

    world.services.database = there
    assert (200, 503, 503) == (alive.status_code, ready.status_code, asked.status_code)
    assert {"database": "does not answer"} == ready.json()["detail"]
    assert ("unavailable", False, False, False) == tuple(
        ready.json()[name] for name in ("status", "database", "schema", "worker")
    )
    assert ("urn:oneprotect:problem:unavailable", "2") == (
        asked.json()["type"], asked.headers["retry-after"],
    )  # fmt: skip
    assert 200 == (await world.as_("acme_admin").get("/me")).status_code


async def test_no_answer_may_be_kept_by_a_cache_or_shown_in_a_frame(world: World) -> None:
    for answer in (
        await world.as_("acme_admin").get("/me"),
        await world.client.get("/api/v1/me"),
        await world.client.get("/api/v1/nope"),
    ):
        assert "no-store" in answer.headers["cache-control"]
        assert "nosniff" == answer.headers["x-content-type-options"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
