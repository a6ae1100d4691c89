"""From the first released schema to the newest with data in it: nothing is lost, all of it works.

`first_release.json` holds what the first release wrote: a row of every table, sealed and hashed by
its code. It is never written anew, whatever the code becomes.
"""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, MetaData, Table, select
from standardwebhooks import Webhook

from app.database import Database
from app.database import migrate as migration
from app.database.base import to_millis
from app.identity import service
from tests.receiver import Receiver
from tests.world import World, open_world

FROZEN: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("first_release.json").read_text("utf-8")
)
#: The current secret of the frozen destination SOC, which its sender has to open.
SECRET = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="


def upgrade_to(connection: Connection, revision: str) -> None:
    config = migration._config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def tables_of(connection: Connection) -> dict[str, Table]:
    """Return the tables as the schema of the moment has them, whatever the models say."""
    found = MetaData()
    found.reflect(connection, only=lambda name, _: name in FROZEN)
    return dict(found.tables)


def thaw(value: Any, dialect: str) -> Any:
    match value:
        case {"bytes": text}:
            return bytes.fromhex(text)
        case {"at": text}:
            moment = datetime.fromisoformat(text)
            return to_millis(moment) if dialect == "sqlite" else moment
        case {"json": inner}:
            return json.dumps(inner) if dialect == "sqlite" else inner
    return value


def fill(connection: Connection) -> None:
    dialect = connection.dialect.name
    for table in order(tables_of(connection)):
        rows = [{k: thaw(v, dialect) for k, v in row.items()} for row in FROZEN[table.name]]
        connection.execute(table.insert(), rows)


def order(tables: dict[str, Table]) -> list[Table]:
    return next(iter(tables.values())).metadata.sorted_tables


def snapshot(connection: Connection, columns: dict[str, list[str]]) -> dict[str, list[Any]]:
    """Return all rows, by the columns that the old schema had."""
    tables = tables_of(connection)
    return {
        name: sorted(
            connection.execute(select(*(tables[name].c[one] for one in names))).all(), key=repr
        )
        for name, names in columns.items()
    }


@pytest.fixture(params=["0001", "0002"])
async def upgraded(request: pytest.FixtureRequest, empty: str) -> AsyncIterator[World]:
    """Yield an installation whose database was filled at an old schema, then migrated."""
    database = Database(empty)
    async with database.begin() as c:
        await c.run_sync(upgrade_to, request.param)
        tables = await c.run_sync(tables_of)
        columns = {name: [column.name for column in one.columns] for name, one in tables.items()}
        await c.run_sync(fill)
        before = await c.run_sync(snapshot, columns)
    assert (request.param, migration.newest_revision()) == await migration.migrate(database)
    async with database.begin() as c:
        after = await c.run_sync(snapshot, columns)
    await database.close()

    assert set(FROZEN) == set(tables)
    assert all(before.values()), "a row of every table"
    assert before == after
    async with open_world(empty) as world:
        yield world


async def test_what_the_first_release_wrote_is_read(upgraded: World) -> None:
    admin, auditor = upgraded.as_("acme_admin"), upgraded.as_("acme_auditor")
    listed = (await admin.get("/integrations/destinations")).json()["items"]
    deliveries = await upgraded.deliveries()
    failed = next(one for one in deliveries if one["state"] == "failed")
    detail = await upgraded.delivery(failed["id"])
    events = (await admin.get("/events")).json()["items"]
    tokens = (await admin.get("/tokens")).json()["items"]
    health = await admin.get("/integrations/health")
    (job,) = FROZEN["replay_job"]
    replay = await admin.get(f"/integrations/jobs/{job['id']}")

    assert {"SOC", "Dead", "Off"} == {one["name"] for one in listed}
    assert {"delivered", "failed", "retrying", "cancelled", "pending"} <= {
        one["state"] for one in deliveries
    }
    assert "connect_error" == detail["attempts"][0]["outcome"]
    assert len(events) == sum(row["tenant_id"] == "acme" for row in FROZEN["event"])
    assert {"Demo tenant admin", "Demo operator", "Demo auditor"} == {t["name"] for t in tokens}
    assert (200, 200) == (health.status_code, replay.status_code)
    for tenant in ("acme_auditor", "globex_auditor"):
        verdict = (await upgraded.as_(tenant).get("/audit/verify")).json()
        assert verdict["intact"] is True, verdict
    assert len((await auditor.get("/audit", params={"limit": 100})).json()["items"]) >= 10


async def test_what_the_first_release_owed_is_delivered_and_signed_with_its_secret(
    upgraded: World,
) -> None:
    soc, line = (
        next(row["id"] for row in FROZEN["destination"] if row["name"] == name)
        for name in ("SOC", "Line")
    )
    owed = {r["event_id"] for r in FROZEN["delivery"] if r["event_type"] == "alert.pending"}
    async with Receiver() as receiver:
        for who, one in (("acme_admin", soc), ("globex_admin", line)):
            path = f"/integrations/destinations/{one}"
            changed = await upgraded.as_(who).patch(path, json={"endpoint_url": receiver.url})
            assert changed.status_code == 200, changed.text
        async with upgraded.worker():
            await upgraded.until(lambda: arrived(receiver, owed))

    by_event = {one.header("webhook-id"): one for one in receiver.requests}
    ours = {row["id"]: row["tenant_id"] for row in FROZEN["event"]}
    for event_id in owed:
        request = by_event[event_id]
        if ours[event_id] == "acme":
            assert Webhook(SECRET).verify(request.body, request.named)["id"] == event_id
            assert "abc" == request.header("x-key")
        else:
            assert " v1a," in str(request.header("webhook-signature"))


async def arrived(receiver: Receiver, owed: set[str]) -> bool:
    return owed <= {one.header("webhook-id") for one in receiver.requests}


async def test_keys_and_passwords_of_the_first_release_still_count(upgraded: World) -> None:
    admin = upgraded.as_("acme_admin")
    same = {"type": "alert.created", "data": {"severity": "high"}, "id": "once"}
    again = await admin.post("/events", json=same)
    other = await admin.post("/events", json=same | {"data": {"severity": "low"}})
    (key,) = [row for row in FROZEN["idempotency_key"] if row["key"] == "once"]
    async with upgraded.database.reading() as session:
        member = await service.authenticate(session, "admin@globex.example", "oneprotect-local")

    assert (200, key["event_id"]) == (again.status_code, again.json()["id"])
    assert 409 == other.status_code
    assert "globex" == member.tenant_id
