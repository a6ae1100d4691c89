"""What a load balancer and a monitor ask: no token, no tenant's data, the truth."""

from sqlalchemy import text

from app import __version__
from app.database import Database
from tests.world import World

URL = "https://93.184.216.34/hook"


async def test_live_says_that_the_process_answers(world: World) -> None:
    answer = await world.client.get("/health/live")

    assert (200, {"status": "ok", "version": __version__}) == (answer.status_code, answer.json())


async def test_ready_tells_what_is_there_and_does_not_ask_for_a_worker(world: World) -> None:
    answer = await world.client.get("/health/ready")

    assert 200 == answer.status_code
    assert answer.json() == {"status": "ok", "database": True, "schema": True, "worker": False}


async def test_an_older_schema_is_not_ready(world: World) -> None:
    async with world.database.transaction() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '0000'"))

    answer = await world.client.get("/health/ready")

    assert 503 == answer.status_code
    assert ("unavailable", True, False) == (
        answer.json()["status"], answer.json()["database"], answer.json()["schema"],
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
    assert ready.json() == {
        "status": "unavailable", "database": False, "schema": False, "worker": False,
    }  # fmt: skip
    assert ("urn:oneprotect:problem:unavailable", "2") == (
        asked.json()["type"], asked.headers["retry-after"],
    )  # fmt: skip
    assert 200 == (await world.as_("acme_admin").get("/me")).status_code


async def test_metrics_are_text_without_a_tenants_data(world: World) -> None:
    made = await world.make_destination(URL, name="Very own name")
    await world.publish(data={"very": "own"})

    answer = await world.client.get("/metrics")

    assert 200 == answer.status_code
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 1 == answer.headers["content-type"].count("charset")
    for own in ("Very own name", made["id"], "93.184.216.34", '"acme"'):
        assert own not in answer.text


async def test_no_answer_may_be_kept_by_a_cache_or_shown_in_a_frame(world: World) -> None:
    for answer in (
        await world.as_("acme_admin").get("/me"),
        await world.client.get("/api/v1/me"),
        await world.client.get("/api/v1/nope"),
    ):
        assert "no-store" in answer.headers["cache-control"]
        assert "nosniff" == answer.headers["x-content-type-options"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
